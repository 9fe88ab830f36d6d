//! Plugins that change whole batches, after everything else was computed.

use crate::error::{Place, TransformError};
use crate::evaluate::{Fault, carried_type};
use crate::special::SpecialChecks;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{Field, Schema, SchemaRef};
use arrow_select::take::take;
use std::collections::BTreeSet;
use std::sync::Arc;
use syncset_plugin_host::{Config, Plugin, PluginError, PluginTransform, Scope};

/// Rows of one batch that a plugin may fail at before the whole batch does.
const SKIPPED_ROWS_MAX: usize = 1_000;

/// A plugin as a table uses it.
#[derive(Debug, Clone)]
pub struct PluginStep {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// Its configuration.
    pub config: Config,
    /// What it may know of the run.
    pub scope: Scope,
    /// Whether a row that it fails at is left out alone.
    pub skips_rows: bool,
}

/// A row that a plugin failed at and that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedRow {
    /// Row of the batch that was given.
    pub row: usize,
    /// What the plugin said. Holds no secret of its configuration.
    pub reason: String,
}

/// A step, bound to the columns that reach it.
#[derive(Debug)]
pub(crate) struct BoundStep {
    place: Place,
    transform: PluginTransform,
    checks: SpecialChecks,
    skips_rows: bool,
    reads: Vec<String>,
    /// Where each column that comes back goes.
    positions: Vec<usize>,
    output: SchemaRef,
}

/// Rows on their way through the steps.
pub(crate) struct Rows {
    pub(crate) batch: RecordBatch,
    /// For each row the row of the batch that was given; `None`: they are the same.
    pub(crate) origins: Option<Vec<usize>>,
    /// Rows of the batch that was given.
    pub(crate) skipped: Vec<SkippedRow>,
}

impl BoundStep {
    pub(crate) fn bind(
        step: &PluginStep,
        table: &str,
        input: &SchemaRef,
    ) -> Result<Self, TransformError> {
        let place = Place::Plugin {
            table: table.to_owned(),
        };
        let transform =
            PluginTransform::bind(&step.plugin, &step.config, input, step.scope.clone())
                .map_err(|error| refused(&place, &error))?;
        let mut fields: Vec<Field> = input
            .fields()
            .iter()
            .map(|it| it.as_ref().clone())
            .collect();
        let mut positions = Vec::with_capacity(transform.output().len());
        for returned in transform.output() {
            let carried = carried_type(returned.data_type()).ok_or_else(|| {
                place.refuse(format!(
                    "plugin `{}`: no target can hold column `{}` of type {}",
                    step.plugin.name(),
                    returned.name(),
                    returned.data_type()
                ))
            })?;
            let field = Field::new(returned.name(), carried, returned.is_nullable());
            match fields.iter().position(|it| it.name() == field.name()) {
                Some(index) => {
                    fields[index] = field;
                    positions.push(index);
                }
                None => {
                    positions.push(fields.len());
                    fields.push(field);
                }
            }
        }
        Ok(Self {
            checks: SpecialChecks::of_columns(transform.reads(), input),
            reads: transform
                .reads()
                .iter()
                .map(|index| input.field(*index).name().clone())
                .collect(),
            place,
            transform,
            skips_rows: step.skips_rows,
            positions,
            output: Arc::new(Schema::new(fields)),
        })
    }

    /// The columns after this step.
    pub(crate) fn output(&self) -> &SchemaRef {
        &self.output
    }

    /// The plugin, and names of the columns that it returns.
    pub(crate) fn returned(&self) -> impl Iterator<Item = (&str, &str)> {
        let plugin = self.transform.plugin().name();
        self.transform
            .output()
            .iter()
            .map(move |field| (field.name().as_str(), plugin))
    }

    /// The step as a node of a plan.
    pub(crate) fn explain(&self) -> String {
        let reads: Vec<_> = self.reads.iter().map(String::as_str).collect();
        let returned = self.transform.output().iter();
        let returned: Vec<_> = returned
            .map(|field| format!("{} {}", field.name(), field.data_type()))
            .collect();
        let plugin = self.transform.plugin();
        let sha256 = plugin.sha256().get(..8).unwrap_or_default();
        format!(
            "plugin {} ({sha256}): reads {}; returns {}",
            plugin.name(),
            listed(&reads),
            listed(&returned)
        )
    }

