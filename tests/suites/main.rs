//! All suites as one binary, so that they are linked once and share one server.

mod capture_lab;
mod cursor_rules;
mod kit_itself;
mod state_postgres;
