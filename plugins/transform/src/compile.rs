//! From SQL to an expression that can be evaluated batch by batch.
//!
//! DataFusion plans, coerces and evaluates. Three things are not left to its defaults: constants
//! are not folded and integers never wrap (an overflow must be an error of a row), clock functions
//! become the run's one instant, and times are microseconds, as the stores have them.

use crate::arguments;
use crate::context::TransformContext;
use crate::error::{Place, TransformError};
use crate::names::Parsed;
use crate::special::{self, SpecialChecks};
use crate::uuid;
use arrow_schema::{DataType, Schema, TimeUnit};
use chrono::Timelike;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, DataFusionError, Result as PlanResult, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{BinaryExpr as LogicalBinary, Cast, Expr, ExprSchemable, Operator, TryCast};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_physical_expr::expressions::{BinaryExpr, Literal, NegativeExpr};
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion_sql::planner::{PlannerContext, SqlToRel};
use std::sync::Arc;

/// How often functions that expand into others are expanded.
const EXPANSIONS_MAX: usize = 8;

/// An expression that can be evaluated.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// What DataFusion evaluates.
    pub(crate) physical: Arc<dyn PhysicalExpr>,
    /// The type it evaluates to.
    pub(crate) data_type: DataType,
    /// Input columns it reads, by index, in ascending order.
    pub(crate) inputs: Vec<usize>,
    /// Input columns whose special values it cannot compute with.
    pub(crate) checks: SpecialChecks,
}

/// Plans one expression.
pub(crate) fn compile(
    parsed: Parsed,
    schema: &DFSchema,
    context: &TransformContext,
    place: &Place,
) -> Result<Compiled, TransformError> {
    let functions = context.functions();
    let planner_options =
        datafusion_sql::planner::ParserOptions::from(&functions.config().sql_parser);
    let planner = SqlToRel::new_with_options(functions, planner_options);
    let logical = planner
        .sql_to_expr(parsed.expr, schema, &mut PlannerContext::new())
        .and_then(|expr| fix_clock(expr, context))
        .and_then(|expr| use_microseconds(expr, schema))
        .and_then(|expr| uuid::read_literals(expr, schema))
        .and_then(|expr| narrow_integers(expr, schema))
        .and_then(|expr| arguments::fit(expr, schema, place))
        .map_err(|error| refuse_plan(place, &error))??;
    let logical = logical.unalias_nested().data;
    refuse_mixed_comparisons(&logical, schema, place)?;
    uuid::refuse_other_uses(&logical, schema, place)?;

    let simplify = SimplifyContext::builder()
        .with_schema(Arc::new(schema.clone()))
        .with_config_options(Arc::clone(functions.config()))
        .with_query_execution_start_time(Some(context.now()))
        .build();
    let simplifier = ExprSimplifier::new(simplify.clone());
    let mut logical = logical;
    for _ in 0..EXPANSIONS_MAX {
        let expanded = simplifier
            .coerce(logical, schema)
            .and_then(|expr| use_microseconds(expr, schema))
            .and_then(|expr| expand_functions(expr, &simplify))
            .map_err(|error| refuse_plan(place, &error))?;
        logical = expanded.data;
        if !expanded.transformed {
            break;
        }
    }

    let arrow = schema.as_arrow();
    let physical = create_physical_expr(
        &logical,
        schema,
        &ExecutionProps::new(),
        &PhysicalPlanningContext::default(),
    )
    .and_then(|physical| check_arithmetic(physical, arrow))
    .map_err(|error| refuse_plan(place, &error))?;
    let data_type = physical
        .data_type(arrow)
        .map_err(|error| refuse_plan(place, &error))?;
    let mut inputs = logical
        .column_refs()
        .into_iter()
        .filter_map(|column| arrow.index_of(column.name()).ok())
        .collect::<Vec<_>>();
    inputs.sort_unstable();
    Ok(Compiled {
        checks: special::checks(&logical, arrow),
        physical,
        data_type,
        inputs,
    })
}

