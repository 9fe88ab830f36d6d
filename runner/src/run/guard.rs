//! The guard: how much of a table one run may delete without a person's word. Pure.

use crate::exit_code;
use crate::failure::Failure;
use crate::run::table::TableRun;
use crate::shell;
use syncset_pipeline::{EmptySource, Guards};

/// What is known of the rows that a run would delete.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Known {
    /// So many.
    Exactly(u64),
    /// So many or more: keys were not compared.
    AtLeast(u64),
    /// So many or fewer: some of the keys may not be at the target.
    AtMost(u64),
}

impl Known {
    fn count(self) -> u64 {
        match self {
            Self::Exactly(count) | Self::AtLeast(count) | Self::AtMost(count) => count,
        }
    }
}

impl std::fmt::Display for Known {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exactly(count) => write!(formatter, "{count}"),
            Self::AtLeast(count) => write!(formatter, "at least {count}"),
            Self::AtMost(count) => write!(formatter, "up to {count}"),
        }
    }
}

/// What is known before anything is counted at the target.
pub(crate) struct Guard<'a> {
    guards: Guards,
    /// A first load deletes only what it wrote itself.
    is_first_load: bool,
    allowed: Option<u64>,
    stream: &'a str,
    target: String,
    pipeline: &'a str,
    /// Plugins drop rows, too.
    has_plugins: bool,
}

impl<'a> Guard<'a> {
    /// The guard of one table.
    pub(crate) fn of(table: &'a TableRun, pipeline: &'a str) -> Self {
        Self {
            guards: table.planned.plan.guards,
            is_first_load: table.is_first_load(),
            allowed: table.allowed_deletes,
            stream: table.stream(),
            target: table.planned.target.name.to_string(),
            pipeline,
            has_plugins: table.planned.transform.has_plugins(),
        }
    }

    /// True if it lets every delete pass.
    pub(crate) fn is_off(&self) -> bool {
        self.is_first_load || self.guards.max_delete_percent >= 100.0
    }

    /// True if so many deletes of one run pass whatever the table holds.
    pub(crate) fn passes(&self, deletes: u64) -> bool {
        self.is_off()
            || deletes <= self.guards.max_delete_rows_always_allowed
            || self.is_allowed(deletes)
    }

    fn is_allowed(&self, deletes: u64) -> bool {
        self.allowed.is_some_and(|allowed| deletes <= allowed)
    }

    /// Rows the table must hold for so many deletes to pass. No table holds the greatest number.
    pub(crate) fn rows_needed(&self, deletes: u64) -> u64 {
        let needed = (deletes as f64 * 100.0 / self.guards.max_delete_percent).ceil();
        // A division by zero is infinite, and the cast ends at the greatest number.
        needed as u64
    }

    /// The failure of a table that holds `rows`, of which the run would delete too many.
    pub(crate) fn stop(&self, deletes: Known, rows: u64) -> Failure {
        let known = deletes;
        let deletes = known.count();
        let percent = (deletes as f64 * 1000.0 / rows.max(1) as f64).ceil() / 10.0;
        let message = format!(
            "table `{}`: the run would delete {known} of the {rows} rows of `{}` ({percent} %), \
             and the guard allows {} %",
            self.stream, self.target, self.guards.max_delete_percent
        );
        self.failure(message, deletes)
    }

    /// The failure of a table that would be emptied; `None` if that may be.
    pub(crate) fn stop_empty(&self, rows: u64) -> Option<Failure> {
        let may_be = self.is_first_load || self.guards.empty_source == EmptySource::Allow;
        if may_be || self.is_allowed(rows) {
            return None;
        }
        let message = format!(
            "table `{}`: the source selects no row, and the run would delete all {rows} rows of `{}`",
            self.stream, self.target
        );
        Some(self.failure(message, rows))
    }

