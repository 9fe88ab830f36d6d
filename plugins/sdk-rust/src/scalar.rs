//! Functions for SQL expressions: what `#[scalar]` makes of an author's function.

mod columns;
mod rows;

use std::marker::PhantomData;

use arrow_array::{Array, ArrayRef};
use arrow_buffer::NullBuffer;

pub use columns::{ArrayFormat, IntoArray};
pub use rows::{FromValue, IntoValue, Returned};

use crate::bindings::exports::syncset::plugin::plugin as contract;
use crate::bindings::syncset::plugin::types;
use crate::{Error, Result, format, wire};

/// A function for SQL expressions; `#[scalar]` implements it for a type of the function's name.
pub trait Scalar {
    /// What the function is.
    fn signature() -> Signature;

    /// Calls it for every row.
    fn call(rows: usize, args: &[Argument]) -> Result<ArrayRef>;
}

/// What a function is.
#[derive(Debug, Clone)]
pub struct Signature {
    pub name: &'static str,
    pub args: Vec<&'static str>,
    pub returns: &'static str,
    pub volatility: contract::Volatility,
    pub strict: bool,
    pub doc: &'static str,
}

/// An argument. A constant one has a single value, which stands for every row.
#[derive(Debug, Clone)]
pub struct Argument {
    pub is_constant: bool,
    pub values: ArrayRef,
}

/// A function with its type erased.
pub struct Function {
    pub signature: fn() -> Signature,
    pub call: fn(usize, &[Argument]) -> Result<ArrayRef>,
}

impl Function {
    pub const fn of<S: Scalar>() -> Self {
        Self {
            signature: S::signature,
            call: S::call,
        }
    }
}

/// Calls a function as the host does: checks what comes and what is returned.
pub(crate) fn call(
    function: &Function,
    rows: usize,
    args: Vec<(bool, types::Array)>,
) -> Result<types::Array> {
    let signature = (function.signature)();
    let returns = type_of(signature.returns)?;
    if args.len() != signature.args.len() {
        let (wanted, given) = (signature.args.len(), args.len());
        return Err(Error::new(format!("takes {wanted} arguments, not {given}")));
    }
    let mut arguments = Vec::with_capacity(args.len());
    for ((is_constant, values), format) in args.into_iter().zip(&signature.args) {
        let values = wire::array_from(values, &type_of(format)?)?;
        if values.len() != if is_constant { 1 } else { rows } {
            return Err(Error::new(
                "an argument has not as many values as there are rows",
            ));
        }
        arguments.push(Argument {
            is_constant,
            values,
        });
    }
    let always_null =
        |argument: &Argument| argument.is_constant && argument.values.null_count() > 0;
    if signature.strict && arguments.iter().any(always_null) {
        return wire::all_null(&returns, rows);
    }
    let result = (function.call)(rows, &arguments)?;
    if result.len() != rows || *result.data_type() != returns {
        return Err(Error::new(format!(
            "returned {} values of type {} for {rows} rows of type {returns}",
            result.len(),
            result.data_type(),
        )));
    }
    let mut result = wire::array_to(&result)?;
    if signature.strict {
        // A function of whole arrays may have seen these rows.
        let nulls = arguments
            .iter()
            .filter(|argument| !argument.is_constant)
            .fold(None, |nulls: Option<NullBuffer>, argument| {
                NullBuffer::union(nulls.as_ref(), argument.values.nulls())
            });
        if let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) {
            wire::make_null(&mut result, &nulls)?;
        }
    }
    Ok(result)
}

fn type_of(format: &str) -> Result<arrow_schema::DataType> {
    format::data_type(format).ok_or_else(|| Error::new(format!("unknown format `{format}`")))
}

/// An argument of a function of rows.
pub struct View<'a, T: FromValue<'a>> {
    array: &'a T::Array,
    is_constant: bool,
    value: PhantomData<T>,
}

impl<'a, T: FromValue<'a>> View<'a, T> {
    /// The value of a row; nothing if it is NULL and the type has no place for that.
    pub fn value(&self, row: usize) -> Option<T> {
        T::read(self.array, if self.is_constant { 0 } else { row })
    }
}

/// Reads an argument row by row.
pub fn view<'a, T: FromValue<'a>>(argument: &'a Argument) -> Result<View<'a, T>> {
    let array = downcast::<T::Array>(&argument.values)?;
    Ok(View {
        array,
        is_constant: argument.is_constant,
        value: PhantomData,
    })
}

/// Reads an argument as an array with a value for each row.
pub fn whole(argument: &Argument, rows: usize) -> Result<ArrayRef> {
    match argument.is_constant {
        true => wire::repeat(&argument.values, rows),
        false => Ok(argument.values.clone()),
    }
}

/// An array by its type.
pub fn downcast<A: Array + 'static>(array: &ArrayRef) -> Result<&A> {
    array.as_any().downcast_ref().ok_or_else(|| {
        let wanted = std::any::type_name::<A>();
        Error::new(format!(
            "an argument of type {} is no {wanted}",
            array.data_type()
        ))
    })
}

/// The arguments, as many as the function has.
pub fn exactly<const COUNT: usize>(args: &[Argument]) -> Result<&[Argument; COUNT]> {
    args.try_into()
        .map_err(|_| Error::new(format!("takes {COUNT} arguments")))
}

/// Calls a function for each row and collects what it returns; an error carries its row.
pub fn each_row<V: IntoValue>(
    rows: usize,
    mut call: impl FnMut(usize) -> Result<Option<V>>,
) -> Result<ArrayRef> {
    let mut builder = V::builder(rows);
    for row in 0..rows {
        V::append(&mut builder, call(row).map_err(|error| error.at_row(row))?);
    }
    Ok(V::finish(builder))
}
