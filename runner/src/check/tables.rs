//! `syncset check LEFT RIGHT`: two tables that no pipeline connects. Writes nothing.
//!
//! Nothing tells here which rows are in flight. A difference is drift if it is there at two looks
//! between which neither side changed; everything else is undecided.

use super::load::Load;
use super::look::{Rows, candidates, difference, in_buckets, listed, looked_up, sample};
use super::report::{Certainty, CheckReport, CheckedTable, exit_code_of};
use super::rows::RowForms;
use super::side::{Scope, Side, target_read};
use super::{ROWS_LISTED_MAX, both, done, millis};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::open::{Ends, open_store};
use crate::planned::{self, PlannedTable};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use syncset_connector::{Filter, Position, Role, Source, TableDescription, TableRead};
use syncset_pipeline::{PipelineSpec, select_tables};

/// Compares the only table of a pipeline that is never run.
pub(crate) async fn check_tables(
    spec: &PipelineSpec,
    project: &str,
    (samples, load): (usize, Option<Load>),
) -> Result<CheckReport, Failures> {
    let clock = Instant::now();
    let ends = Ends::open(spec, project, 1).await?;
    let reader = open_store(&spec.target, Role::Source, &ends.key, 1).await?;
    let listed = ends.source_store().list_tables().await?;
    let selected = select_tables(spec, &listed, &[])?;
    let planned = planned::draft(&ends, spec, selected, None).await?;
    let planned = planned.into_iter().next().ok_or_else(|| {
        let message = format!("`{}` has no such table", spec.source.name);
        Failure::new(exit_code::CONFIG, message)
    })?;
    let there = reader
        .describe(std::slice::from_ref(&planned.target.name))
        .await?;
    let source = reader.source().ok_or_else(|| {
        let message = format!("`{}` cannot be read", spec.target.kind);
        Failure::new(exit_code::CONFIG, message)
    })?;
    let there = there.into_iter().next().flatten();
    let there = Arc::new(there.ok_or_else(|| no_table(&planned, spec))?);
    if let Filter::Predicate(predicate) = &planned.plan.read.filter {
        source.can_push(&there, predicate).map_err(|why| {
            let message = format!(
                "`--where` cannot be evaluated by `{}` alike: {why}",
                spec.target.name
            );
            Failure::new(exit_code::CONFIG, message)
                .with_hint("compare views that select the rows on both sides")
        })?;
    }
    let pair = Pair {
        ends: &ends,
        reader: source,
        forms: Arc::new(comparable(&planned, &there)?),
        planned: Arc::new(planned),
        there,
        load,
    };
    let (stream, target) = (pair.planned.stream(), pair.planned.target.name.to_string());
    let mut checked = CheckedTable::new(stream, &target);
    if let Err(failure) = pair.compare(samples, &mut checked).await {
        checked.fail(failure);
    }
    checked.duration_ms = millis(clock);
    drop(pair);
    reader.close().await;
    ends.close().await;
    Ok(CheckReport {
        pipeline: spec.name.clone(),
        exit_code: exit_code_of(std::iter::once(checked.exit_code)),
        duration_ms: millis(clock),
        tables: vec![checked],
    })
}

fn no_table(planned: &PlannedTable, spec: &PipelineSpec) -> Failure {
    let message = format!(
        "RIGHT: `{}` has no table `{}` to compare with",
        spec.target.name, planned.target.name
    );
    Failure::new(exit_code::CONFIG, message).with_hint(
        "write its name as the store does, with its schema; \
         `syncset connection discover` lists the tables",
    )
}

/// The forms by which both sides are compared.
fn comparable(planned: &PlannedTable, there: &TableDescription) -> Result<RowForms, Failure> {
    let target = &planned.target;
    let forms = RowForms::of(target, there).map_err(|lacking| {
        let names: Vec<_> = lacking.iter().map(|name| format!("`{name}`")).collect();
        let message = format!("`{}` has no column {}", target.name, names.join(", "));
        Failure::new(exit_code::CONFIG, message)
            .with_hint("name the columns that both tables have with `--columns`")
    })?;
    let wrong: Vec<_> = target
        .columns
        .iter()
        .filter_map(|sent| {
            let stored = there.column(&sent.name)?;
            let native = sent
                .native
                .as_ref()
                .map_or("computed", |native| native.name.as_str());
            (!RowForms::compares(sent, stored))
                .then(|| format!("`{}` ({native} and {})", sent.name, stored.native.name))
        })
        .collect();
    if wrong.is_empty() {
        return Ok(forms);
    }
    let message = format!(
        "columns of `{}` and `{}` hold values that cannot be compared: {}",
        planned.stream(),
        target.name,
        wrong.join(", ")
    );
    Err(Failure::new(exit_code::CONFIG, message)
        .with_hint("leave them out with `--columns`, or compare views that cast them to one type"))
}

