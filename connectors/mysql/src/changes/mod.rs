//! How changes of tables are found: bounds, snapshots, windows, chunks.
//!
//! Every rule here exists because the obvious way lost rows. The order of one window is: look at
//! the clock, the statements and the transactions; open a snapshot; touch and describe the tables;
//! read the rows at or above the old bound; store the new bound with the rows.

mod bound;
mod check;
mod chunk;
mod condition;
mod cursor;
mod estimated;
mod hash;
mod key_text;
mod low;
mod open;
mod position;
mod prepare;
mod read;
mod seen;
mod shape;
mod snapshot;
mod transactions;
mod window;

pub(crate) use bound::{Activity, Looks, account};
pub(crate) use check::{grant, hidden_columns};
pub(crate) use chunk::boundaries;
pub(crate) use key_text::text_of;
pub(crate) use low::low_positions;
pub(crate) use position::{compare, position_time};
pub(crate) use prepare::prepare;
pub(crate) use snapshot::MysqlSnapshot;
pub(crate) use transactions::Patience;
