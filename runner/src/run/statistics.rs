//! The end of first loads: the target looks at what its tables hold, so that it plans the first
//! queries on them as well as later ones. Not part of any unit, and never a reason to fail.

use crate::run::context::RunContext;
use crate::run::table::TableRun;
use syncset_connector::{StreamPhase, TableName};

/// Tables that a first load has filled and that were not looked at yet.
pub(crate) struct Filled {
    /// Place and name of each.
    tables: Vec<(usize, TableName)>,
}

impl Filled {
    /// Tables whose chunks are all there. What is left of their loads writes little, and need not
    /// be waited for.
    pub(crate) fn by_chunks(tables: &mut [TableRun]) -> Self {
        Self::take(tables, |table| {
            table.read.capture.heals_loads()
                && table.stored.is_some()
                && table.open_chunks().next().is_none()
        })
    }

    /// Tables whose loads are over.
    pub(crate) fn whole(tables: &mut [TableRun]) -> Self {
        Self::take(tables, |table| {
            let stored = table.stored.as_ref();
            stored.is_some_and(|stored| stored.phase == StreamPhase::Following)
        })
    }

    fn take(tables: &mut [TableRun], is_filled: impl Fn(&TableRun) -> bool) -> Self {
        let mut filled = Vec::new();
        for (index, table) in tables.iter_mut().enumerate() {
            if table.first_load && !table.has_failed() && is_filled(table) {
                table.first_load = false;
                filled.push((index, table.planned.target.name.clone()));
            }
        }
        Self { tables: filled }
    }

    /// Renews their statistics. Returns what a person should know, if that failed.
    pub(crate) async fn renew(&self, context: &RunContext) -> Option<String> {
        let names: Vec<&TableName> = self.tables.iter().map(|(_, name)| name).collect();
        if names.is_empty() {
            return None;
        }
        let analyzed = tokio::select! {
            analyzed = context.ends.target().analyze(&names) => analyzed,
            // The store renews them some time by itself.
            _ = context.stop.requested() => return None,
        };
        let error = analyzed.err()?;
        let cause = error.cause.as_ref();
        let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
        Some(format!(
            "the statistics of tables that were loaded were not renewed (ANALYZE), so that queries \
             on them may be slow at first: {}{cause}",
            error.message
        ))
    }

    /// Takes note of what [`renew`](Self::renew) returned.
    pub(crate) fn note(&self, tables: &mut [TableRun], warning: Option<String>) {
        if let Some((index, _)) = self.tables.first() {
            tables[*index].take_warnings(warning.into_iter().collect());
        }
    }
}
