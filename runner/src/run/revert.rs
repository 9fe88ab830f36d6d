//! `pipeline revert`: rows that a repair, or another revert, changed are put back as they were
//! before it. What somebody changed since is left alone. No watermark moves.

use crate::exit_code;
use crate::fail_point::fail_point;
use crate::failure::Failure;
use crate::observer::UnitKind;
use crate::report::{ExactRows, Outcome};
use crate::run::context::{Next, RunContext, after_failure};
use crate::run::rejects::keys_of_texts;
use crate::run::retry;
use crate::run::table::TableRun;
use crate::run::unit::{Turn, Unit};
use crate::run::waiting::Refused;
use std::collections::BTreeMap;
use syncset_connector::{KeptRow, PutBack, RowImage};

/// Rows of one unit: so many are locked and put back at once.
const ROWS_MAX: u32 = 1_000;

/// Whether a revert writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It does.
    Write,
    /// All it writes is rolled back.
    Try,
}

/// What a revert is about.
#[derive(Debug, Clone)]
pub(crate) struct Reverting {
    /// The run whose rows are put back.
    pub(crate) run_id: String,
    /// Whether they are.
    pub(crate) effect: Effect,
}

/// Puts the rows of a run back and does nothing else. `by`: this run.
pub(super) async fn only(
    context: &RunContext,
    tables: &mut [TableRun],
    (reverting, by): (&Reverting, &str),
) -> Result<(), Failure> {
    let mut after = 0;
    loop {
        let (key, run) = (&context.ends.key, reverting.run_id.as_str());
        let rows = context
            .ends
            .state()
            .kept_rows(key, run, after, ROWS_MAX)
            .await?;
        let Some(last) = rows.last() else {
            break;
        };
        after = last.place;
        let mut streams: BTreeMap<String, Vec<KeptRow>> = BTreeMap::new();
        for row in rows {
            streams.entry(row.stream.clone()).or_default().push(row);
        }
        for (stream, rows) in streams {
            let found = tables.iter_mut().find(|table| table.stream() == stream);
            let Some(table) = found else {
                return Err(left_the_pipeline(&stream, context));
            };
            if table.has_failed() {
                continue;
            }
            let revert = Revert {
                context,
                reverting,
                by,
            };
            let started = table.start_clock();
            let reverted = revert.until_it_works(table, &rows).await;
            table.count_time(started);
            if let Err(failure) = reverted {
                table.fail(failure);
            }
        }
    }
    for table in tables.iter_mut().filter(|table| !table.has_failed()) {
        let outcome = match table.report.rows_written + table.report.rows_deleted {
            0 => Outcome::Unchanged,
            _ => Outcome::Followed,
        };
        table.done(outcome);
    }
    Ok(())
}

fn left_the_pipeline(stream: &str, context: &RunContext) -> Failure {
    let message = format!(
        "table `{stream}` is not in the pipeline `{}` any more, so its rows cannot be put back",
        context.ends.key.pipeline
    );
    Failure::new(exit_code::FAILED, message).with_hint("name the table under `tables:` again")
}

/// The revert of one run.
#[derive(Clone, Copy)]
struct Revert<'a> {
    context: &'a RunContext,
    reverting: &'a Reverting,
    by: &'a str,
}

/// What becomes of rows of one unit.
#[derive(Default)]
struct Sorted {
    put_back: Vec<PutBack>,
    /// Places of kept rows that need no more reverting.
    settled: Vec<u64>,
    exact: ExactRows,
}

