//! `where:` to a condition that every store evaluates with one meaning, where there is one.

use crate::sql::column_of;
use sqlparser::ast::{BinaryOperator, CastKind, DataType, Expr, UnaryOperator, Value};
use syncset_connector::{Comparison, Literal, Predicate, TableDescription};

/// The condition of a parsed text whose columns have been resolved before.
///
/// # Errors
/// A sentence that names the first part that is not in the common grammar.
pub(crate) fn predicate(tree: &Expr, table: &TableDescription) -> Result<Predicate, String> {
    Reader { table }.predicate(tree)
}

/// The parts of a text that are combined by AND at its top.
pub(crate) fn conjuncts(tree: &Expr) -> Vec<&Expr> {
    let mut parts = Vec::new();
    let mut waiting = vec![tree];
    while let Some(expression) = waiting.pop() {
        match expression {
            Expr::Nested(inner) => waiting.push(inner),
            Expr::BinaryOp {
                left,
                op: BinaryOperator::And,
                right,
            } => {
                waiting.push(right);
                waiting.push(left);
            }
            other => parts.push(other),
        }
    }
    parts
}

struct Reader<'a> {
    table: &'a TableDescription,
}

impl Reader<'_> {
    fn predicate(&self, tree: &Expr) -> Result<Predicate, String> {
        match tree {
            Expr::Nested(inner) => self.predicate(inner),
            Expr::BinaryOp { left, op, right } => self.binary(tree, left, op, right),
            Expr::UnaryOp {
                op: UnaryOperator::Not,
                expr,
            } => Ok(Predicate::Not(Box::new(self.predicate(expr)?))),
            Expr::IsNull(inner) => self.is_null(inner, false),
            Expr::IsNotNull(inner) => self.is_null(inner, true),
            Expr::IsTrue(inner) => self.is_boolean(inner, true),
            Expr::IsFalse(inner) => self.is_boolean(inner, false),
            Expr::IsNotTrue(inner) => Ok(negated(self.is_boolean(inner, true)?)),
            Expr::IsNotFalse(inner) => Ok(negated(self.is_boolean(inner, false)?)),
            Expr::InList {
                expr,
                list,
                negated,
            } => Ok(Predicate::In {
                column: self.column(expr)?,
                literals: list.iter().map(literal).collect::<Result<_, _>>()?,
                negated: *negated,
            }),
            Expr::Between {
                expr,
                negated: is_negated,
                low,
                high,
            } => {
                let both = Predicate::And(vec![
                    self.compare(expr, Comparison::GreaterOrEqual, low)?,
                    self.compare(expr, Comparison::LessOrEqual, high)?,
                ]);
                Ok(if *is_negated { negated(both) } else { both })
            }
            Expr::Identifier(_) => self.boolean_column(tree).map(Predicate::Column),
            other => Err(not_common(other)),
        }
    }

    fn binary(
        &self,
        whole: &Expr,
        left: &Expr,
        op: &BinaryOperator,
        right: &Expr,
    ) -> Result<Predicate, String> {
        let comparison = match op {
            BinaryOperator::And => return Ok(Predicate::And(self.parts(whole, op)?)),
            BinaryOperator::Or => return Ok(Predicate::Or(self.parts(whole, op)?)),
            BinaryOperator::Eq => Comparison::Equal,
            BinaryOperator::NotEq => Comparison::NotEqual,
            BinaryOperator::Lt => Comparison::Less,
            BinaryOperator::LtEq => Comparison::LessOrEqual,
            BinaryOperator::Gt => Comparison::Greater,
            BinaryOperator::GtEq => Comparison::GreaterOrEqual,
            _ => return Err(not_common(whole)),
        };
        if is_column(left) {
            self.compare(left, comparison, right)
        } else if is_column(right) {
            self.compare(right, mirrored(comparison), left)
        } else {
            Err(not_common(whole))
        }
    }

    /// The parts of a chain of one operator, so that a long list of conditions does not nest.
    fn parts(&self, whole: &Expr, op: &BinaryOperator) -> Result<Vec<Predicate>, String> {
        let mut parts = Vec::new();
        let mut waiting = vec![whole];
        while let Some(expression) = waiting.pop() {
            match expression {
                Expr::BinaryOp {
                    left,
                    op: other,
                    right,
                } if other == op => {
                    waiting.push(right);
                    waiting.push(left);
                }
                other => parts.push(self.predicate(other)?),
            }
        }
        Ok(parts)
    }

    fn compare(
        &self,
        column: &Expr,
        comparison: Comparison,
        value: &Expr,
    ) -> Result<Predicate, String> {
        Ok(Predicate::Compare {
            column: self.column(column)?,
            comparison,
            literal: literal(value)?,
        })
    }

    fn is_null(&self, column: &Expr, negated: bool) -> Result<Predicate, String> {
        Ok(Predicate::IsNull {
            column: self.column(column)?,
            negated,
        })
    }

    /// `column IS TRUE`, which is never NULL.
    fn is_boolean(&self, column: &Expr, wanted: bool) -> Result<Predicate, String> {
        let column = self.boolean_column(column)?;
        let value = Predicate::Column(column.clone());
        Ok(Predicate::And(vec![
            Predicate::IsNull {
                column,
                negated: true,
            },
            if wanted { value } else { negated(value) },
        ]))
    }

    fn column(&self, expression: &Expr) -> Result<String, String> {
        match expression {
            Expr::Nested(inner) => self.column(inner),
            Expr::Identifier(identifier) => {
                column_of(identifier, self.table).map_err(|problem| problem.message)
            }
            other => Err(not_common(other)),
        }
    }

    fn boolean_column(&self, expression: &Expr) -> Result<String, String> {
        let name = self.column(expression)?;
        let is_boolean = self
            .table
            .column(&name)
            .is_some_and(|column| column.data_type == arrow_schema::DataType::Boolean);
        if is_boolean {
            Ok(name)
        } else {
            Err(format!("`{name}` is no boolean column"))
        }
    }
}

