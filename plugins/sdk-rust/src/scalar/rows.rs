//! Rust types as arguments and results of functions that are called for each row.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, PrimitiveBuilder, StringBuilder,
};
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, StringArray,
};

use crate::{Error, Result};

/// How many bytes a text is expected to have; the builder grows if it has more.
const TEXT_BYTES_EXPECTED: usize = 16;

/// What a function of rows can take.
#[diagnostic::on_unimplemented(
    message = "a function for SQL cannot take `{Self}`",
    note = "it takes &str, String, &[u8], Vec<u8>, bool, i8 to u64, f32, f64, [u8; 16] and Option of them"
)]
pub trait FromValue<'a>: Sized {
    /// The column that it is read from.
    type Array: Array + 'static;
    const FORMAT: &'static str;
    /// Whether NULL is a value of it.
    const OPTIONAL: bool;
    fn read(array: &'a Self::Array, row: usize) -> Option<Self>;
}

/// What a column can be made of.
pub trait IntoValue: Sized {
    const FORMAT: &'static str;
    type Builder;
    fn builder(rows: usize) -> Self::Builder;
    fn append(builder: &mut Self::Builder, value: Option<Self>);
    fn finish(builder: Self::Builder) -> ArrayRef;
}

/// What a function of rows can return.
#[diagnostic::on_unimplemented(
    message = "a function for SQL cannot return `{Self}`",
    note = "it returns String, &str, Vec<u8>, bool, i8 to u64, f32, f64, [u8; 16], Option of them, or Result of these"
)]
pub trait Returned {
    type Value: IntoValue;
    fn value(self) -> Result<Option<Self::Value>>;
}

macro_rules! argument {
    ($type:ty, $array:ty, $format:literal, |$values:ident, $row:ident| $read:expr) => {
        impl<'a> FromValue<'a> for $type {
            type Array = $array;
            const FORMAT: &'static str = $format;
            const OPTIONAL: bool = false;
            fn read($values: &'a $array, $row: usize) -> Option<Self> {
                if $values.is_null($row) {
                    None
                } else {
                    Some($read)
                }
            }
        }

        impl<'a> FromValue<'a> for Option<$type> {
            type Array = $array;
            const FORMAT: &'static str = $format;
            const OPTIONAL: bool = true;
            fn read(array: &'a $array, row: usize) -> Option<Self> {
                Some(<$type>::read(array, row))
            }
        }
    };
}

macro_rules! result {
    ($type:ty, $format:literal, $builder:ty, |$rows:ident| $new:expr, $append:expr) => {
        impl<'a> IntoValue for $type {
            const FORMAT: &'static str = $format;
            type Builder = $builder;
            fn builder($rows: usize) -> $builder {
                $new
            }
            fn append(builder: &mut $builder, value: Option<Self>) {
                let append: fn(&mut $builder, Option<Self>) = $append;
                append(builder, value);
            }
            fn finish(mut builder: $builder) -> ArrayRef {
                Arc::new(builder.finish())
            }
        }

        impl<'a> Returned for $type {
            type Value = Self;
            fn value(self) -> Result<Option<Self>> {
                Ok(Some(self))
            }
        }

        impl<'a> Returned for Option<$type> {
            type Value = $type;
            fn value(self) -> Result<Option<$type>> {
                Ok(self)
            }
        }

        impl<'a, E: std::fmt::Display + 'static> Returned for Result<$type, E> {
            type Value = $type;
            fn value(self) -> Result<Option<$type>> {
                self.map(Some).map_err(Error::of)
            }
        }

        impl<'a, E: std::fmt::Display + 'static> Returned for Result<Option<$type>, E> {
            type Value = $type;
            fn value(self) -> Result<Option<$type>> {
                self.map_err(Error::of)
            }
        }
    };
}

macro_rules! number {
    ($($type:ty, $arrow:ty, $format:literal;)*) => {$(
        argument!($type, PrimitiveArray<$arrow>, $format, |array, row| array.value(row));
        result!(
            $type,
            $format,
            PrimitiveBuilder<$arrow>,
            |rows| PrimitiveBuilder::with_capacity(rows),
            |builder, value| builder.append_option(value)
        );
    )*};
}

number! {
    i8, Int8Type, "c";
    u8, UInt8Type, "C";
    i16, Int16Type, "s";
    u16, UInt16Type, "S";
    i32, Int32Type, "i";
    u32, UInt32Type, "I";
    i64, Int64Type, "l";
    u64, UInt64Type, "L";
    f32, Float32Type, "f";
    f64, Float64Type, "g";
}

argument!(bool, BooleanArray, "b", |array, row| array.value(row));
argument!(&'a str, StringArray, "u", |array, row| array.value(row));
argument!(String, StringArray, "u", |array, row| array
    .value(row)
    .to_owned());
argument!(&'a [u8], BinaryArray, "z", |array, row| array.value(row));
argument!(Vec<u8>, BinaryArray, "z", |array, row| array
    .value(row)
    .to_owned());
argument!([u8; 16], FixedSizeBinaryArray, "w:16", |array, row| {
    array
        .value(row)
        .try_into()
        .expect("the column was checked to have 16 bytes in each value")
});

result!(
    bool,
    "b",
    BooleanBuilder,
    |rows| BooleanBuilder::with_capacity(rows),
    |builder, value| builder.append_option(value)
);
macro_rules! text {
    ($($type:ty),*) => {$(
        result!(
            $type,
            "u",
            StringBuilder,
            |rows| StringBuilder::with_capacity(rows, rows * TEXT_BYTES_EXPECTED),
            |builder, value| builder.append_option(value)
        );
    )*};
}
text!(&'a str, String);
macro_rules! binary {
    ($($type:ty),*) => {$(
        result!(
            $type,
            "z",
            BinaryBuilder,
            |rows| BinaryBuilder::with_capacity(rows, rows * TEXT_BYTES_EXPECTED),
            |builder, value| builder.append_option(value)
        );
    )*};
}
binary!(&'a [u8], Vec<u8>);
result!(
    [u8; 16],
    "w:16",
    FixedSizeBinaryBuilder,
    |rows| FixedSizeBinaryBuilder::with_capacity(rows, 16),
    |builder, value| match value {
        Some(value) => builder.append_value(value).expect("a value has 16 bytes"),
        None => builder.append_null(),
    }
);
