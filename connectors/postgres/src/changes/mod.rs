//! How changes of PostgreSQL tables are found: bounds, snapshots, windows, chunks.
//!
//! Every rule here exists because the obvious way lost rows. The order of one window is: look at
//! the clock and the sessions in a transaction of its own; open a snapshot; lock and verify the
//! tables; read the rows at or above the old bound; store the new bound with the rows.

mod bound;
mod canonical;
mod check;
mod chunk;
mod condition;
mod cursor;
mod disjoint;
mod hash;
mod key_text;
mod low;
mod open;
mod pool;
mod position;
mod prepare;
mod read;
mod relation;
mod shape;
mod snapshot;
mod window;

pub(crate) use bound::{Activity, READER_APPLICATION};
pub(crate) use chunk::boundaries;
pub(crate) use low::low_positions;
pub(crate) use pool::ReaderPool;
pub(crate) use position::{compare, position_time};
pub(crate) use prepare::prepare;
pub(crate) use relation::columns_named;
pub(crate) use snapshot::PgSnapshot;
