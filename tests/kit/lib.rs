//! What the suites stand on: throw-away servers, projects, the real binary, load and faults.
//!
//! Everything here panics with a sentence when it cannot do its work; none of it is used outside
//! of tests.

mod cluster;
pub mod postgres;
mod rows;
mod sqlite;

pub use postgres::{Database, LoggedStatement, PostgresServer, Role, StopMode, postgres};
pub use rows::{Comparison, Place, TextRow, compare, compare_keyed};
pub use sqlite::SqliteFile;
