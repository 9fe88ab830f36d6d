//! PostgreSQL for syncset: reads by binary COPY, writes by binary COPY and guarded upserts, and
//! keeps the state.
//!
//! Only [`CONNECTOR`] is public. Everything is sent by the simple query protocol, so that it works
//! behind transaction poolers.

mod alter;
mod changes;
mod comments;
mod connect;
mod connector;
mod copy_out;
mod ddl;
mod decode;
mod describe;
mod diagnose;
mod digest;
mod encode;
mod error;
mod facts;
mod indexes;
mod log_position;
mod samples;
mod source;
mod sql;
mod state;
mod survey;
mod target;
mod types;
mod widen;
mod write;

pub use connector::CONNECTOR;
