//! How often and how soon something is tried again.

use rand::Rng;
use std::time::Duration;

/// Attempts of a unit or window before its table fails.
pub(crate) const ATTEMPTS_MAX: u32 = 6;

/// First pause; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Pause before attempt `attempt + 1`, with jitter so that runs that failed together do not
/// come back together. The first attempt waits for nothing.
pub(crate) fn pause(attempt: u32) -> Duration {
    if attempt == 0 {
        return Duration::ZERO;
    }
    let full = PAUSE_FIRST
        .saturating_mul(1 << (attempt - 1).min(16))
        .min(PAUSE_MAX);
    full.mul_f64(rand::rng().random_range(0.5..1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded() {
        assert_eq!(pause(0), Duration::ZERO);
        for attempt in 1..40 {
            assert!(pause(attempt) >= PAUSE_FIRST / 2);
            assert!(pause(attempt) <= PAUSE_MAX);
        }
    }
}
