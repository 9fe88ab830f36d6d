//! Guests that do their work, that lie, and that do harm.

mod calls;
mod hostile;
mod loading;
mod lying;
mod wat;
