//! MySQL and MariaDB for syncset: one code base for both servers.
//!
//! Only [`MYSQL`] and [`MARIADB`] are public; they differ in their names. Which server it really
//! is, every session is told by the server itself.

mod changes;
mod civil;
mod connect;
mod connector;
mod decode;
mod describe;
mod diagnose;
mod error;
mod samples;
mod source;
mod sql;
mod survey;
mod types;

pub use connector::{MARIADB, MYSQL};
