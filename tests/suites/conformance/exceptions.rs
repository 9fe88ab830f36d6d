//! What an engine cannot have, with the reason: claims ask here and never leave anything out by
//! themselves. Each exception has a claim of its own that it is one.

use kit::Engine;

/// Why a pair cannot have something that others have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exception {
    /// Its source cannot hold such a name, so there is nothing to be copied.
    NameTooLongForSource,
    /// Its target cannot hold such a name: the run must refuse it before it writes.
    NameTooLongForTarget,
}

/// Whether a name of 64 characters can be copied between two engines.
pub(crate) fn longest_name(name: &str, source: Engine, target: Engine) -> Option<Exception> {
    if !source.name_length().takes(name) {
        Some(Exception::NameTooLongForSource)
    } else if !target.name_length().takes(name) {
        Some(Exception::NameTooLongForTarget)
    } else {
        None
    }
}