impl Revert<'_> {
    async fn until_it_works(&self, table: &mut TableRun, rows: &[KeptRow]) -> Result<(), Failure> {
        let stream = table.stream().to_owned();
        table.refused = Refused::Count;
        if table.stored.is_none() {
            let message = format!("table `{stream}` was reset, so its rows cannot be put back");
            return Err(
                Failure::new(exit_code::FAILED, message).with_hint("run the pipeline, then revert")
            );
        }
        loop {
            if let Some(reason) = self.context.stop.reason() {
                return Err(reason);
            }
            let Err(failure) = self.one_unit(table, rows).await else {
                return Ok(());
            };
            match after_failure(table, failure) {
                Next::Again => tokio::time::sleep(retry::pause(table.attempts)).await,
                Next::Later => {}
                Next::Fail(failure) => return Err(failure),
            }
        }
    }

    async fn one_unit(&self, table: &mut TableRun, rows: &[KeptRow]) -> Result<(), Failure> {
        let mut start = self.context.watermark_unit(table);
        // A row that is refused stops its table: half of a unit put back would help nobody.
        start.careful = false;
        let mut unit = Unit::begin(&self.context.ends, start, table, UnitKind::RowsOnly).await?;
        unit.take_turn(Turn::More);
        let exact = match self.write(&mut unit, table, rows).await {
            Ok(exact) => exact,
            Err(failure) => {
                unit.abort(&failure).await;
                return Err(failure);
            }
        };
        match self.reverting.effect {
            Effect::Write => unit.commit_rows(table).await?,
            Effect::Try => {
                let done = unit.settle(&table.planned).await;
                unit.abort(&Failure::new(exit_code::DONE, "a dry run"))
                    .await;
                table.count_written(done?);
            }
        }
        table.report.exact.get_or_insert_default().add(exact);
        Ok(())
    }

    async fn write(
        &self,
        unit: &mut Unit<'_>,
        table: &TableRun,
        rows: &[KeptRow],
    ) -> Result<ExactRows, Failure> {
        let planned = &table.planned;
        let texts: Vec<_> = rows.iter().map(|row| &row.key).collect();
        let keys = keys_of_texts(&table.read, &texts)?;
        let now = unit.lock(planned, &keys).await?;
        let mut sorted = sort(rows, &now);
        unit.put_back(planned, &sorted.put_back).await?;
        fail_point("revert.put_back");
        let after = unit.lock(planned, &keys).await?;
        let changed = sorted.put_back.iter().map(|it| it.row);
        let kept: Vec<_> = changed
            .map(|row| KeptRow {
                place: 0,
                before: now[row].clone(),
                after: after[row].clone(),
                reverted_by: None,
                ..rows[row].clone()
            })
            .collect();
        sorted.exact.rows_kept = kept.len() as u64;
        unit.keep(self.by, &kept).await?;
        let run = &self.reverting.run_id;
        unit.mark_reverted(run, &sorted.settled, self.by).await?;
        Ok(sorted.exact)
    }
}

/// Tells rows that are as the run left them from those that somebody changed since. `now`: what the
/// target holds, row by row.
fn sort(rows: &[KeptRow], now: &[Option<RowImage>]) -> Sorted {
    let mut sorted = Sorted::default();
    for (index, (row, now)) in rows.iter().zip(now).enumerate() {
        if row.reverted_by.is_some() || is(now.as_ref(), row.before.as_ref()) {
            sorted.exact.already_reverted += 1;
            if row.reverted_by.is_none() {
                sorted.settled.push(row.place);
            }
        } else if is(now.as_ref(), row.after.as_ref()) {
            sorted.settled.push(row.place);
            sorted.put_back.push(PutBack {
                row: index,
                image: row.before.clone(),
            });
        } else {
            sorted.exact.leave(&row.key);
        }
    }
    sorted
}

/// Whether the target holds what is stored.
fn is(now: Option<&RowImage>, stored: Option<&RowImage>) -> bool {
    match (now, stored) {
        (Some(now), Some(stored)) => now.agrees_with(stored),
        (None, None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use syncset_connector::TableName;

    fn image(value: &str) -> Option<RowImage> {
        Some(RowImage(BTreeMap::from([("v".into(), Some(value.into()))])))
    }

    fn row(place: u64, before: Option<RowImage>, after: Option<RowImage>) -> KeptRow {
        KeptRow {
            place,
            stream: "t".into(),
            target: TableName::bare("t"),
            key: json!([place.to_string()]),
            before,
            after,
            reverted_by: None,
        }
    }

    #[test]
    fn only_rows_that_the_run_left_so_are_put_back() {
        let reverted = KeptRow {
            reverted_by: Some("r".into()),
            ..row(6, image("old"), image("new"))
        };
        let rows = [
            row(1, image("old"), image("new")),
            row(2, image("old"), image("new")),
            row(3, None, image("new")),
            row(4, image("old"), None),
            row(5, image("old"), None),
            reverted,
        ];
        let now = [
            image("new"),
            image("other"),
            image("new"),
            None,
            image("old"),
            image("new"),
        ];

        let sorted = sort(&rows, &now);

        let back: Vec<_> = sorted
            .put_back
            .iter()
            .map(|it| (it.row, it.image.clone()))
            .collect();
        assert_eq!(back, [(0, image("old")), (2, None), (3, image("old"))]);
        assert_eq!(sorted.settled, [1, 3, 4, 5]);
        assert_eq!(sorted.exact.changed_meanwhile, 1);
        assert_eq!(sorted.exact.left, [json!(["2"])]);
        assert_eq!(sorted.exact.already_reverted, 2);
    }
}
