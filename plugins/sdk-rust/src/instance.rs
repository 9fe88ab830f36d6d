//! A plugin with its configuration: what it reads, what it returns, and whether it keeps to that.

use std::sync::Arc;

use arrow_array::{Array, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};

use crate::guest::Part;
use crate::{Column, Context, Error, Filter, Output, Reads, Result, Transform, format};

/// A transform of any type.
pub trait AnyTransform {
    fn reads(&self) -> Reads;
    fn bind(&self, input: &Schema) -> Result<Schema>;
    fn transform(&self, context: &Context, batch: RecordBatch) -> Result<Output>;
}

impl<T: Transform> AnyTransform for T {
    fn reads(&self) -> Reads {
        Transform::reads(self)
    }

    fn bind(&self, input: &Schema) -> Result<Schema> {
        Transform::bind(self, input)
    }

    fn transform(&self, context: &Context, batch: RecordBatch) -> Result<Output> {
        Transform::transform(self, context, batch)
    }
}

/// A filter of any type.
pub trait AnyFilter {
    fn reads(&self) -> Reads;
    fn keep(&self, context: &Context, batch: RecordBatch) -> Result<BooleanArray>;
}

impl<T: Filter> AnyFilter for T {
    fn reads(&self) -> Reads {
        Filter::reads(self)
    }

    fn keep(&self, context: &Context, batch: RecordBatch) -> Result<BooleanArray> {
        Filter::keep(self, context, batch)
    }
}

/// A plugin with its configuration.
pub(crate) struct Instance {
    transform: Option<Box<dyn AnyTransform>>,
    filter: Option<Box<dyn AnyFilter>>,
    bound: Option<Bound>,
}

/// The columns of this instance's batches. Each part sees those that it reads.
struct Bound {
    input: SchemaRef,
    transform: Option<(Vec<usize>, SchemaRef)>,
    filter: Option<Vec<usize>>,
}

impl Instance {
    /// Reads the configuration.
    ///
    /// # Errors
    /// If a part does not understand it, or none takes one.
    pub(crate) fn configure(
        transform: Option<Part<dyn AnyTransform>>,
        filter: Option<Part<dyn AnyFilter>>,
        json: &str,
    ) -> Result<Self> {
        let is_configured = transform.as_ref().is_some_and(|part| part.is_configured)
            || filter.as_ref().is_some_and(|part| part.is_configured);
        if !is_configured && !matches!(json.trim(), "" | "{}") {
            return Err(Error::new("configuration: this plugin takes none"));
        }
        Ok(Self {
            transform: transform.map(|part| (part.new)(json)).transpose()?,
            filter: filter.map(|part| (part.new)(json)).transpose()?,
            bound: None,
        })
    }

    /// What the parts read together; nothing if one of them reads all columns.
    pub(crate) fn reads(&self) -> Option<Vec<Column>> {
        let parts = [
            self.transform.as_ref().map(|part| part.reads()),
            self.filter.as_ref().map(|part| part.reads()),
        ];
        let mut columns: Vec<Column> = Vec::new();
        for reads in parts.into_iter().flatten() {
            let Reads::Columns(more) = reads else {
                return None;
            };
            for column in more {
                match columns.iter_mut().find(|known| known.name == column.name) {
                    Some(known) => narrow(known, column),
                    None => columns.push(column),
                }
            }
        }
        Some(columns)
    }

    /// Fixes the columns of the batches to come -> the columns that are returned.
    ///
    /// # Errors
    /// If a column is missing or has a type that will not do.
    pub(crate) fn bind(&mut self, input: SchemaRef) -> Result<SchemaRef> {
        let filter = match &self.filter {
            Some(part) => Some(find(&part.reads(), &input)?),
            None => None,
        };
        let transform = match &self.transform {
            Some(part) => {
                let columns = find(&part.reads(), &input)?;
                let output = part.bind(&input.project(&columns)?)?;
                Some((columns, Arc::new(output)))
            }
            None => None,
        };
        let output = match &transform {
            Some((_, output)) => output.clone(),
            None => Arc::new(Schema::empty()),
        };
        self.bound = Some(Bound {
            input,
            transform,
            filter,
        });
        Ok(output)
    }

