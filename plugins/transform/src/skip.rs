//! The rows of a batch that a plugin fails at, found and left out.
//!
//! What becomes of a row may not depend on its neighbours, so parts of a batch that the plugin
//! takes are done: only a part that fails is divided, and no part is larger than half of the one
//! that it was cut from.

use crate::evaluate::Fault;
use crate::step::{Done, SkippedRow};
use arrow_array::{Array, ArrayRef, RecordBatch, new_empty_array};
use arrow_schema::DataType;
use arrow_select::concat::concat;
use syncset_plugin_host::hold;

/// Why a batch was given up.
pub(crate) enum Ended {
    /// No row is to blame.
    Fault(Fault),
    /// More rows failed than may be left out.
    TooMany,
}

/// A search of one batch.
pub(crate) struct Search<'a, F> {
    /// What becomes of some of its rows.
    apply: F,
    /// Of the columns that come back.
    returned: Vec<&'a DataType>,
    batch: &'a RecordBatch,
    skipped_max: usize,
    skipped: Vec<SkippedRow>,
    /// In the order of their rows.
    parts: Vec<Part>,
}

/// Rows that the plugin took.
struct Part {
    start: usize,
    row_count: usize,
    done: Done,
}

impl<'a, F: Fn(&RecordBatch) -> Result<Done, Fault>> Search<'a, F> {
    pub(crate) fn new(
        apply: F,
        returned: Vec<&'a DataType>,
        (batch, skipped_max): (&'a RecordBatch, usize),
    ) -> Self {
        Self {
            apply,
            returned,
            batch,
            skipped_max,
            skipped: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// What becomes of all rows but those that fail, and these, in their order.
    pub(crate) fn run(mut self) -> (Result<Done, Ended>, Vec<SkippedRow>) {
        let found = self.look(0, self.batch.num_rows());
        self.skipped.sort_by_key(|skipped| skipped.row);
        let done = found
            .and_then(|()| joined(&self.returned, self.batch, self.parts).map_err(Ended::Fault));
        (done, self.skipped)
    }

    /// Takes what the plugin makes of these rows, or divides them. Of the lines that it logs only
    /// those of the calls that count are told.
    fn look(&mut self, start: usize, row_count: usize) -> Result<(), Ended> {
        if row_count == 0 {
            return Ok(());
        }
        let rows = self.batch.slice(start, row_count);
        let (done, lines) = hold(|| (self.apply)(&rows));
        let fault = match done {
            Ok(done) => {
                lines.tell();
                self.parts.push(Part {
                    start,
                    row_count,
                    done,
                });
                return Ok(());
            }
            Err(fault) => fault,
        };
        let half = row_count / 2;
        match fault
            .row
            .or((row_count == 1 && fault.is_divisible).then_some(0))
        {
            Some(row) => {
                match row_count {
                    1 => lines.tell(),
                    // The others say theirs again.
                    _ => lines.tell_last(),
                }
                self.skip(start + row, fault)?;
                for (from, to) in [
                    (0, row.min(half)),
                    (row.min(half), row.max(half)),
                    (row.max(half), row_count),
                ] {
                    // The row is the first one of the part that it cuts off.
                    let from = if from == row { from + 1 } else { from };
                    self.look(start + from, to.saturating_sub(from))?;
                }
                Ok(())
            }
            None if fault.is_divisible => {
                let before = self.skipped.len();
                self.look(start, half)?;
                self.look(start + half, row_count - half)?;
                match self.skipped.len() > before {
                    true => Ok(()),
                    // Only all rows together fail.
                    false => {
                        lines.tell();
                        Err(Ended::Fault(fault))
                    }
                }
            }
            None => {
                lines.tell();
                Err(Ended::Fault(fault))
            }
        }
    }

    fn skip(&mut self, row: usize, fault: Fault) -> Result<(), Ended> {
        self.skipped.push(SkippedRow {
            row,
            reason: fault.reason,
        });
        match self.skipped.len() > self.skipped_max {
            true => Err(Ended::TooMany),
            false => Ok(()),
        }
    }
}

/// The parts of a batch as one.
fn joined(
    returned: &[&DataType],
    batch: &RecordBatch,
    mut parts: Vec<Part>,
) -> Result<Done, Fault> {
    if let Some(whole) = parts.pop_if(|part| part.row_count == batch.num_rows()) {
        return Ok(whole.done);
    }
    let wanted = returned.iter().enumerate();
    let columns = wanted.map(|(index, data_type)| {
        let values = parts.iter().map(|part| part.done.columns[index].as_ref());
        let values: Vec<&dyn Array> = values.collect();
        match values.is_empty() {
            true => Ok(new_empty_array(data_type)),
            false => concat(&values).map_err(|error| Fault::new(error.to_string())),
        }
    });
    let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
    let rows = |part: &Part| -> Vec<u32> {
        let first = u32::try_from(part.start).unwrap_or(u32::MAX);
        match &part.done.origins {
            None => part.rows().collect(),
            Some(origins) => origins.iter().map(|row| first + row).collect(),
        }
    };
    Ok(Done {
        columns,
        origins: Some(parts.iter().flat_map(rows).collect()),
    })
}

impl Part {
    /// Its rows in the batch.
    fn rows(&self) -> impl Iterator<Item = u32> + use<> {
        let rows = self.start..self.start + self.row_count;
        rows.filter_map(|row| u32::try_from(row).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Int64Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_schema::{Field, Schema};
    use std::cell::Cell;
    use std::sync::Arc;

    /// How a plugin fails at a batch with bad rows.
    #[derive(Debug, Clone, Copy)]
    enum Fails {
        /// It names the first one.
        Naming,
        /// It names the last one.
        NamingLast,
        /// It says nothing.
        Mute,
    }

    struct Found {
        done: Result<Done, Ended>,
        skipped: Vec<usize>,
        calls: usize,
        rows_passed: usize,
    }

    fn is_bad(value: i64) -> bool {
        value % 10 == 3
    }

    /// A plugin that fails at values that end in 3, drops those that end in 7, and doubles others.
    fn search(values: Vec<i64>, fails: Fails, skipped_max: usize) -> Found {
        let schema = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
        let batch =
            RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from(values))])
                .expect("one column");
        let (calls, rows_passed) = (Cell::new(0), Cell::new(0));
        let apply = |rows: &RecordBatch| {
            calls.set(calls.get() + 1);
            rows_passed.set(rows_passed.get() + rows.num_rows());
            let values = rows.column(0).as_primitive::<Int64Type>().values();
            let mut fault = Fault::new("bad");
            fault.row = match fails {
                Fails::Naming => values.iter().position(|value| is_bad(*value)),
                Fails::NamingLast => values.iter().rposition(|value| is_bad(*value)),
                Fails::Mute => None,
            };
            if values.iter().any(|value| is_bad(*value)) {
                return Err(fault);
            }
            let kept = values
                .iter()
                .enumerate()
                .filter(|(_, value)| **value % 10 != 7);
            let (origins, doubled): (Vec<u32>, Vec<i64>) =
                kept.map(|(row, value)| (row as u32, value * 2)).unzip();
            Ok(Done {
                origins: (origins.len() < values.len()).then_some(origins),
                columns: vec![Arc::new(Int64Array::from(doubled))],
            })
        };
        let found = Search::new(apply, vec![&DataType::Int64], (&batch, skipped_max));
        let (done, skipped) = found.run();
        Found {
            done,
            skipped: skipped.into_iter().map(|skipped| skipped.row).collect(),
            calls: calls.get(),
            rows_passed: rows_passed.get(),
        }
    }

    fn values(done: &Done) -> Vec<i64> {
        done.columns[0]
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    }

    #[test]
    fn rows_that_stay_are_those_of_a_batch_without_the_bad_ones() {
        let cases: Vec<Vec<i64>> = vec![
            (0..100).collect(),
            vec![3],
            vec![3, 3, 3],
            vec![1, 2, 4],
            vec![7, 7],
            vec![3, 7, 3],
            vec![1, 3],
            vec![3, 1],
            (0..37).rev().collect(),
        ];
        for fails in [Fails::Naming, Fails::NamingLast, Fails::Mute] {
            for case in &cases {
                let found = search(case.clone(), fails, 1_000);

                let kept = case.iter().enumerate();
                let kept = kept.filter(|(_, value)| !is_bad(**value) && *value % 10 != 7);
                let (wanted_origins, wanted): (Vec<u32>, Vec<i64>) =
                    kept.map(|(row, value)| (row as u32, value * 2)).unzip();
                let bad = case.iter().enumerate().filter(|(_, value)| is_bad(**value));
                let bad: Vec<usize> = bad.map(|(row, _)| row).collect();
                let Ok(done) = found.done else {
                    panic!("{fails:?} {case:?}: it ended");
                };
                assert_eq!(values(&done), wanted, "{fails:?} {case:?}");
                let all: Vec<u32> = (0..case.len() as u32).collect();
                let origins = done.origins.unwrap_or(all);
                assert_eq!(origins, wanted_origins, "{fails:?} {case:?}");
                assert_eq!(found.skipped, bad, "{fails:?} {case:?}");
            }
        }
    }

    #[test]
    fn thousand_bad_rows_pass_each_row_a_few_times_only() {
        // Each tenth of 8192 rows.
        for fails in [Fails::Naming, Fails::NamingLast, Fails::Mute] {
            let found = search((0..8192).collect(), fails, 1_000);

            assert_eq!(found.skipped.len(), 819, "{fails:?}");
            assert!(
                found.rows_passed <= 8192 * 14,
                "{fails:?}: {}",
                found.rows_passed
            );
            assert!(found.calls <= 819 * 10, "{fails:?}: {}", found.calls);
        }
    }

    #[test]
    fn search_ends_with_the_first_row_too_many() {
        let found = search((0..8192).collect(), Fails::Naming, 5);

        assert!(matches!(found.done, Err(Ended::TooMany)));
        assert_eq!(found.skipped.len(), 6);
        assert!(found.calls < 100, "{}", found.calls);
    }

    #[test]
    fn rows_that_fail_only_together_are_not_to_blame() {
        let batch: Vec<i64> = (0..8).collect();
        let schema = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
        let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from(batch))])
            .expect("one column");
        let apply = |rows: &RecordBatch| match rows.num_rows() {
            8 => Err(Fault::new("too much")),
            _ => Ok(Done {
                columns: rows.columns().to_vec(),
                origins: None,
            }),
        };

        let (done, skipped) = Search::new(apply, vec![&DataType::Int64], (&batch, 9)).run();

        let Err(Ended::Fault(fault)) = done else {
            panic!("it does not fail");
        };
        assert_eq!((fault.reason.as_str(), fault.row), ("too much", None));
        assert!(skipped.is_empty());
    }
}
