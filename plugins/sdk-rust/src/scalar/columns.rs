//! Arrow's arrays as arguments and results of functions that are called for whole batches.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray,
    Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, StringArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, UInt8Array, UInt16Array, UInt32Array,
    UInt64Array,
};

use crate::{Error, Result};

/// An array whose type says all about its values, or a result of one.
#[diagnostic::on_unimplemented(
    message = "the type of the values of `{Self}` is not known",
    note = "name it: #[scalar(args = [\"utf8\", \"d:12,2\"], returns = \"timestamp utc\")]"
)]
pub trait ArrayFormat {
    const FORMAT: &'static str;
}

/// What a function of arrays can return.
#[diagnostic::on_unimplemented(
    message = "a function of arrays cannot return `{Self}`",
    note = "it returns an array of one of the types in the guide, ArrayRef, or Result of these"
)]
pub trait IntoArray {
    fn into_array(self) -> Result<ArrayRef>;
}

macro_rules! arrays {
    ($($array:ty, $format:literal;)*) => {$(
        impl ArrayFormat for $array {
            const FORMAT: &'static str = $format;
        }

        impl IntoArray for $array {
            fn into_array(self) -> Result<ArrayRef> {
                Ok(Arc::new(self))
            }
        }
    )*};
}

arrays! {
    BooleanArray, "b";
    Int8Array, "c";
    UInt8Array, "C";
    Int16Array, "s";
    UInt16Array, "S";
    Int32Array, "i";
    UInt32Array, "I";
    Int64Array, "l";
    UInt64Array, "L";
    Float32Array, "f";
    Float64Array, "g";
    StringArray, "u";
    BinaryArray, "z";
    FixedSizeBinaryArray, "w:16";
    Date32Array, "tdD";
    Time64MicrosecondArray, "ttu";
    TimestampMicrosecondArray, "tsu:";
}

impl IntoArray for Decimal128Array {
    fn into_array(self) -> Result<ArrayRef> {
        Ok(Arc::new(self))
    }
}

impl IntoArray for ArrayRef {
    fn into_array(self) -> Result<ArrayRef> {
        Ok(self)
    }
}

impl<T: ArrayFormat, E> ArrayFormat for Result<T, E> {
    const FORMAT: &'static str = T::FORMAT;
}

impl<T: IntoArray, E: std::fmt::Display + 'static> IntoArray for Result<T, E> {
    fn into_array(self) -> Result<ArrayRef> {
        self.map_err(Error::of)?.into_array()
    }
}
