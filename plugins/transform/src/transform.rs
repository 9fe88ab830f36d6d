//! The condition and the outputs of one table, ready to be applied.

use crate::compile::{self, Compiled};
use crate::context::TransformContext;
use crate::error::{Place, TransformError};
use crate::evaluate::{Fault, carried_type, evaluate};
use crate::mask::MaskPlan;
use crate::names;
use crate::spec::{MaskedValue, OutputExpr, TransformSpec};
use crate::step::{BoundStep, Rows, SkippedRow};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use datafusion_common::DFSchema;
use std::collections::BTreeSet;
use std::sync::Arc;
use syncset_connector::Mask;

/// Rows of one batch that a plugin may fail at before the whole batch does: more are no accident.
pub const SKIPPED_ROWS_MAX: usize = 1_000;

/// What becomes of each batch of one table. Compiled once, shared by all units of a run.
#[derive(Debug)]
pub struct Transform {
    table: String,
    input: SchemaRef,
    condition: Option<(Place, Compiled)>,
    columns: Vec<OutputColumn>,
    /// Of `columns`.
    computed: SchemaRef,
    steps: Vec<BoundStep>,
    /// The columns after the last step that go out; `None`: all.
    chosen: Option<Vec<usize>>,
    output: SchemaRef,
}

#[derive(Debug)]
enum OutputColumn {
    Input(usize),
    Computed {
        place: Place,
        compiled: Compiled,
        carried: DataType,
    },
    Masked {
        place: Place,
        plan: MaskPlan,
        /// `None` where the mask reads no values.
        of: Option<Box<OutputColumn>>,
    },
}

/// A batch after the transform.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The rows that were kept, with the outputs as columns.
    pub kept: RecordBatch,
    /// True for each row of the input that is not selected; `None` if all are.
    pub dropped: Option<BooleanArray>,
    /// Rows of the input that a plugin failed at: neither kept nor dropped.
    pub skipped: Vec<SkippedRow>,
}

impl Transform {
    /// Plans the condition and all outputs.
    ///
    /// A transform that only hands columns on never touches DataFusion.
    ///
    /// # Errors
    /// [`TransformError::Refused`] if an expression cannot be used as written.
    pub fn compile(
        spec: &TransformSpec,
        context: &TransformContext,
    ) -> Result<Self, TransformError> {
        let compiler = Compiler { spec, context };
        let condition = compiler.condition()?;
        let mut fields = Vec::with_capacity(spec.outputs.len());
        let mut columns = Vec::with_capacity(spec.outputs.len());
        let mut names = BTreeSet::new();
        for output in &spec.outputs {
            if !names.insert(output.name.as_str()) {
                let place = compiler.place(&output.name);
                return Err(place.refuse("another column has the same name"));
            }
            let (field, column) = match &output.value {
                OutputExpr::Input(name) => compiler.input(&output.name, name)?,
                OutputExpr::Sql(sql) => compiler.computed(&output.name, sql)?,
                OutputExpr::Masked(value, mask) => compiler.masked(&output.name, value, mask)?,
            };
            fields.push(field);
            columns.push(column);
        }
        let computed: SchemaRef = Arc::new(Schema::new(fields));
        let mut steps: Vec<BoundStep> = Vec::with_capacity(spec.steps.len());
        for step in &spec.steps {
            let input = steps.last().map_or(&computed, BoundStep::output);
            steps.push(BoundStep::bind(step, &spec.table, input)?);
        }
        let output = steps.last().map_or(&computed, BoundStep::output);
        Ok(Self {
            table: spec.table.clone(),
            input: Arc::clone(&spec.input),
            condition,
            columns,
            output: Arc::clone(output),
            computed,
            steps,
            chosen: None,
        })
    }

    /// Columns that plugins return, with the plugin that returned each last.
    pub fn returned(&self) -> Vec<(&str, &str)> {
        let mut returned: Vec<(&str, &str)> = Vec::new();
        for (column, plugin) in self.steps.iter().flat_map(BoundStep::returned) {
            match returned.iter_mut().find(|(other, _)| *other == column) {
                Some(known) => known.1 = plugin,
                None => returned.push((column, plugin)),
            }
        }
        returned
    }

    /// Lets only these columns go out, each under a name of its own: (name, column after the last
    /// step).
    ///
    /// # Errors
    /// [`TransformError::Refused`] if there is no such column.
    pub fn choose<'a>(
        mut self,
        columns: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, TransformError> {
        let (mut chosen, mut fields) = (Vec::new(), Vec::new());
        for (name, column) in columns {
            let Some((index, field)) = self.output.column_with_name(column) else {
                let place = Place::Plugin { table: self.table };
                return Err(place.refuse(format!("there is no column `{column}`")));
            };
            chosen.push(index);
            fields.push(field.clone().with_name(name));
        }
        self.output = Arc::new(Schema::new(fields));
        self.chosen = Some(chosen);
        Ok(self)
    }