fn negated(predicate: Predicate) -> Predicate {
    Predicate::Not(Box::new(predicate))
}

fn not_common(expression: &Expr) -> String {
    format!("`{expression}` is not among the forms that every store evaluates alike")
}

fn is_column(expression: &Expr) -> bool {
    match expression {
        Expr::Nested(inner) => is_column(inner),
        Expr::Identifier(_) => true,
        _ => false,
    }
}

fn mirrored(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Equal | Comparison::NotEqual => comparison,
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
    }
}

fn literal(expression: &Expr) -> Result<Literal, String> {
    match expression {
        Expr::Nested(inner) => literal(inner),
        Expr::UnaryOp { op, expr } => match (op, literal(expr)?) {
            (UnaryOperator::Plus, Literal::Number(number)) => Ok(Literal::Number(number)),
            (UnaryOperator::Minus, Literal::Number(number)) => {
                Ok(Literal::Number(match number.strip_prefix('-') {
                    Some(positive) => positive.to_owned(),
                    None => format!("-{number}"),
                }))
            }
            _ => Err(not_common(expression)),
        },
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) if is_plain_number(number) => {
                Ok(Literal::Number(number.clone()))
            }
            Value::SingleQuotedString(text) => Ok(Literal::Text(text.clone())),
            Value::Boolean(value) => Ok(Literal::Boolean(*value)),
            _ => Err(not_common(expression)),
        },
        Expr::TypedString(typed) => match &typed.value.value {
            Value::SingleQuotedString(text) => typed_text(&typed.data_type, text, expression),
            _ => Err(not_common(expression)),
        },
        Expr::Cast {
            kind: CastKind::Cast | CastKind::DoubleColon,
            expr,
            data_type,
            format: None,
            ..
        } => match literal(expr)? {
            Literal::Text(text) => typed_text(data_type, &text, expression),
            _ => Err(not_common(expression)),
        },
        other => Err(not_common(other)),
    }
}

/// A typed literal is its ISO text, if the type does not change what the text says.
fn typed_text(data_type: &DataType, text: &str, whole: &Expr) -> Result<Literal, String> {
    let is_same = match data_type {
        // `date '2025-01-01 10:00'` would drop the time.
        DataType::Date => is_date(text),
        DataType::Timestamp(None, _) => true,
        DataType::Uuid => true,
        _ => false,
    };
    if is_same {
        Ok(Literal::Text(text.to_owned()))
    } else {
        Err(not_common(whole))
    }
}

fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.char_indices().all(|(index, character)| match index {
            4 | 7 => character == '-',
            _ => character.is_ascii_digit(),
        })
}

fn is_plain_number(text: &str) -> bool {
    text.contains(|character: char| character.is_ascii_digit())
        && text
            .chars()
            .all(|character| character.is_ascii_digit() || character == '.')
}
