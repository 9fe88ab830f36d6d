//! SQLite for syncset: a file as a source, a target and a home of state.
//!
//! The source is opened read-only and never created. The target is a WAL database whose rows and
//! watermarks commit together. A column's declared type decides what it is read as, and a value
//! that does not fit it is an error that names its row: SQLite would store anything anywhere.

mod alter;
mod boundary;
mod cell;
mod changes;
mod civil;
mod connect;
mod connector;
mod cursor;
mod decode;
mod deletes;
mod describe;
mod diagnose;
mod digest;
mod disjoint;
mod encode;
mod error;
mod facts;
mod images;
mod indexes;
mod init;
mod lease;
mod marks;
mod predicate;
mod read;
mod replace;
mod samples;
mod scan;
mod snapshot;
mod sql;
mod stage;
mod state;
mod statement;
mod survey;
mod target;
mod types;
mod window;
mod write;

#[cfg(test)]
mod tests;

pub use connector::{CONNECTOR, SqliteConnector};