    /// Schema of the batches that go out. Computed columns may always be NULL.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.output)
    }

    /// Whether [`apply`](Self::apply) only re-orders and renames columns, without any copy.
    pub fn passes_through(&self) -> bool {
        self.keeps_all_rows()
            && self
                .columns
                .iter()
                .all(|column| matches!(column, OutputColumn::Input(_)))
    }

    /// Whether nothing here decides about rows, so that every row of the input is kept.
    pub fn keeps_all_rows(&self) -> bool {
        self.condition.is_none() && self.steps.is_empty()
    }

    /// Whether plugins change the rows.
    pub fn has_plugins(&self) -> bool {
        !self.steps.is_empty()
    }

    /// Names of the input columns that the condition or an output reads, in the input's order.
    pub fn reads(&self) -> Vec<&str> {
        let mut indexes = BTreeSet::new();
        if let Some((_, compiled)) = &self.condition {
            indexes.extend(&compiled.inputs);
        }
        for column in &self.columns {
            column.add_inputs(&mut indexes);
        }
        indexes
            .into_iter()
            .map(|index| self.input.field(index).name().as_str())
            .collect()
    }

    /// Keeps the rows for which the condition is true, computes the outputs for them, and sends
    /// them through the plugins.
    ///
    /// # Errors
    /// [`TransformError::Row`] if a value cannot be computed; the batch is then unchanged.
    pub fn apply(&self, batch: &RecordBatch) -> Result<Applied, TransformError> {
        self.apply_within(batch, SKIPPED_ROWS_MAX)
    }

    /// The same for a caller that can leave out no more than `skipped_max` rows.
    ///
    /// # Errors
    /// As [`apply`](Self::apply); [`TransformError::Rows`] if more rows fail.
    pub fn apply_within(
        &self,
        batch: &RecordBatch,
        skipped_max: usize,
    ) -> Result<Applied, TransformError> {
        let skipped_max = skipped_max.min(SKIPPED_ROWS_MAX);
        let rows = self.through(batch, &self.steps, skipped_max)?;
        let dropped = rows.origins.map(|origins| {
            let mut is_dropped = vec![true; batch.num_rows()];
            let skipped = rows.skipped.iter().map(|skipped| skipped.row);
            for row in origins.into_iter().chain(skipped) {
                is_dropped[row] = false;
            }
            BooleanArray::from(is_dropped)
        });
        let kept = match &self.chosen {
            None => rows.batch,
            Some(chosen) => {
                let columns = chosen.iter();
                let columns = columns.map(|index| Arc::clone(rows.batch.column(*index)));
                self.batch_of(&self.output, columns.collect(), rows.batch.num_rows())?
            }
        };
        Ok(Applied {
            kept,
            dropped: dropped.filter(|it| it.true_count() > 0),
            skipped: rows.skipped,
        })
    }

    /// The rows of a batch as they reach the first step of a plugin, or the end if it has none.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn before(&self, plugin: &str, batch: &RecordBatch) -> Result<RecordBatch, TransformError> {
        let mut steps = self.steps.iter();
        let before = steps.position(|step| step.plugin() == plugin);
        let before = before.unwrap_or(self.steps.len());
        let steps = &self.steps[..before];
        Ok(self.through(batch, steps, SKIPPED_ROWS_MAX)?.batch)
    }

    /// What is left of a batch after these steps.
    fn through(
        &self,
        batch: &RecordBatch,
        steps: &[BoundStep],
        skipped_max: usize,
    ) -> Result<Rows, TransformError> {
        self.check_input(batch)?;
        let mut rows = match self.dropped(batch)? {
            None => Rows {
                batch: self.computed(batch, None)?,
                origins: None,
                skipped: Vec::new(),
            },
            Some(dropped) => {
                let kept = BooleanArray::new(!dropped.values(), None);
                let left = filter_record_batch(batch, &kept)
                    .map_err(|error| self.schema_error(error.to_string()))?;
                Rows {
                    batch: self.computed(&left, Some(&kept))?,
                    origins: Some(kept.values().set_indices().collect()),
                    skipped: Vec::new(),
                }
            }
        };
        for step in steps {
            if rows.batch.num_rows() == 0 {
                rows.batch = RecordBatch::new_empty(Arc::clone(step.output()));
                continue;
            }
            rows = step.apply(rows, skipped_max)?;
        }
        Ok(rows)
    }

    fn batch_of(
        &self,
        schema: &SchemaRef,
        columns: Vec<ArrayRef>,
        row_count: usize,
    ) -> Result<RecordBatch, TransformError> {
        let options = RecordBatchOptions::new().with_row_count(Some(row_count));
        RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
            .map_err(|error| self.schema_error(error.to_string()))
    }

    /// The rows for which the condition is not true, or `None` if there are none.
    fn dropped(&self, batch: &RecordBatch) -> Result<Option<BooleanArray>, TransformError> {
        let Some((place, compiled)) = &self.condition else {
            return Ok(None);
        };
        let verdict =
            evaluate(compiled, batch, &DataType::Boolean).map_err(|fault| place.row(fault))?;
        let verdict = verdict.as_boolean();
        // NULL is not true.
        let kept = match verdict.nulls() {
            Some(nulls) => verdict.values() & nulls.inner(),
            None => verdict.values().clone(),
        };
        if kept.count_set_bits() == batch.num_rows() {
            return Ok(None);
        }
        Ok(Some(BooleanArray::new(!&kept, None)))
    }

    /// `kept` says which rows of the original batch these are, for messages.
    fn computed(
        &self,
        rows: &RecordBatch,
        kept: Option<&BooleanArray>,
    ) -> Result<RecordBatch, TransformError> {
        let columns = self
            .columns
            .iter()
            .map(|column| {
                column.values(rows).map_err(|(place, mut fault)| {
                    if let (Some(row), Some(kept)) = (fault.row, kept) {
                        fault.row = kept.values().set_indices().nth(row);
                    }
                    place.row(fault)
                })
            })
            .collect::<Result<Vec<ArrayRef>, _>>()?;
        self.batch_of(&self.computed, columns, rows.num_rows())
    }

    /// What is done to each batch, the last thing first, as a plan of a query is read: one line for
    /// each node, each below the one that it feeds.
    pub fn explain(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.chosen.is_some() {
            let names = self.output.fields().iter().map(|it| it.name().as_str());
            lines.push(format!("project: {}", names.collect::<Vec<_>>().join(", ")));
        }
        lines.extend(self.steps.iter().rev().map(BoundStep::explain));
        let fields = self.computed.fields().iter().zip(&self.columns);
        let fields: Vec<_> = fields
            .map(|(field, column)| column.explain(field.name(), &self.input))
            .collect();
        lines.push(format!("compute: {}", fields.join(", ")));
        if let Some((_, compiled)) = &self.condition {
            lines.push(format!("filter: {}", compiled.physical));
        }
        let names = self.input.fields().iter().map(|it| it.name().as_str());
        lines.push(format!("scan: {}", names.collect::<Vec<_>>().join(", ")));
        lines
    }

    fn check_input(&self, batch: &RecordBatch) -> Result<(), TransformError> {
        let schema = batch.schema();
        if Arc::ptr_eq(&schema, &self.input) {
            return Ok(());
        }
        if schema.fields().len() != self.input.fields().len() {
            return Err(self.schema_error(format!(
                "{} columns instead of {}",
                schema.fields().len(),
                self.input.fields().len()
            )));
        }
        for (found, planned) in schema.fields().iter().zip(self.input.fields()) {
            if found.name() != planned.name() || found.data_type() != planned.data_type() {
                return Err(self.schema_error(format!(
                    "`{}` {} instead of `{}` {}",
                    found.name(),
                    found.data_type(),
                    planned.name(),
                    planned.data_type()
                )));
            }
        }
        Ok(())
    }

    fn schema_error(&self, reason: String) -> TransformError {
        TransformError::Schema {
            table: self.table.clone(),
            reason,
        }
    }
}

