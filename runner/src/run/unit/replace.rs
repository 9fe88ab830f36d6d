//! Tables that a unit replaces as a whole: what was collected for them takes the place of their rows.

use super::Unit;
use crate::exit_code;
use crate::failure::Failure;
use crate::run::guard::Guard;
use crate::run::table::TableRun;
use syncset_connector::{ReplaceRules, Replaced, WriteMode};

impl Unit<'_> {
    /// Makes tables that are replaced hold the rows that were collected for them; parents come
    /// before their children. Tables of other modes are left alone.
    pub(crate) async fn replace(&mut self, tables: &[&TableRun]) -> Result<(), Failure> {
        let replaces = |table: &&&TableRun| table.planned.write() == WriteMode::Replace;
        let tables: Vec<&TableRun> = tables.iter().filter(replaces).copied().collect();
        if tables.is_empty() || self.start.into_empty {
            return Ok(());
        }
        let rules = |table: &&TableRun| ReplaceRules {
            absent: table.planned.plan.on_delete,
            max_rewrite_rows: table.planned.plan.max_rewrite_rows,
        };
        let asked: Vec<_> = tables
            .iter()
            .map(|table| (&table.planned.target, rules(table)))
            .collect();
        let outcomes = self.writer.replace(&asked).await?;
        self.replaced = true;
        for (table, outcome) in tables.iter().zip(outcomes) {
            match outcome {
                Replaced::TooMany { rows } => return Err(too_many(table, rows)),
                Replaced::Done {
                    rows_written,
                    rows_deleted,
                } => {
                    // Without a key a changed row is one that goes and one that comes.
                    let gone = match table.planned.target.key.is_empty() {
                        true => rows_deleted.saturating_sub(rows_written),
                        false => rows_deleted,
                    };
                    self.ask_about_replaced(table, gone).await?;
                }
            }
        }
        Ok(())
    }

    /// Asks the guard about rows of a replaced table that are gone in this transaction.
    ///
    /// # Errors
    /// The guard's, if it does not agree: then nothing may be committed.
    async fn ask_about_replaced(&mut self, table: &TableRun, gone: u64) -> Result<(), Failure> {
        let guard = Guard::of(table, &self.ends.key.pipeline);
        if gone == 0 {
            return Ok(());
        }
        if !self.collected.contains(table.stream())
            && let Some(stopped) = guard.stop_empty(gone)
        {
            return Err(stopped);
        }
        let taken = table.deleted + gone;
        let stopped = self.ask_about(&guard, table, gone, taken).await?;
        stopped.map_or(Ok(()), Err)
    }
}

/// The failure of a table without a key of which more rows differ than may be rewritten.
fn too_many(table: &TableRun, rows: u64) -> Failure {
    let (stream, max) = (table.stream(), table.planned.plan.max_rewrite_rows);
    let message = format!(
        "table `{stream}` has no key, and {rows} rows would be deleted and inserted: more than \
         `max_rewrite_rows` ({max})"
    );
    Failure::new(exit_code::GUARD, message).with_hint(format!(
        "nothing was written; name a `key:`, so that rows are updated, or set \
         `max_rewrite_rows: {rows}` for this table"
    ))
}
