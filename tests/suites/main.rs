//! All suites as one binary, so that they are linked once and share one server.

mod arrows;
mod capture_lab;
mod chinook;
mod crash;
mod cursor_rules;
mod examples;
mod fencing;
mod kit_itself;
mod late_commits;
mod loading;
mod mistakes;
mod postgres_read;
mod refused_rows;
mod round_trip_postgres;
mod running;
mod state_postgres;
mod statements;
mod units_postgres;
mod window_rules;
mod write_postgres;
