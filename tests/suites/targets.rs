//! A target of any engine.

/// Where rows go. The state goes with them, so a new target is a new first load.
pub(crate) use kit::AnyDatabase as Target;
