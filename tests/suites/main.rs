//! All suites as one binary, so that they are linked once and share one server.

mod capture_lab;
mod cursor_rules;
mod arrows;
mod kit_itself;
mod late_commits;
mod state_postgres;
mod window_rules;
mod units_postgres;
mod write_postgres;
