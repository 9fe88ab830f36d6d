//! Values that SQL has and Arrow has not: expressions must not compute with what stands for them.

use crate::compile::is_comparison;
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Schema, TimeUnit};
use datafusion_expr::{BinaryExpr, Cast, Expr};
use std::collections::BTreeSet;
use syncset_connector::special as sentinel;

/// Input columns, by index, in which a special value stops the expression.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SpecialChecks {
    columns: BTreeSet<usize>,
}

/// A special value in a column that is computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpecialFound {
    /// Index of the input column.
    pub(crate) column: usize,
    /// Row of the batch.
    pub(crate) row: usize,
    /// What it is.
    pub(crate) kind: &'static str,
}

/// How a column is used by the node above it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It is handed on, or only asked whether it is NULL.
    Passed,
    /// It is compared with a value of its own type.
    Compared,
    /// Anything else.
    Computed,
}

/// What has to be checked before `expr`, which is already coerced, is evaluated.
pub(crate) fn checks(expr: &Expr, schema: &Schema) -> SpecialChecks {
    let mut checks = SpecialChecks::default();
    collect(expr, Use::Passed, schema, &mut checks);
    checks
}

fn collect(expr: &Expr, used: Use, schema: &Schema, checks: &mut SpecialChecks) {
    match expr {
        Expr::Column(column) => {
            let Ok(index) = schema.index_of(column.name()) else {
                return;
            };
            let stops = match schema.field(index).data_type() {
                // What stands for NaN sorts below every number, NaN sorts above.
                DataType::Decimal128(..) => used != Use::Passed,
                // What stands for the infinities sorts as they do.
                DataType::Timestamp(TimeUnit::Microsecond, _) | DataType::Date32 => {
                    used == Use::Computed
                }
                _ => false,
            };
            if stops {
                checks.columns.insert(index);
            }
        }
        Expr::Alias(alias) => collect(&alias.expr, used, schema, checks),
        // Zones are UTC, so a zone is put on or taken off without touching the value.
        Expr::Cast(cast) if is_zone_cast(cast, schema) => {
            collect(&cast.expr, used, schema, checks);
        }
        Expr::IsNull(inner) | Expr::IsNotNull(inner) => {
            collect(inner, Use::Passed, schema, checks);
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let below = if is_comparison(*op) || op.is_logic_operator() {
                Use::Compared
            } else {
                Use::Computed
            };
            collect(left, below, schema, checks);
            collect(right, below, schema, checks);
        }
        Expr::Not(inner) => collect(inner, Use::Compared, schema, checks),
        Expr::Between(between) => {
            for part in [&between.expr, &between.low, &between.high] {
                collect(part, Use::Compared, schema, checks);
            }
        }
        Expr::InList(list) => {
            collect(&list.expr, Use::Compared, schema, checks);
            for item in &list.list {
                collect(item, Use::Compared, schema, checks);
            }
        }
        Expr::Case(case) => {
            if let Some(operand) = &case.expr {
                collect(operand, Use::Compared, schema, checks);
            }
            for (when, then) in &case.when_then_expr {
                collect(when, Use::Compared, schema, checks);
                collect(then, used, schema, checks);
            }
            if let Some(otherwise) = &case.else_expr {
                collect(otherwise, used, schema, checks);
            }
        }
        other => {
            use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
            // Walking children of a logical expression has no error of its own.
            let _infallible = other.apply_children(|child| {
                collect(child, Use::Computed, schema, checks);
                Ok(TreeNodeRecursion::Continue)
            });
        }
    }
}

fn is_zone_cast(cast: &Cast, schema: &Schema) -> bool {
    let Expr::Column(column) = cast.expr.as_ref() else {
        return false;
    };
    let micros =
        |data_type: &DataType| matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, _));
    micros(cast.field.data_type())
        && schema
            .field_with_name(column.name())
            .is_ok_and(|field| micros(field.data_type()))
}

impl SpecialChecks {
    /// Checks of these columns.
    pub(crate) fn new(columns: BTreeSet<usize>) -> Self {
        Self { columns }
    }

    /// Whether SQL has values of this type that Arrow has not.
    pub(crate) fn has_special(data_type: &DataType) -> bool {
        matches!(
            data_type,
            DataType::Decimal128(..)
                | DataType::Timestamp(TimeUnit::Microsecond, _)
                | DataType::Date32
        )
    }

    /// The first special value in `batch`, if there is one.
    pub(crate) fn find(&self, batch: &RecordBatch) -> Option<SpecialFound> {
        self.columns.iter().find_map(|&column| {
            let (row, kind) = find_in(batch.column(column).as_ref())?;
            Some(SpecialFound { column, row, kind })
        })
    }
}

fn find_in(array: &dyn Array) -> Option<(usize, &'static str)> {
    let (row, kind) = match array.data_type() {
        DataType::Decimal128(..) => {
            let values = array.as_primitive::<Decimal128Type>().values();
            let row = values
                .iter()
                .position(|value| *value == sentinel::DECIMAL_NAN)?;
            (row, "NaN")
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let values = array.as_primitive::<TimestampMicrosecondType>().values();
            let row = values.iter().position(|value| {
                matches!(
                    *value,
                    sentinel::TIMESTAMP_INFINITY | sentinel::TIMESTAMP_NEGATIVE_INFINITY
                )
            })?;
            (row, "infinity")
        }
        DataType::Date32 => {
            let values = array.as_primitive::<Date32Type>().values();
            let row = values.iter().position(|value| {
                matches!(
                    *value,
                    sentinel::DATE_INFINITY | sentinel::DATE_NEGATIVE_INFINITY
                )
            })?;
            (row, "infinity")
        }
        _ => return None,
    };
    if array.is_valid(row) {
        return Some((row, kind));
    }
    // A NULL slot may hold anything: look at the valid ones after it.
    let rest = array.slice(row + 1, array.len() - row - 1);
    find_in(rest.as_ref()).map(|(later, kind)| (row + 1 + later, kind))
}
