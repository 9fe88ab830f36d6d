//! Arguments of functions of plugins: of the types that are declared, or numbers that lose nothing
//! in them. DataFusion would make text of whatever is given for text, without a word.

use crate::error::{Place, TransformError};
use crate::plugin_function;
use arrow_schema::DataType;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result as PlanResult, ScalarValue};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{Cast, Expr, ExprSchemable};
use syncset_plugin_host::type_name;

/// Why a call cannot be made.
struct Mistake {
    reason: String,
    hint: String,
}

/// The expression with each argument in the type that its function takes.
///
/// # Errors
/// A function that is given another number of arguments, or one of another type.
pub(crate) fn fit(
    expr: Expr,
    schema: &DFSchema,
    place: &Place,
) -> PlanResult<Result<Expr, TransformError>> {
    let mut mistake = None;
    let fitted = expr.transform_up(|expr| match expr {
        Expr::ScalarFunction(mut call) if mistake.is_none() => {
            match fit_call(&mut call, schema)? {
                Ok(()) => {}
                Err(found) => mistake = Some(found),
            }
            Ok(Transformed::yes(Expr::ScalarFunction(call)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(match mistake {
        None => Ok(fitted.data),
        Some(found) => Err(place.refuse_with_hint(found.reason, found.hint)),
    })
}

fn fit_call(call: &mut ScalarFunction, schema: &DFSchema) -> PlanResult<Result<(), Mistake>> {
    let Some(function) = plugin_function::of(&call.func) else {
        return Ok(Ok(()));
    };
    let (name, wanted) = (call.name().to_owned(), &function.description().args);
    let plugin = function.plugin().name();
    if call.args.len() != wanted.len() {
        let types: Vec<_> = wanted.iter().map(type_name).collect();
        let given = match call.args.len() {
            0 => "none".to_owned(),
            count => count.to_string(),
        };
        let takes = match wanted.len() {
            0 => "no argument".to_owned(),
            1 => "1 argument".to_owned(),
            count => format!("{count} arguments"),
        };
        return Ok(Err(Mistake {
            reason: format!(
                "function `{name}` of plugin `{plugin}` takes {takes}, and is given {given}"
            ),
            hint: format!("call it as `{name}({})`", types.join(", ")),
        }));
    }
    for (index, (argument, wanted)) in call.args.iter_mut().zip(wanted).enumerate() {
        let found = argument.get_type(schema)?;
        match fitting(argument, &found, wanted)? {
            Some(fitting) => *argument = fitting,
            None => {
                let what = match &*argument {
                    Expr::Column(column) => format!("`{}`", column.name),
                    _ => format!("argument {}", index + 1),
                };
                return Ok(Err(Mistake {
                    reason: format!(
                        "function `{name}` of plugin `{plugin}` takes {} as argument {}, and \
                         {what} is {}",
                        type_name(wanted),
                        index + 1,
                        type_name(&found)
                    ),
                    hint: conversion(argument, &found, wanted),
                }));
            }
        }
    }
    Ok(Ok(()))
}

/// The argument in the type that is wanted; `None` if that would be another value, or might be.
fn fitting(argument: &Expr, found: &DataType, wanted: &DataType) -> PlanResult<Option<Expr>> {
    if found == wanted {
        return Ok(Some(argument.clone()));
    }
    if found.is_null() {
        return Ok(Some(Expr::Literal(ScalarValue::try_from(wanted)?, None)));
    }
    if let Expr::Literal(value, metadata) = argument
        && found.is_numeric()
        && wanted.is_numeric()
    {
        // A constant has a value that can be looked at.
        let cast = value.cast_to(wanted).ok();
        let cast = cast.filter(|cast| cast.cast_to(found).is_ok_and(|back| back == *value));
        return Ok(cast.map(|cast| Expr::Literal(cast, metadata.clone())));
    }
    let is_same = widens(found, wanted) || is_same_kind(found, wanted);
    Ok(is_same.then(|| Expr::Cast(Cast::new(Box::new(argument.clone()), wanted.clone()))))
}

/// Types that Arrow has several of and that hold the same values.
fn is_same_kind(found: &DataType, wanted: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, LargeBinary, LargeUtf8, Time32, Time64, Timestamp, Utf8, Utf8View,
    };
    match (found, wanted) {
        (LargeUtf8 | Utf8View, Utf8) | (LargeBinary | BinaryView, Binary) => true,
        (Time32(_) | Time64(_), Time64(_)) => true,
        (Timestamp(_, found), Timestamp(_, wanted)) => found.is_some() == wanted.is_some(),
        _ => false,
    }
}

/// Whether every number of one type is the same number in the other.
fn widens(found: &DataType, wanted: &DataType) -> bool {
    use DataType::{Decimal128, Float32, Float64};
    match (found, wanted) {
        (Float32, Float64) => true,
        (Decimal128(digits, scale), Decimal128(more, finer)) => {
            let whole = |digits: u8, scale: i8| i16::from(digits) - i16::from(scale);
            finer >= scale && whole(*more, *finer) >= whole(*digits, *scale)
        }
        _ => match (integer(found), wanted) {
            (None, _) => false,
            (Some(found), Float64) => found.bits <= 32,
            (Some(found), Float32) => found.bits <= 16,
            (Some(found), Decimal128(digits, scale)) => {
                i16::from(*digits) - i16::from(*scale) >= found.digits
            }
            (Some(found), wanted) => {
                integer(wanted).is_some_and(|wanted| match (found.is_signed, wanted.is_signed) {
                    (true, false) => false,
                    (false, true) => found.bits < wanted.bits,
                    _ => found.bits <= wanted.bits,
                })
            }
        },
    }
}

struct Integer {
    bits: u8,
    is_signed: bool,
    /// Of its largest value.
    digits: i16,
}

fn integer(data_type: &DataType) -> Option<Integer> {
    let (bits, is_signed, digits) = match data_type {
        DataType::Int8 => (8, true, 3),
        DataType::Int16 => (16, true, 5),
        DataType::Int32 => (32, true, 10),
        DataType::Int64 => (64, true, 19),
        DataType::UInt8 => (8, false, 3),
        DataType::UInt16 => (16, false, 5),
        DataType::UInt32 => (32, false, 10),
        DataType::UInt64 => (64, false, 20),
        _ => return None,
    };
    Some(Integer {
        bits,
        is_signed,
        digits,
    })
}

/// What to write so that the argument has the type.
fn conversion(argument: &Expr, found: &DataType, wanted: &DataType) -> String {
    let value = match argument {
        Expr::Column(column) => column.name.as_str(),
        _ => "..",
    };
    let is_bytes = matches!(
        found,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView
    );
    let written = match wanted {
        DataType::Utf8 if is_bytes => format!("encode({value}, 'hex')"),
        DataType::FixedSizeBinary(_) => {
            return "give it a column of type uuid, or let the function take text".to_owned();
        }
        DataType::Int8
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64 => format!("arrow_cast({value}, '{wanted}')"),
        DataType::Binary => format!("cast({value} as bytea)"),
        wanted => format!("cast({value} as {})", type_name(wanted)),
    };
    format!("say that it is to be converted: `{written}`")
}

#[cfg(test)]
mod tests {
    use crate::{OutputSpec, Transform, TransformContext, TransformError, TransformSpec};
    use arrow_array::RecordBatch;
    use arrow_schema::{DataType, Field, Schema, TimeUnit};
    use std::sync::Arc;
    use syncset_plugin_guests::Wat;
    use syncset_plugin_host::{
        Config, Interrupt, Limits, Plugin, PluginFile, PluginFunction, Wasi,
    };

    /// A plugin with the function `same` of one argument.
    fn function(format: &[u8; 1]) -> PluginFunction {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("guest.wasm");
        let guest = Wat::scalar_of(format, true, "(unreachable)".to_owned());
        std::fs::write(&path, guest.text()).expect("the folder can be written");
        let file = PluginFile {
            name: "guest".to_owned(),
            path,
            sha256: None,
            wasi: Wasi::None,
            limits: Limits::default(),
            interrupt: Interrupt::default(),
        };
        let plugin = Plugin::load(&file).expect("the guest is as the contract wants it");
        let mut functions = PluginFunction::all(&Arc::new(plugin), &Config::default());
        functions.remove(0)
    }

    fn columns() -> Schema {
        let column = |name: &str, data_type| Field::new(name, data_type, true);
        Schema::new(vec![
            column("tiny", DataType::Int16),
            column("qty", DataType::Int32),
            column("big", DataType::Int64),
            column("score", DataType::Float64),
            column("price", DataType::Decimal128(12, 2)),
            column("vip", DataType::Boolean),
            column("birthday", DataType::Date32),
            column("seen", DataType::Timestamp(TimeUnit::Microsecond, None)),
            column("name", DataType::Utf8),
            column("photo", DataType::Binary),
        ])
    }

    fn compile(format: &[u8; 1], sql: &str) -> Result<Transform, TransformError> {
        let spec = TransformSpec {
            table: "t".to_owned(),
            input: Arc::new(columns()),
            condition: None,
            outputs: vec![OutputSpec::sql("x", sql)],
            steps: Vec::new(),
        };
        let context = TransformContext::new(chrono::Utc::now());
        let context = context.with_functions(vec![Arc::new(function(format))]);
        let transform = Transform::compile(&spec, &context)?;
        // What was planned can be called, too.
        let nothing = RecordBatch::new_empty(Arc::clone(&spec.input));
        transform.apply(&nothing)?;
        Ok(transform)
    }

    #[test]
    fn arguments_of_another_type_are_refused_with_what_to_write() {
        let cases = [
            (
                b"u",
                "same(qty)",
                "takes text as argument 1, and `qty` is integer",
                "`cast(qty as text)`",
            ),
            (
                b"u",
                "same(score)",
                "`score` is double precision",
                "`cast(score as text)`",
            ),
            (
                b"u",
                "same(price)",
                "`price` is decimal(12,2)",
                "`cast(price as text)`",
            ),
            (b"u", "same(vip)", "`vip` is boolean", "`cast(vip as text)`"),
            (
                b"u",
                "same(birthday)",
                "`birthday` is date",
                "`cast(birthday as text)`",
            ),
            (
                b"u",
                "same(seen)",
                "`seen` is timestamp",
                "`cast(seen as text)`",
            ),
            (
                b"u",
                "same(photo)",
                "`photo` is bytes",
                "`encode(photo, 'hex')`",
            ),
            (
                b"u",
                "same(qty + 1)",
                "argument 1 is bigint",
                "`cast(.. as text)`",
            ),
            (
                b"u",
                "same(7)",
                "argument 1 is bigint",
                "`cast(.. as text)`",
            ),
            (
                b"u",
                "upper(same(qty))",
                "`qty` is integer",
                "`cast(qty as text)`",
            ),
            (
                b"l",
                "same(name)",
                "takes bigint as argument 1, and `name` is text",
                "`cast(name as bigint)`",
            ),
            (
                b"l",
                "same('7')",
                "argument 1 is text",
                "`cast(.. as bigint)`",
            ),
            (
                b"l",
                "same(same(name))",
                "`name` is text",
                "`cast(name as bigint)`",
            ),
            (
                b"l",
                "same(score)",
                "`score` is double precision",
                "`cast(score as bigint)`",
            ),
            (
                b"l",
                "same(1.5)",
                "argument 1 is decimal(2,1)",
                "`cast(.. as bigint)`",
            ),
            (
                b"i",
                "same(big)",
                "`big` is bigint",
                "`cast(big as integer)`",
            ),
            (
                b"i",
                "same(5000000000)",
                "argument 1 is bigint",
                "`cast(.. as integer)`",
            ),
            (
                b"g",
                "same(big)",
                "`big` is bigint",
                "`cast(big as double precision)`",
            ),
            (
                b"b",
                "same(qty)",
                "`qty` is integer",
                "`cast(qty as boolean)`",
            ),
            (
                b"l",
                "same()",
                "takes 1 argument, and is given none",
                "`same(bigint)`",
            ),
            (
                b"l",
                "same(qty, qty)",
                "takes 1 argument, and is given 2",
                "`same(bigint)`",
            ),
        ];
        for (format, sql, said, hint) in cases {
            let error = compile(format, sql).expect_err(sql);

            let told = error.to_string();
            assert!(
                told.contains("function `same` of plugin `guest`"),
                "{sql}: {told}"
            );
            assert!(told.contains(said), "{sql}: {told}");
            let told = error.hint().unwrap_or_default();
            assert!(told.contains(hint), "{sql}: {told}");
        }
    }

    #[test]
    fn arguments_that_lose_nothing_are_taken() {
        let cases = [
            (b"u", "same(name)"),
            (b"u", "same('text')"),
            (b"u", "same(null)"),
            (b"u", "same(substr(name, 2))"),
            (b"u", "same(concat(name, qty))"),
            (b"u", "same(cast(qty as text))"),
            (b"u", "same(coalesce(name, 'none'))"),
            (b"l", "same(big)"),
            (b"l", "same(qty)"),
            (b"l", "same(tiny)"),
            (b"l", "same(qty + 1)"),
            (b"l", "same(same(qty))"),
            (b"l", "same(7)"),
            (b"l", "same(-7)"),
            (b"i", "same(7)"),
            (b"i", "same(tiny)"),
            (b"g", "same(qty)"),
            (b"g", "same(1.5)"),
            (b"g", "same(2)"),
            (b"b", "same(qty > 1)"),
            (b"z", "same(photo)"),
        ];
        for (format, sql) in cases {
            if let Err(error) = compile(format, sql) {
                panic!("{sql}: {error}");
            }
        }
    }
}