impl OutputColumn {
    fn explain(&self, name: &str, input: &Schema) -> String {
        match self {
            Self::Input(index) if input.field(*index).name() == name => name.to_owned(),
            Self::Input(index) => format!("{} as {name}", input.field(*index).name()),
            Self::Computed { compiled, .. } => format!("{} as {name}", compiled.physical),
            Self::Masked { of, .. } => {
                let of = of.as_ref().map(|of| of.explain(name, input));
                format!("mask({}) as {name}", of.unwrap_or_default())
            }
        }
    }

    fn add_inputs(&self, indexes: &mut BTreeSet<usize>) {
        match self {
            Self::Input(index) => {
                indexes.insert(*index);
            }
            Self::Computed { compiled, .. } => indexes.extend(&compiled.inputs),
            Self::Masked { of, .. } => {
                if let Some(of) = of {
                    of.add_inputs(indexes);
                }
            }
        }
    }

    fn values(&self, rows: &RecordBatch) -> Result<ArrayRef, (&Place, Fault)> {
        match self {
            Self::Input(index) => Ok(Arc::clone(rows.column(*index))),
            Self::Computed {
                place,
                compiled,
                carried,
            } => evaluate(compiled, rows, carried).map_err(|fault| (place, fault)),
            Self::Masked { place, plan, of } => {
                let values = of.as_ref().map(|of| of.values(rows)).transpose()?;
                plan.apply(values.as_ref(), rows.num_rows())
                    .map_err(|fault| (place, fault))
            }
        }
    }
}

