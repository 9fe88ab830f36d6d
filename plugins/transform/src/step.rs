//! Plugins that change whole batches, after everything else was computed.

use crate::error::{Place, TransformError};
use crate::evaluate::{Fault, carried_type};
use crate::skip::{Ended, Search};
use crate::special::SpecialChecks;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::take::take;
use std::collections::BTreeSet;
use std::sync::Arc;
use syncset_plugin_host::{Config, Plugin, PluginError, PluginTransform, Returned, Scope};

/// What to do with a plugin that changes keys.
const KEY_HINT: &str = "keys pass as they are: let the plugin return another column";

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
    /// Columns of the key, by the names that the plugin knows.
    pub key: Vec<String>,
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
    /// Columns of the key that come back, as all that was read does: they have to be the same.
    kept: Vec<usize>,
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
        let returns_all = returns_all(&transform, input);
        let mut kept = Vec::new();
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
                Some(index) if returns_all && step.key.contains(field.name()) => {
                    kept.push(index);
                    positions.push(index);
                }
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
            kept,
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
        let returned = self.transform.output().iter().zip(&self.positions);
        let changed = returned.filter(|(_, position)| !self.kept.contains(position));
        changed.map(move |(field, _)| (field.name().as_str(), plugin))
    }

    /// The plugin's name in the project.
    pub(crate) fn plugin(&self) -> &str {
        self.transform.plugin().name()
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

    /// `skipped_max`: how many rows may be left out.
    pub(crate) fn apply(&self, rows: Rows, skipped_max: usize) -> Result<Rows, TransformError> {
        let mut rows = rows;
        let (done, mut skipped) = match self.skips_rows {
            false => {
                let found = |batch: &RecordBatch| self.transform.apply(batch);
                let done = self.try_rows(&rows.batch, found);
                (done.map_err(Ended::Fault), Vec::new())
            }
            true => {
                let once = |batch: &RecordBatch| {
                    self.try_rows(batch, |batch| self.transform.apply_once(batch))
                };
                let returned = self.returned_types().collect();
                Search::new(once, returned, (&rows.batch, skipped_max)).run()
            }
        };
        for row in &mut skipped {
            row.row = rows.origin(row.row);
        }
        let done = match done {
            Ok(done) => done,
            Err(Ended::Fault(mut fault)) => {
                fault.row = fault.row.map(|row| rows.origin(row));
                return Err(self.place.row(fault));
            }
            Err(Ended::TooMany) => {
                return Err(TransformError::Rows {
                    place: self.place.to_string(),
                    row_count_max: skipped_max,
                    row_count: rows.batch.num_rows(),
                    rows: skipped,
                });
            }
        };
        let origins = done.origins;
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

    fn try_rows(
        &self,
        batch: &RecordBatch,
        call: impl FnOnce(&RecordBatch) -> Result<Returned, PluginError>,
    ) -> Result<Done, Fault> {
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
        let returned = call(batch).map_err(|error| failed(&error))?;
        let columns = returned.columns.into_iter().zip(&self.positions);
        let columns = columns
            .map(|(values, position)| carry(values, self.output.field(*position)))
            .collect::<Result<Vec<_>, _>>()?;
        for (values, position) in columns.iter().zip(&self.positions) {
            if self.kept.contains(position) {
                same_keys(
                    self.plugin(),
                    (batch, *position),
                    values,
                    returned.origins.as_deref(),
                )?;
            }
        }
        Ok(Done {
            columns,
            origins: returned.origins,
        })
    }

    /// The types of the columns that come back.
    fn returned_types(&self) -> impl Iterator<Item = &DataType> {
        let positions = self.positions.iter();
        positions.map(|position| self.output.field(*position).data_type())
    }
}

/// Whether a plugin returns just what it reads: what SDKs do where the author says nothing.
fn returns_all(transform: &PluginTransform, input: &Schema) -> bool {
    let read = transform.reads().iter().map(|index| input.field(*index));
    let same = |(read, returned): (&Field, &Field)| {
        read.name() == returned.name() && read.data_type() == returned.data_type()
    };
    transform.reads().len() == transform.output().len() && read.zip(transform.output()).all(same)
}

/// Rows are found by their key on both sides, so it passes as it is.
fn same_keys(
    plugin: &str,
    (batch, position): (&RecordBatch, usize),
    returned: &ArrayRef,
    origins: Option<&[u32]>,
) -> Result<(), Fault> {
    let given = batch.column(position);
    let row_of = |row: usize| match origins {
        None => Some(row),
        Some(origins) => origins.get(row).and_then(|row| usize::try_from(*row).ok()),
    };
    let is_same = |row: &usize| {
        row_of(*row).is_some_and(|from| returned.slice(*row, 1) == given.slice(from, 1))
    };
    if origins.is_none() && returned == given {
        return Ok(());
    }
    let Some(row) = (0..returned.len()).find(|row| !is_same(row)) else {
        return Ok(());
    };
    let schema = batch.schema();
    let name = schema.field(position).name();
    let mut fault = Fault::new(format!(
        "plugin `{plugin}`: it changed `{name}`, which is part of the key"
    ))
    .with_hint(KEY_HINT);
    fault.row = row_of(row);
    Err(fault)
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

/// What a plugin made of some rows.
pub(crate) struct Done {
    /// The columns that come back.
    pub(crate) columns: Vec<ArrayRef>,
    /// The row that each row was made from; `None`: all rows in their order.
    pub(crate) origins: Option<Vec<u32>>,
}

impl Rows {
    fn origin(&self, row: usize) -> usize {
        let origins = self.origins.as_ref();
        origins.and_then(|it| it.get(row)).copied().unwrap_or(row)
    }
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
        fault.is_stop = found.stopped;
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
