//! Runs parts of a plugin as syncset does, in native tests: through the records of the contract,
//! with all checks.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};

use crate::guest::Part;
use crate::instance::Instance;
use crate::scalar::{Function, Scalar};
use crate::{Context, Error, Filter, Output, Result, Transform, format, scalar, wire};

/// Calls a function for SQL with columns as its arguments.
///
/// # Errors
/// What the function returns, and arguments that it does not take.
pub fn call<S: Scalar>(args: &[ArrayRef]) -> Result<ArrayRef> {
    let rows = args.first().map_or(1, |first| first.len());
    let signature = S::signature();
    let mut columns = Vec::with_capacity(args.len());
    for (array, wanted) in args.iter().zip(&signature.args) {
        let given = format::of(array.data_type()).unwrap_or_default();
        if given != *wanted {
            return Err(Error::new(format!(
                "an argument has format `{given}`, not `{wanted}`"
            )));
        }
        columns.push((false, wire::array_to(array)?));
    }
    let result = scalar::call(&Function::of::<S>(), rows, columns)?;
    let returns = format::data_type(signature.returns)
        .ok_or_else(|| Error::new(format!("unknown format `{}`", signature.returns)))?;
    wire::array_from(result, &returns)
}

/// Runs a transform with a configuration, in JSON, on a batch; columns that it does not read may
/// be in the batch.
///
/// # Errors
/// What the transform returns, a configuration or columns that it does not take, and an output
/// that it did not promise.
pub fn transform<T: Transform>(
    config: &str,
    context: &Context,
    batch: &RecordBatch,
) -> Result<Output> {
    let mut instance = Instance::configure(Some(Part::transform::<T>()), None, config)?;
    let input = passed(&mut instance, batch)?;
    let output = instance.transform(context, &input)?;
    let schema = output.batch.schema();
    let batch = wire::batch_from(wire::batch_to(&output.batch)?, schema)?;
    Ok(Output {
        batch,
        origins: output.origins,
    })
}

/// Runs a filter with a configuration, in JSON, on a batch; columns that it does not read may be
/// in the batch.
///
/// # Errors
/// What the filter returns, and a configuration or columns that it does not take.
pub fn filter<F: Filter>(
    config: &str,
    context: &Context,
    batch: &RecordBatch,
) -> Result<BooleanArray> {
    let mut instance = Instance::configure(None, Some(Part::filter::<F>()), config)?;
    let input = passed(&mut instance, batch)?;
    instance.keep(context, &input)
}

/// The columns of a batch that are read, as they come from outside.
fn passed(instance: &mut Instance, batch: &RecordBatch) -> Result<RecordBatch> {
    let schema = batch.schema();
    let passed = match instance.reads() {
        None => batch.clone(),
        Some(columns) => {
            let places = columns
                .iter()
                .filter_map(|column| schema.index_of(&column.name).ok());
            batch.project(&places.collect::<Vec<_>>())?
        }
    };
    let fields = wire::schema_to(&passed.schema())?;
    let schema = Arc::new(wire::schema_from(fields)?);
    let output = instance.bind(schema.clone())?;
    wire::schema_to(&output)?;
    wire::batch_from(wire::batch_to(&passed)?, schema)
}
