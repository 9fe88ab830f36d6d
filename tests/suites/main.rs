//! All suites as one binary, so that they are linked once and share one server.

mod arrows;
mod kit_itself;
mod state_postgres;
mod units_postgres;
mod write_postgres;
