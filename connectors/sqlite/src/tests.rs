//! Tests against real files.

mod lab;
mod opening;
mod reading;
mod round_trip;
mod state;
mod windows;
mod writing;