/// The two tables.
struct Pair<'a> {
    ends: &'a Ends,
    reader: &'a dyn Source,
    planned: Arc<PlannedTable>,
    forms: Arc<RowForms>,
    there: Arc<TableDescription>,
    /// How much may be asked of each store.
    load: Option<Load>,
}

impl Pair<'_> {
    async fn open(&self) -> Result<(Side, Side), Failure> {
        let (planned, forms) = (&self.planned, &self.forms);
        let nowhere = Position(serde_json::Value::Null);
        let read = TableRead {
            filter: planned.plan.read.filter.clone(),
            ..target_read(planned, &self.there)
        };
        let (mut right, mut left) = tokio::try_join!(
            Side::reading(self.reader, planned, forms, read),
            Side::source(self.ends.source(), planned, forms, &nowhere)
        )?;
        (right.load, left.load) = (self.load, self.load);
        Ok((right, left))
    }

    /// Closes both sides.
    async fn close(
        &self,
        right: Side,
        left: Side,
        checked: &mut CheckedTable,
    ) -> Result<(), Failure> {
        checked.rested += right.rested.max(left.rested);
        both(done(right.close()), done(left.close())).await?;
        Ok(())
    }

    async fn compare(&self, samples: usize, checked: &mut CheckedTable) -> Result<(), Failure> {
        let (right, left) = self.open().await?;
        let ((right, there), (left, here)) = both(in_buckets(right), in_buckets(left)).await?;
        (checked.rows_source, checked.rows_target) = (here.rows(), there.rows());
        checked.draw(&here, &there);
        let differing = here.differing(&there, ROWS_LISTED_MAX);
        if differing.is_empty() {
            self.close(right, left, checked).await?;
            checked.settle();
            return Ok(());
        }
        checked.complete = !differing.has_more;
        let differing = Arc::new(differing);
        let ((right, there), (left, here)) =
            both(listed(right, differing.clone()), listed(left, differing)).await?;
        self.close(right, left, checked).await?;
        self.look_again((&here, &there), samples, checked).await?;
        checked.settle();
        Ok(())
    }

    async fn look_again(
        &self,
        (here, there): (&Rows, &Rows),
        samples: usize,
        checked: &mut CheckedTable,
    ) -> Result<(), Failure> {
        let candidates = candidates(here, there, true);
        let wanted = candidates.iter().enumerate();
        let wanted = wanted.map(|(place, (_, key))| (*key, place < samples));
        let wanted: Arc<HashMap<u64, bool>> = Arc::new(wanted.collect());
        let (right, left) = self.open().await?;
        let ((right, there_now), (left, here_now)) = both(
            looked_up(right, Scope::All, self.forms.clone(), wanted.clone()),
            looked_up(left, Scope::All, self.forms.clone(), wanted),
        )
        .await?;
        self.close(right, left, checked).await?;
        for (_, key) in candidates {
            let (left, right) = (here_now.rows.get(&key), there_now.rows.get(&key));
            let Some((kind, rows)) = difference(left, right, true) else {
                continue;
            };
            let is_still = left == here.get(&key) && right == there.get(&key);
            match is_still {
                true => {
                    checked.count(kind, rows);
                    checked.mark(key, rows, Certainty::Drift);
                }
                false => {
                    checked.undecided += rows;
                    checked.mark(key, rows, Certainty::Undecided);
                }
            }
            let sample = sample(&self.forms, (&here_now, &there_now), (kind, key), !is_still);
            checked.samples.extend(sample);
        }
        if checked.undecided > 0 {
            let note = "rows that changed between two looks are undecided: check again";
            checked.notes.push(note.to_owned());
        }
        Ok(())
    }
}
