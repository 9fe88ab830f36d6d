//! When a table is searched for rows that are gone (`find_deletes`). Pure.

use std::time::Duration;

/// A search that would be due within this part of its interval is due: a scheduler that starts a run
/// a moment early would else put the search off to the run after it.
const SLACK_DIVISOR: u32 = 100;

/// Longest such moment.
const SLACK_MAX: Duration = Duration::from_secs(60);

/// The searches of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SearchTimes {
    /// How long after a search the next one is due.
    pub(crate) every: Duration,
    /// The last search, seconds since the epoch; `None`: it was never searched.
    pub(crate) last: Option<i64>,
}

impl SearchTimes {
    /// Those of a stream, among all that are stored.
    pub(crate) fn of(every: Duration, stream: &str, searches: &[(String, i64)]) -> Self {
        let mut known = searches.iter();
        let last = known.find(|(name, _)| name == stream).map(|(_, at)| *at);
        Self { every, last }
    }

    /// Whether a run that begins at this second searches. A last search in the future is that of a
    /// wrong clock, and tells nothing.
    pub(crate) fn is_due(&self, now: i64) -> bool {
        let Some(last) = self.last.filter(|last| *last <= now) else {
            return true;
        };
        let slack = SLACK_MAX.min(self.every / SLACK_DIVISOR);
        let wait = self.every.saturating_sub(slack).as_secs();
        u64::try_from(now - last).is_ok_and(|since| since >= wait)
    }

    /// When the interval after the last search ends, seconds since the epoch.
    pub(crate) fn next(&self) -> Option<i64> {
        let every = i64::try_from(self.every.as_secs()).unwrap_or(i64::MAX);
        self.last.map(|last| last.saturating_add(every))
    }

    /// From when on the next run searches, seconds since the epoch; `None`: at once.
    pub(crate) fn due_at(&self, now: i64) -> Option<i64> {
        self.next().filter(|_| !self.is_due(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 60 * 60;

    fn times(every: u64, last: Option<i64>) -> SearchTimes {
        SearchTimes {
            every: Duration::from_secs(every),
            last,
        }
    }

    #[test]
    fn search_is_due_when_its_time_has_come() {
        let now = 1_800_000_000;
        let ago = |seconds: i64| Some(now - seconds);
        let day = i64::try_from(DAY).unwrap();

        for (every, last, expected) in [
            (DAY, None, true),
            (DAY, ago(0), false),
            (DAY, ago(day - 61), false),
            (DAY, ago(day - 60), true),
            (DAY, ago(day), true),
            (100, ago(98), false),
            (100, ago(99), true),
            (0, ago(0), true),
            (DAY, ago(-5), true),
        ] {
            let times = times(every, last);
            assert_eq!(times.is_due(now), expected, "{times:?}");
            assert_eq!(times.due_at(now).is_none(), expected, "{times:?}");
        }
        assert_eq!(times(DAY, ago(10)).due_at(now), Some(now - 10 + day));
    }

    #[test]
    fn stream_is_found_among_all_that_are_stored() {
        let stored = [("a".to_owned(), 5), ("b".to_owned(), 7)];
        let of = |stream| SearchTimes::of(Duration::ZERO, stream, &stored).last;

        assert_eq!((of("b"), of("c")), (Some(7), None));
    }
}
