//! Makes values fit their target columns, as `on_lossy` says, and counts what was lost.
//!
//! It stands between the transform and the writer, so that the store that is written never has to
//! convert a value: what it gets fits, or is refused. Columns whose values all fit pass by `Arc`.

mod characters;
mod nearest;
mod numbers;
mod rule;
mod text;

pub(crate) use text::forms as text_forms;

pub(crate) use rule::{carried, effect};

use crate::cli::quantity::counted;
use crate::exit_code;
use crate::failure::Failure;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use nearest::Outcome;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use syncset_connector::{Calendar, Domain, Holds, OnLossy, TargetTable};

/// How many values of one column were changed to fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Lost {
    /// Values that became the nearest one.
    pub(crate) changed: u64,
    /// Values that became NULL.
    pub(crate) nulled: u64,
}

impl Lost {
    /// For people.
    pub(crate) fn sentence(self) -> String {
        let mut parts = Vec::new();
        if self.changed > 0 {
            parts.push(format!(
                "{} changed to fit",
                counted(self.changed, "value was", "values were")
            ));
        }
        if self.nulled > 0 {
            let values = counted(self.nulled, "value", "values");
            parts.push(format!("{values} became NULL"));
        }
        parts.join(", ")
    }
}

/// The same for all columns of a table that lost something, by their names at the target.
pub(crate) type Losses = BTreeMap<String, Lost>;

/// Adds what one part of a run has lost.
pub(crate) fn add(losses: &mut Losses, more: &Losses) {
    for (column, lost) in more {
        let sum = losses.entry(column.clone()).or_default();
        sum.changed += lost.changed;
        sum.nulled += lost.nulled;
    }
}

/// What happens to the values of one column.
#[derive(Debug)]
struct Step {
    index: usize,
    name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// They become their text forms.
    Text,
    /// Those that do not fit become the nearest one, or NULL.
    Fit {
        rule: Rule,
        domain: Domain,
        /// The type that they are sent as.
        to: DataType,
    },
}

/// What becomes of a value that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    /// Whether the nearest value is taken where there is one.
    takes_nearest: bool,
    /// Whether it may become NULL; else it is left as it is, and the target refuses the row.
    may_be_null: bool,
}

/// Makes the rows of one table fit.
#[derive(Debug)]
pub(crate) struct Fit {
    schema: SchemaRef,
    steps: Vec<Step>,
}

impl Fit {
    /// How rows of this schema become rows of the target; `policies` and `holds` in the order of
    /// its columns.
    pub(crate) fn new(
        from: &SchemaRef,
        target: &TargetTable,
        policies: &[OnLossy],
        holds: &[Holds],
    ) -> Self {
        let columns = target.columns.iter().zip(policies).zip(holds).enumerate();
        let steps = columns.filter_map(|(index, ((column, policy), holds))| {
            let (sent, to) = (from.field(index).data_type(), &column.data_type);
            let rule = match policy {
                OnLossy::Error => return None,
                OnLossy::Text if is_text(sent) => return None,
                OnLossy::Text => {
                    return (sent != to).then(|| Step {
                        index,
                        name: column.name.clone(),
                        kind: Kind::Text,
                    });
                }
                OnLossy::Warn => Rule {
                    takes_nearest: true,
                    may_be_null: holds.nullable,
                },
                OnLossy::Null => Rule {
                    takes_nearest: false,
                    may_be_null: holds.nullable,
                },
            };
            let domain = match (sent == to, &holds.domain) {
                // A finer time is cut to what is sent even where the column keeps all of that.
                (false, Domain::Any) => Domain::Moments {
                    min: i64::MIN,
                    max: i64::MAX,
                    digits: 6,
                    calendar: Calendar {
                        infinities: true,
                        lacks: None,
                    },
                },
                (_, domain) => domain.clone(),
            };
            (!domain.keeps_all_of(sent)).then(|| Step {
                index,
                name: column.name.clone(),
                kind: Kind::Fit {
                    rule,
                    domain,
                    to: to.clone(),
                },
            })
        });
        let steps = steps.collect();
        // A column that the source never leaves empty may take NULL at a target of the user's own.
        let fields = target.columns.iter();
        let fields = fields.map(|it| Field::new(&it.name, it.data_type.clone(), true));
        Self {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            steps,
        }
    }

    /// Whether rows are sent as they are.
    pub(crate) fn changes_nothing(&self) -> bool {
        self.steps.is_empty()
    }

    /// The rows as they are sent. What was lost is added to `losses`.
    ///
    /// # Errors
    /// If a column has a type that no step was made for, which is our fault.
    pub(crate) fn apply(
        &self,
        batch: RecordBatch,
        losses: &mut Losses,
    ) -> Result<RecordBatch, Failure> {
        if self.steps.is_empty() {
            return Ok(batch);
        }
        let mut columns = batch.columns().to_vec();
        for step in &self.steps {
            let (array, lost) = step.apply(&columns[step.index]).map_err(|error| {
                let message = format!("column `{}` cannot be made to fit: {error}", step.name);
                Failure::new(exit_code::FAILED, message)
            })?;
            columns[step.index] = array;
            if lost != Lost::default() {
                add(losses, &Losses::from([(step.name.clone(), lost)]));
            }
        }
        RecordBatch::try_new(self.schema.clone(), columns).map_err(|error| {
            let message = format!("rows that were made to fit make no batch: {error}");
            Failure::new(exit_code::FAILED, message)
        })
    }
}

impl Step {
    fn apply(&self, array: &ArrayRef) -> Result<(ArrayRef, Lost), ArrowError> {
        match &self.kind {
            Kind::Text => Ok((text::forms(array)?, Lost::default())),
            Kind::Fit { rule, domain, to } => {
                let Outcome { array, lost } = nearest::fitted(array, domain, *rule)?;
                Ok((cast(&array, to)?, lost))
            }
        }
    }
}

/// A cast that fails rather than lose anything but digits that are zeros.
fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(array, to, &strict)
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// Whether a type is a time that is finer than any store keeps.
fn is_too_fine(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Timestamp(TimeUnit::Nanosecond, _) | DataType::Time64(TimeUnit::Nanosecond)
    )
}

#[cfg(test)]
mod tests;
