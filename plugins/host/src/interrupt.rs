//! How calls of plugins are ended before their time is up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends all calls of the plugins that were loaded with it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Ends the calls in progress, and each later one that takes longer than a moment.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether calls are to end.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