fn refuse_plan(place: &Place, error: &DataFusionError) -> TransformError {
    let message = error.strip_backtrace();
    let message = message
        .strip_prefix("Error during planning: ")
        .unwrap_or(&message);
    let first = message.lines().next().unwrap_or(message);
    place.refuse(format!("cannot be planned: {first}"))
}

/// Clock functions become the run's instant.
fn fix_clock(expr: Expr, context: &TransformContext) -> PlanResult<Expr> {
    let instant = context.now();
    expr.transform_up(|expr| {
        let Expr::ScalarFunction(call) = expr else {
            return Ok(Transformed::no(expr));
        };
        let value = match call.name() {
            "now" => {
                let micros = instant.timestamp_micros();
                ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()))
            }
            "current_date" => {
                let days = instant.timestamp().div_euclid(86_400);
                ScalarValue::Date32(i32::try_from(days).ok())
            }
            "current_time" => {
                let micros = i64::from(instant.num_seconds_from_midnight()) * 1_000_000
                    + i64::from(instant.timestamp_subsec_micros());
                ScalarValue::Time64Microsecond(Some(micros))
            }
            _ => return Ok(Transformed::no(Expr::ScalarFunction(call))),
        };
        Ok(Transformed::yes(Expr::Literal(value, None)))
    })
    .map(|transformed| transformed.data)
}

/// Makes nanoseconds microseconds, which is what columns have: nanoseconds end in the year 2262,
/// before dates that people use for `forever`. Casts that change nothing go, casts of constants
/// are done here, so that a constant that cannot be converted is found before any row is read.
fn use_microseconds(expr: Expr, schema: &DFSchema) -> PlanResult<Expr> {
    expr.transform_up(|expr| match expr {
        Expr::Cast(cast) => {
            let wanted = cast.field.data_type();
            let wanted = in_microseconds(wanted).unwrap_or_else(|| wanted.clone());
            if let Expr::Literal(value, metadata) = cast.expr.as_ref() {
                let value = value.cast_to(&wanted)?;
                return Ok(Transformed::yes(Expr::Literal(value, metadata.clone())));
            }
            Ok(if cast.expr.get_type(schema)? == wanted {
                Transformed::yes(*cast.expr)
            } else {
                Transformed::yes(Expr::Cast(Cast::new(cast.expr, wanted)))
            })
        }
        Expr::TryCast(cast) => {
            let wanted = cast.field.data_type();
            let wanted = in_microseconds(wanted).unwrap_or_else(|| wanted.clone());
            Ok(Transformed::yes(Expr::TryCast(TryCast::new(
                cast.expr, wanted,
            ))))
        }
        Expr::ScalarFunction(call) => {
            let call = Expr::ScalarFunction(call);
            // A call that is not coerced yet has no type; the next round sees it.
            let returned = call.get_type(schema).ok();
            Ok(match returned.as_ref().and_then(in_microseconds) {
                Some(wanted) => Transformed::yes(Expr::Cast(Cast::new(Box::new(call), wanted))),
                None => Transformed::no(call),
            })
        }
        other => Ok(Transformed::no(other)),
    })
    .map(|transformed| transformed.data)
}

/// Makes an integer constant beside a decimal a decimal of its own digits. As a column of 64 bits
/// it would count for twenty digits, and `price * 100` would be wider than most stores can hold.
fn narrow_integers(expr: Expr, schema: &DFSchema) -> PlanResult<Expr> {
    let is_decimal = |expr: &Expr| {
        expr.get_type(schema)
            .is_ok_and(|data_type| data_type.is_decimal())
    };
    expr.transform_up(|expr| {
        let Expr::BinaryExpr(mut binary) = expr else {
            return Ok(Transformed::no(expr));
        };
        if !binary.op.is_numerical_operators() {
            return Ok(Transformed::no(Expr::BinaryExpr(binary)));
        }
        if is_decimal(&binary.left) {
            *binary.right = narrow(*binary.right);
        } else if is_decimal(&binary.right) {
            *binary.left = narrow(*binary.left);
        }
        Ok(Transformed::yes(Expr::BinaryExpr(binary)))
    })
    .map(|transformed| transformed.data)
}