    pub(crate) fn apply(&self, rows: Rows) -> Result<Rows, TransformError> {
        let mut rows = rows;
        let (mut left, mut skipped) = (rows.batch.clone(), Vec::new());
        // Rows of the batch as it came to this step that are still there.
        let mut places: Option<Vec<u32>> = None;
        let done = loop {
            match self.apply_once(&left) {
                Ok(done) => break done,
                Err(mut fault) => {
                    let at = fault.row;
                    let here = |row: usize| match &places {
                        None => Some(row),
                        Some(places) => places.get(row).and_then(|it| usize::try_from(*it).ok()),
                    };
                    fault.row = at.and_then(here).map(|row| rows.origin(row));
                    let Some((at, row)) = at.zip(fault.row).filter(|_| self.skips_rows) else {
                        return Err(self.place.row(fault));
                    };
                    if skipped.len() >= SKIPPED_ROWS_MAX {
                        return Err(self.place.row(fault));
                    }
                    skipped.push(SkippedRow {
                        row,
                        reason: fault.reason,
                    });
                    let others = without(&left, at, places.as_deref());
                    left = select(&left, &others.0).map_err(|fault| self.place.row(fault))?;
                    places = Some(others.1);
                }
            }
        };
        let origins = match (done.origins, places) {
            (None, None) => None,
            (None, Some(places)) => Some(places),
            (Some(origins), None) => Some(origins),
            (Some(origins), Some(places)) => {
                let named = origins.iter().filter_map(|row| usize::try_from(*row).ok());
                Some(named.filter_map(|row| places.get(row).copied()).collect())
            }
        };
        let kept = match &origins {
            None => rows.batch.clone(),
            Some(origins) => select(&rows.batch, origins).map_err(|fault| self.place.row(fault))?,
        };
        let mut columns = kept.columns().to_vec();
        for (position, values) in self.positions.iter().zip(done.columns) {
            match columns.get_mut(*position) {
                Some(column) => *column = values,
                None => columns.push(values),
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(kept.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.output), columns, &options)
            .map_err(|error| self.place.row(Fault::new(error.to_string())))?;
        let origins = origins.map(|origins| {
            let here = origins.iter().filter_map(|row| usize::try_from(*row).ok());
            here.map(|row| rows.origin(row)).collect()
        });
        rows.skipped.extend(skipped);
        Ok(Rows {
            batch,
            origins: origins.or(rows.origins),
            skipped: rows.skipped,
        })
    }

    fn apply_once(&self, batch: &RecordBatch) -> Result<Done, Fault> {
        if let Some(found) = self.checks.find(batch) {
            let schema = batch.schema();
            let column = schema.field(found.column).name();
            let mut fault = Fault::new(format!(
                "column `{column}` holds {}, which plugins cannot be given",
                found.kind
            ));
            fault.row = Some(found.row);
            return Err(fault);
        }
        let returned = self
            .transform
            .apply(batch)
            .map_err(|error| failed(&error))?;
        let columns = returned.columns.into_iter().zip(&self.positions);
        let columns = columns
            .map(|(values, position)| carry(values, self.output.field(*position)))
            .collect::<Result<_, _>>()?;
        Ok(Done {
            columns,
            origins: returned.origins,
        })
    }
}

fn listed<T: AsRef<str>>(names: &[T]) -> String {
    match names.is_empty() {
        true => "nothing".to_owned(),
        false => names
            .iter()
            .map(AsRef::as_ref)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

struct Done {
    columns: Vec<ArrayRef>,
    origins: Option<Vec<u32>>,
}

impl Rows {
    fn origin(&self, row: usize) -> usize {
        let origins = self.origins.as_ref();
        origins.and_then(|it| it.get(row)).copied().unwrap_or(row)
    }
}

/// Positions of all rows but one, and the rows that they were before.
fn without(batch: &RecordBatch, row: usize, places: Option<&[u32]>) -> (Vec<u32>, Vec<u32>) {
    let positions = (0..batch.num_rows()).filter(|other| *other != row);
    let positions: Vec<u32> = positions
        .filter_map(|row| u32::try_from(row).ok())
        .collect();
    let before = match places {
        None => positions.clone(),
        Some(places) => {
            let rows = positions
                .iter()
                .filter_map(|row| usize::try_from(*row).ok());
            rows.filter_map(|row| places.get(row).copied()).collect()
        }
    };
    (positions, before)
}

fn select(batch: &RecordBatch, rows: &[u32]) -> Result<RecordBatch, Fault> {
    let rows = UInt32Array::from(rows.to_vec());
    let columns = batch
        .columns()
        .iter()
        .map(|column| take(column, &rows, None));
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    columns
        .collect::<Result<Vec<_>, _>>()
        .and_then(|columns| RecordBatch::try_new_with_options(batch.schema(), columns, &options))
        .map_err(|error| Fault::new(error.to_string()))
}

/// Values as connectors know them.
fn carry(values: ArrayRef, field: &Field) -> Result<ArrayRef, Fault> {
    if values.data_type() == field.data_type() {
        return Ok(values);
    }
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(&values, field.data_type(), &options).map_err(|_| {
        Fault::new(format!(
            "column `{}` has a value that does not fit {}",
            field.name(),
            field.data_type()
        ))
    })
}

fn refused(place: &Place, error: &PluginError) -> TransformError {
    let reason = error.to_string();
    match error.hint() {
        Some(hint) => place.refuse_with_hint(reason, hint),
        None => place.refuse(reason),
    }
}

/// What a plugin said, as expressions tell their faults.
pub(crate) fn failed(error: &PluginError) -> Fault {
    let mut fault = Fault::new(error.to_string());
    fault.hint = error.hint().map(str::to_owned);
    if let PluginError::Failed { fault: found, .. } = error {
        fault.row = found.row;
        fault.is_divisible = found.divisible;
    }
    fault
}

impl SpecialChecks {
    /// Columns of types that have values which Arrow has not.
    fn of_columns(columns: &[usize], schema: &Schema) -> Self {
        let has_special = |index: &&usize| Self::has_special(schema.field(**index).data_type());
        let columns: BTreeSet<usize> = columns.iter().filter(has_special).copied().collect();
        Self::new(columns)
    }
}