    /// What a run would fail with, as a warning to one that only looks.
    pub(crate) fn foreseen(&self, stopped: &Failure) -> String {
        let prefix = format!("table `{}`: ", self.stream);
        let message = stopped.message.trim_start_matches(&prefix);
        let hint = stopped.hint.as_deref().unwrap_or_default();
        format!(
            "a run would exit with {}: {message}; {hint}",
            stopped.exit_code
        )
    }

    fn failure(&self, message: String, deletes: u64) -> Failure {
        let causes = match self.has_plugins {
            true => "the source, at `where` and at the plugins of `transform`",
            false => "the source and at `where`",
        };
        let mut hint = format!(
            "they are still there; if they are to go: `{}`; if not, look at {causes}",
            agreement(self.pipeline, self.stream, &deletes.to_string())
        );
        if let Some(allowed) = self.allowed {
            hint.push_str(&format!(" (this run was allowed {allowed})"));
        }
        Failure::new(exit_code::GUARD, message).with_hint(hint)
    }
}

/// The command line by which a person agrees to deletes. `deletes`: rows, or a letter for them.
pub(crate) fn agreement(pipeline: &str, stream: &str, deletes: &str) -> String {
    let table = shell::word(&format!("{stream}={deletes}"));
    format!("syncset pipeline run {pipeline} --allow-deletes {table}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(max_delete_percent: f64, allowed: Option<u64>) -> Guard<'static> {
        Guard {
            guards: Guards {
                max_delete_percent,
                ..Guards::default()
            },
            is_first_load: false,
            allowed,
            stream: "public.orders",
            target: "crm.orders".into(),
            pipeline: "shop",
            has_plugins: false,
        }
    }

    #[test]
    fn hint_names_plugins_where_there_are_some() {
        let plain = guard(5.0, None).stop(Known::Exactly(501), 10_000);
        let mut dropping = guard(5.0, None);
        dropping.has_plugins = true;
        let failure = dropping.stop(Known::Exactly(501), 10_000);

        let hint = |failure: &Failure| failure.hint.clone().unwrap_or_default();
        assert!(hint(&plain).ends_with("look at the source and at `where`"));
        let plugins = "look at the source, at `where` and at the plugins of `transform`";
        assert!(hint(&failure).ends_with(plugins), "{}", hint(&failure));
    }

    #[test]
    fn rows_needed_are_the_fewest_that_let_deletes_pass() {
        for (percent, deletes, rows) in [
            (5.0, 51, 1020),
            (5.0, 100, 2000),
            (0.5, 51, 10_200),
            (33.3, 100, 301),
            (0.0, 51, u64::MAX),
            (99.9, 1000, 1002),
        ] {
            assert_eq!(guard(percent, None).rows_needed(deletes), rows, "{percent}");
        }
    }

    #[test]
    fn few_deletes_and_allowed_ones_pass_without_a_count() {
        for (percent, allowed, deletes, passes) in [
            (5.0, None, 50, true),
            (5.0, None, 51, false),
            (5.0, Some(51), 51, true),
            (5.0, Some(51), 52, false),
            (5.0, Some(0), 50, true),
            (100.0, None, u64::MAX, true),
        ] {
            let guard = guard(percent, allowed);
            assert_eq!(guard.passes(deletes), passes, "{percent} {deletes}");
        }
    }

    #[test]
    fn failure_names_table_counts_limit_and_flag() {
        let failure = guard(5.0, Some(3)).stop(Known::Exactly(501), 10_000);

        assert_eq!(failure.exit_code, exit_code::GUARD);
        insta::assert_snapshot!(failure.message, @"table `public.orders`: the run would delete 501 of the 10000 rows of `crm.orders` (5.1 %), and the guard allows 5 %");
        insta::assert_snapshot!(failure.hint.unwrap_or_default(), @"they are still there; if they are to go: `syncset pipeline run shop --allow-deletes public.orders=501`; if not, look at the source and at `where` (this run was allowed 3)");
    }
}