fn narrow(expr: Expr) -> Expr {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), metadata) => {
            let digits = value.checked_abs().map_or(19, |value| {
                value.checked_ilog10().map_or(1, |digits| digits + 1)
            });
            let precision = u8::try_from(digits).unwrap_or(19);
            let value = ScalarValue::Decimal128(Some(value.into()), precision, 0);
            Expr::Literal(value, metadata)
        }
        other => other,
    }
}

fn in_microseconds(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
        }
        DataType::Time64(TimeUnit::Nanosecond) => Some(DataType::Time64(TimeUnit::Microsecond)),
        _ => None,
    }
}

/// Functions such as `coalesce` exist only as the expression they expand to.
fn expand_functions(expr: Expr, context: &SimplifyContext) -> PlanResult<Transformed<Expr>> {
    expr.transform_up(|expr| match expr {
        Expr::ScalarFunction(mut call) => {
            let args = std::mem::take(&mut call.args);
            Ok(match call.func.simplify(args, context)? {
                ExprSimplifyResult::Simplified(simpler) => Transformed::yes(simpler),
                ExprSimplifyResult::Original(args) => {
                    call.args = args;
                    Transformed::no(Expr::ScalarFunction(call))
                }
            })
        }
        other => Ok(Transformed::no(other)),
    })
}

/// Text compared with a number would be read as a number row by row and fail at the first row
/// that is none; what is meant has to be written.
fn refuse_mixed_comparisons(
    expr: &Expr,
    schema: &DFSchema,
    place: &Place,
) -> Result<(), TransformError> {
    let mut problem = None;
    expr.apply(|node| {
        let pairs: Vec<(&Expr, &Expr)> = match node {
            Expr::BinaryExpr(LogicalBinary { left, op, right }) if is_comparison(*op) => {
                vec![(left, right)]
            }
            Expr::Between(between) => {
                vec![
                    (&between.expr, &between.low),
                    (&between.expr, &between.high),
                ]
            }
            Expr::InList(list) => list.list.iter().map(|item| (&*list.expr, item)).collect(),
            _ => Vec::new(),
        };
        for (left, right) in pairs {
            let (left_type, right_type) = (left.get_type(schema)?, right.get_type(schema)?);
            let text = |side: &Expr, data_type: &DataType| {
                is_text(data_type) && !matches!(side, Expr::Literal(..))
            };
            if (text(left, &left_type) && right_type.is_numeric())
                || (text(right, &right_type) && left_type.is_numeric())
            {
                problem.get_or_insert_with(|| format!("`{node}` compares text with a number"));
            }
        }
        Ok(datafusion_common::tree_node::TreeNodeRecursion::Continue)
    })
    .map_err(|error| refuse_plan(place, &error))?;
    match problem {
        Some(reason) => Err(place.refuse_with_hint(
            reason,
            "write the number in quotes to compare text, or `cast(column as decimal(38, 6))` to compare numbers",
        )),
        None => Ok(()),
    }
}

/// Whether the operator compares two values by their order.
pub(crate) fn is_comparison(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// Makes integer arithmetic fail where it would wrap.
fn check_arithmetic(
    expr: Arc<dyn PhysicalExpr>,
    schema: &Schema,
) -> PlanResult<Arc<dyn PhysicalExpr>> {
    expr.transform_up(|expr| {
        if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
            return Ok(Transformed::yes(
                Arc::new(binary.clone().with_fail_on_overflow(true)) as Arc<dyn PhysicalExpr>,
            ));
        }
        if let Some(negative) = expr.downcast_ref::<NegativeExpr>() {
            let data_type = negative.arg().data_type(schema)?;
            if data_type.is_signed_integer() {
                let zero = Arc::new(Literal::new(ScalarValue::new_zero(&data_type)?));
                let subtraction =
                    BinaryExpr::new(zero, Operator::Minus, Arc::clone(negative.arg()));
                return Ok(Transformed::yes(
                    Arc::new(subtraction.with_fail_on_overflow(true)) as Arc<dyn PhysicalExpr>,
                ));
            }
        }
        Ok(Transformed::no(expr))
    })
    .map(|transformed| transformed.data)
}
