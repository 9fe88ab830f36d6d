//! Uuids: sixteen bytes in a batch, text in an expression.

use crate::compile::is_comparison;
use crate::error::{Place, TransformError};
use arrow_schema::DataType;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, DataFusionError, Result as PlanResult, ScalarValue};
use datafusion_expr::{Expr, ExprSchemable};

/// How connectors carry a uuid.
const UUID: DataType = DataType::FixedSizeBinary(16);
const UUID_BYTES: i32 = 16;
const UUID_DIGITS: usize = 32;

/// Turns text that is compared with a uuid into its bytes.
pub(crate) fn read_literals(expr: Expr, schema: &DFSchema) -> PlanResult<Expr> {
    expr.transform_up(|expr| {
        Ok(match expr {
            Expr::BinaryExpr(mut binary) if is_comparison(binary.op) => {
                if is_uuid(&binary.left, schema) {
                    *binary.right = as_bytes(*binary.right)?;
                } else if is_uuid(&binary.right, schema) {
                    *binary.left = as_bytes(*binary.left)?;
                }
                Transformed::yes(Expr::BinaryExpr(binary))
            }
            Expr::Between(mut between) if is_uuid(&between.expr, schema) => {
                *between.low = as_bytes(*between.low)?;
                *between.high = as_bytes(*between.high)?;
                Transformed::yes(Expr::Between(between))
            }
            Expr::InList(mut list) if is_uuid(&list.expr, schema) => {
                list.list = list
                    .list
                    .into_iter()
                    .map(as_bytes)
                    .collect::<PlanResult<_>>()?;
                Transformed::yes(Expr::InList(list))
            }
            other => Transformed::no(other),
        })
    })
    .map(|transformed| transformed.data)
}

fn is_uuid(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema)
        .is_ok_and(|data_type| data_type == UUID)
}

fn as_bytes(expr: Expr) -> PlanResult<Expr> {
    let Expr::Literal(ScalarValue::Utf8(Some(text)), metadata) = expr else {
        return Ok(expr);
    };
    let bytes =
        parse(&text).ok_or_else(|| DataFusionError::Plan(format!("`'{text}'` is not a uuid")))?;
    let value = ScalarValue::FixedSizeBinary(UUID_BYTES, Some(bytes));
    Ok(Expr::Literal(value, metadata))
}

/// The sixteen bytes of a uuid's text.
pub(crate) fn parse(text: &str) -> Option<Vec<u8>> {
    let digits = text
        .trim_start_matches('{')
        .trim_end_matches('}')
        .chars()
        .filter(|character| *character != '-')
        .map(|character| {
            character
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect::<Option<Vec<u8>>>()?;
    (digits.len() == UUID_DIGITS).then(|| {
        digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    })
}

/// The text of sixteen bytes.
pub(crate) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// Refuses what would take the bytes of a uuid for something else.
pub(crate) fn refuse_other_uses(
    expr: &Expr,
    schema: &DFSchema,
    place: &Place,
) -> Result<(), TransformError> {
    let mut found = false;
    // The closure has no error of its own.
    let _infallible = expr.apply(|node| {
        if matches!(
            node,
            Expr::Cast(_) | Expr::TryCast(_) | Expr::ScalarFunction(_) | Expr::Like(_)
        ) {
            node.apply_children(|child| {
                found |= is_uuid(child, schema);
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    });
    if found {
        return Err(place.refuse_with_hint(
            "a uuid can be compared and passed on, but not computed with",
            "compare it with its text, such as `id = '5e5a...'`, or compute the value in a view of the source",
        ));
    }
    Ok(())
}