struct Compiler<'a> {
    spec: &'a TransformSpec,
    context: &'a TransformContext,
}

impl Compiler<'_> {
    fn place(&self, column: &str) -> Place {
        Place::Column {
            table: self.spec.table.clone(),
            column: column.to_owned(),
        }
    }

    fn expression(
        &self,
        sql: &str,
        place: &Place,
    ) -> Result<(Compiled, Option<String>), TransformError> {
        let schema = DFSchema::try_from(self.spec.input.as_ref().clone())
            .map_err(|error| place.refuse(error.strip_backtrace()))?;
        let parsed = names::parse(
            sql,
            &self.spec.table,
            &self.spec.input,
            self.context.functions(),
            place,
        )?;
        let clock = parsed.clock.clone();
        let compiled = compile::compile(parsed, &schema, self.context, place)?;
        Ok((compiled, clock))
    }

    fn condition(&self) -> Result<Option<(Place, Compiled)>, TransformError> {
        let Some(sql) = &self.spec.condition else {
            return Ok(None);
        };
        let place = Place::Condition {
            table: self.spec.table.clone(),
        };
        let (compiled, clock) = self.expression(sql, &place)?;
        if let Some(clock) = clock {
            return Err(place.refuse_with_hint(
                format!("`{clock}` changes which rows are selected without any row changing"),
                "compare with a column or a fixed date, or compute the condition in a view of the source",
            ));
        }
        if compiled.data_type != DataType::Boolean {
            return Err(place.refuse_with_hint(
                format!("it is {}, not true or false", compiled.data_type),
                "write a comparison, such as `column > 0` or `column is not null`",
            ));
        }
        Ok(Some((place, compiled)))
    }

    fn input(&self, name: &str, column: &str) -> Result<(Field, OutputColumn), TransformError> {
        let (index, field) = self.spec.input.column_with_name(column).ok_or_else(|| {
            self.place(name)
                .refuse(format!("there is no column `{column}`"))
        })?;
        Ok((field.clone().with_name(name), OutputColumn::Input(index)))
    }

    fn masked(
        &self,
        name: &str,
        value: &MaskedValue,
        mask: &Mask,
    ) -> Result<(Field, OutputColumn), TransformError> {
        let (data_type, nullable, of) = match value {
            MaskedValue::Unread(data_type) => (data_type.clone(), false, None),
            MaskedValue::Input(column) => {
                let (field, of) = self.input(name, column)?;
                (field.data_type().clone(), field.is_nullable(), Some(of))
            }
            MaskedValue::Sql(sql) => {
                let (field, of) = self.computed(name, sql)?;
                (field.data_type().clone(), true, Some(of))
            }
        };
        let place = Place::Mask {
            table: self.spec.table.clone(),
            column: name.to_owned(),
        };
        let plan = MaskPlan::new(mask, &data_type)
            .map_err(|unfit| place.refuse_with_hint(unfit.reason, unfit.hint))?;
        let nullable = nullable || *mask == Mask::Null;
        let field = Field::new(name, plan.output.clone(), nullable);
        let of = of.filter(|_| mask.reads_values()).map(Box::new);
        Ok((field, OutputColumn::Masked { place, plan, of }))
    }

    fn computed(&self, name: &str, sql: &str) -> Result<(Field, OutputColumn), TransformError> {
        let place = self.place(name);
        let (compiled, _clock) = self.expression(sql, &place)?;
        let carried = carried_type(&compiled.data_type).ok_or_else(|| {
            if compiled.data_type == DataType::Null {
                place.refuse_with_hint(
                    "it is always NULL, so its type is not known",
                    "say the type: `cast(null as text)`",
                )
            } else {
                place.refuse_with_hint(
                    format!("no target can hold its type {}", compiled.data_type),
                    "cast it, for example `cast(... as text)`",
                )
            }
        })?;
        let field = Field::new(name, carried.clone(), true);
        let column = OutputColumn::Computed {
            place,
            compiled,
            carried,
        };
        Ok((field, column))
    }
}

#[cfg(test)]
mod tests;