    /// The columns of the batches.
    ///
    /// # Errors
    /// If they are not known.
    pub(crate) fn input(&self) -> Result<SchemaRef> {
        Ok(self.bound()?.input.clone())
    }

    pub(crate) fn transform(&self, context: &Context, input: &RecordBatch) -> Result<Output> {
        let (Some(part), Some((columns, schema))) = (&self.transform, &self.bound()?.transform)
        else {
            return Err(Error::new("this plugin has no transform"));
        };
        let output = part.transform(context, input.project(columns)?)?;
        check_origins(&output, input.num_rows())?;
        Ok(Output {
            batch: returned(&output, schema)?,
            origins: output.origins,
        })
    }

    pub(crate) fn keep(&self, context: &Context, input: &RecordBatch) -> Result<BooleanArray> {
        let (Some(part), Some(columns)) = (&self.filter, &self.bound()?.filter) else {
            return Err(Error::new("this plugin has no filter"));
        };
        let mask = part.keep(context, input.project(columns)?)?;
        if mask.len() != input.num_rows() {
            let (values, rows) = (mask.len(), input.num_rows());
            return Err(Error::new(format!(
                "the filter gave {values} values for {rows} rows"
            )));
        }
        Ok(mask)
    }

    fn bound(&self) -> Result<&Bound> {
        self.bound
            .as_ref()
            .ok_or_else(|| Error::new("a batch came before its columns (`bind`)"))
    }
}

/// Both parts read a column: what is left are the types that will do for both.
fn narrow(known: &mut Column, other: Column) {
    if known.formats.is_empty() {
        known.formats = other.formats;
    } else if !other.formats.is_empty() {
        known
            .formats
            .retain(|format| format::matches_any(&other.formats, format));
    }
}

/// Where the columns that are read are in the input.
fn find(reads: &Reads, input: &Schema) -> Result<Vec<usize>> {
    let Reads::Columns(columns) = reads else {
        return Ok((0..input.fields().len()).collect());
    };
    let places = columns.iter().map(|column| {
        let Some((place, field)) = input.column_with_name(&column.name) else {
            return Err(Error::new("the column is missing").in_column(&column.name));
        };
        let format = format::of(field.data_type()).unwrap_or_default();
        if !format::matches_any(&column.formats, &format) {
            let wanted = column.formats.join("`, `");
            let message = format!("the column has format `{format}`, not one of `{wanted}`");
            return Err(Error::new(message).in_column(&column.name));
        }
        Ok(place)
    });
    places.collect()
}

/// The columns that `bind` promised, by their names, if they are as promised.
fn returned(output: &Output, schema: &SchemaRef) -> Result<RecordBatch> {
    let Output { batch, origins } = output;
    let columns = schema.fields().iter().map(|field| {
        let Some(array) = batch.column_by_name(field.name()) else {
            return Err(Error::new("the column was promised and not returned"));
        };
        if array.data_type() != field.data_type() {
            let (found, promised) = (array.data_type(), field.data_type());
            return Err(Error::new(format!(
                "type {promised} was promised, {found} returned"
            )));
        }
        if !field.is_nullable() {
            if let Some(row) = (0..array.len()).find(|row| array.is_null(*row)) {
                let row = origins
                    .as_ref()
                    .map_or(row, |origins| origins[row] as usize);
                return Err(
                    Error::new("NULL where the column was promised to have none").at_row(row),
                );
            }
        }
        Ok(array.clone())
    });
    let columns = columns
        .zip(schema.fields())
        .map(|(column, field)| column.map_err(|error| error.in_column(field.name())))
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        schema.clone(),
        columns,
        &options,
    )?)
}

fn check_origins(output: &Output, rows: usize) -> Result<()> {
    let returned = output.batch.num_rows();
    match &output.origins {
        None if returned != rows => Err(Error::new(format!(
            "{returned} rows were returned for {rows}; use `Output::kept` to drop rows"
        ))),
        Some(origins) if origins.len() != returned => Err(Error::new(format!(
            "{} origins were returned for {returned} rows",
            origins.len()
        ))),
        Some(origins) if origins.iter().any(|origin| *origin as usize >= rows) => Err(Error::new(
            format!("an origin is not a row of the batch, which has {rows}"),
        )),
        _ => Ok(()),
    }
}
