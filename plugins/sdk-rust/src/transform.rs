//! Transforms and filters: what an author implements, by hand or by a macro.

use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::Schema;
use serde::de::DeserializeOwned;

use crate::{Context, Error, Result, format};

/// The columns that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reads {
    /// All columns of the table.
    All,
    /// These columns, in this order.
    Columns(Vec<Column>),
}

impl Reads {
    /// Columns with their types, such as `("amount", "f64 | decimal")`; an empty type is any.
    ///
    /// # Panics
    /// If there is no such type.
    pub fn columns<N: Into<String>>(columns: impl IntoIterator<Item = (N, &'static str)>) -> Self {
        let columns = columns
            .into_iter()
            .map(|(name, types)| Column::new(name, types));
        Self::Columns(columns.collect())
    }
}

/// A column that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub(crate) name: String,
    pub(crate) formats: Vec<String>,
}

impl Column {
    /// A column with the types that will do, such as `"f64 | decimal"`; none: any type.
    ///
    /// # Panics
    /// If there is no such type.
    pub fn new(name: impl Into<String>, types: &str) -> Self {
        let types = types
            .split('|')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        Self {
            name: name.into(),
            formats: types.map(|name| format::format(name).into()).collect(),
        }
    }
}

/// Makes columns of columns, a batch at a time. The type itself is the configuration: one value is
/// read from the pipeline file for each instance. What is costly to make belongs in a field that
/// serde makes once (`#[serde(try_from = "...")]`).
///
/// Calls: `reads` and `bind` when a pipeline is planned and once for each instance, then
/// `transform` for each batch. Batches come in no promised order and may come twice, so that an
/// instance must not keep anything from one to the next.
pub trait Transform: DeserializeOwned + 'static {
    /// Whether it takes a configuration.
    const CONFIGURED: bool = true;

    /// The columns that are passed to it.
    fn reads(&self) -> Reads {
        Reads::All
    }

    /// The columns that it will be passed -> the columns that it returns. Those of the same name
    /// are replaced, others are added; what it does not return stays as it is. By default it
    /// returns what it reads, in the same types; columns of the key among them have to come back
    /// unchanged.
    ///
    /// # Errors
    /// If it cannot work with these columns; the pipeline is not run then.
    fn bind(&self, input: &Schema) -> Result<Schema> {
        Ok(input.clone())
    }

    /// Makes the columns that `bind` named; more columns may be in the batch and are not passed on.
    ///
    /// # Errors
    /// The batch is refused, or the row that the error names, as the pipeline says.
    fn transform(&self, context: &Context, batch: RecordBatch) -> Result<Output>;
}

/// Decides which rows are kept. All else is as for [`Transform`].
pub trait Filter: DeserializeOwned + 'static {
    /// Whether it takes a configuration.
    const CONFIGURED: bool = true;

    /// The columns that are passed to it.
    fn reads(&self) -> Reads {
        Reads::All
    }

    /// One value for each row: true keeps it, false and NULL do not.
    ///
    /// # Errors
    /// The batch is refused, or the row that the error names, as the pipeline says.
    fn keep(&self, context: &Context, batch: RecordBatch) -> Result<BooleanArray>;
}

/// What a transform returns.
#[derive(Debug, Clone)]
pub struct Output {
    pub(crate) batch: RecordBatch,
    pub(crate) origins: Option<Vec<u32>>,
}

impl Output {
    /// All rows, in their order.
    pub fn all(batch: RecordBatch) -> Self {
        Self {
            batch,
            origins: None,
        }
    }

    /// Some rows, in their order: for each row of the batch the row that it was made from, counted
    /// from zero in the batch that was passed in. Rows that are not named leave the selection.
    pub fn kept(batch: RecordBatch, origins: Vec<u32>) -> Self {
        Self {
            batch,
            origins: Some(origins),
        }
    }

    /// The rows.
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// The rows that they were made from; nothing if all are returned.
    pub fn origins(&self) -> Option<&[u32]> {
        self.origins.as_deref()
    }
}

impl From<RecordBatch> for Output {
    fn from(batch: RecordBatch) -> Self {
        Self::all(batch)
    }
}

/// What a function under `#[transform]` may return.
#[diagnostic::on_unimplemented(
    message = "a transform cannot return `{Self}`",
    note = "it returns a RecordBatch, an Output, or a Result of one of them"
)]
#[doc(hidden)]
pub trait IntoOutput {
    fn into_output(self) -> Result<Output>;
}

impl IntoOutput for Output {
    fn into_output(self) -> Result<Output> {
        Ok(self)
    }
}

impl IntoOutput for RecordBatch {
    fn into_output(self) -> Result<Output> {
        Ok(self.into())
    }
}

impl<T: IntoOutput, E: std::fmt::Display + 'static> IntoOutput for Result<T, E> {
    fn into_output(self) -> Result<Output> {
        self.map_err(Error::of)?.into_output()
    }
}

/// What a function under `#[filter]` may return.
#[diagnostic::on_unimplemented(
    message = "a filter cannot return `{Self}`",
    note = "it returns a BooleanArray, or a Result of it"
)]
#[doc(hidden)]
pub trait IntoMask {
    fn into_mask(self) -> Result<BooleanArray>;
}

impl IntoMask for BooleanArray {
    fn into_mask(self) -> Result<BooleanArray> {
        Ok(self)
    }
}

impl<E: std::fmt::Display + 'static> IntoMask for Result<BooleanArray, E> {
    fn into_mask(self) -> Result<BooleanArray> {
        self.map_err(Error::of)
    }
}
