//! What the suites stand on: throw-away servers, projects, the real binary, load and faults.
//!
//! Everything here panics with a sentence when it cannot do its work; none of it is used outside
//! of tests.

mod chinook;
mod cluster;
mod frames;
pub mod load;
pub mod postgres;
mod process;
mod project;
pub mod proxy;
mod rows;
mod sqlite;
mod statement_log;
mod writer;

pub use chinook::{CHINOOK_TABLES, ChinookTable, load_chinook, load_chinook_sqlite};
pub use load::{Ledger, Load, LoadOptions, RunningLoad, Stamp, Weights, eventually};
pub use postgres::{Database, PostgresServer, Role, StopMode, postgres};
pub use process::Process;
pub use project::{Output, Project, binary};
pub use proxy::{Cut, CutMoment, Proxy};
pub use rows::{Comparison, Place, TextRow, compare, compare_keyed};
pub use sqlite::SqliteFile;
pub use statement_log::LoggedStatement;
