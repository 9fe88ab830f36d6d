//! MySQL and MariaDB for syncset: one code base for both servers.
//!
//! Only [`MYSQL`] and [`MARIADB`] are public; they differ in their names. Which server it really
//! is, every session is told by the server itself.

mod alter;
mod changes;
mod civil;
mod comments;
mod connect;
mod connector;
mod ddl;
mod decode;
mod describe;
mod diagnose;
mod encode;
mod error;
mod facts;
mod indexes;
mod online;
mod samples;
mod source;
mod sql;
mod state;
mod survey;
mod target;
mod type_mapping;
mod types;
mod widen;
mod write;

pub use connector::{MARIADB, MYSQL};
