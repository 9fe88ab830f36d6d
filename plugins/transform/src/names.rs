//! Reading an expression: its syntax, its columns and its functions, before anything is planned.

use crate::context::Functions;
use crate::error::{Place, TransformError};
use arrow_schema::Schema;
use datafusion_expr::Volatility;
use sqlparser::ast::{Expr, Function, Ident, ObjectName, Query, VisitMut, VisitorMut};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;
use std::ops::ControlFlow;

/// How alike two names must be before one is offered for the other.
const SIMILARITY_MIN: f64 = 0.7;
/// How many names a message offers.
const SUGGESTIONS_MAX: usize = 3;

/// A parsed expression with all names resolved.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// The expression; every column is a quoted name of the input.
    pub(crate) expr: Expr,
    /// The first clock function it calls.
    pub(crate) clock: Option<String>,
}

/// Parses `sql` and resolves its names.
pub(crate) fn parse(
    sql: &str,
    table: &str,
    schema: &Schema,
    functions: &Functions,
    place: &Place,
) -> Result<Parsed, TransformError> {
    let mut expr = parse_expression(sql).map_err(|reason| place.refuse(reason))?;
    let mut resolver = Resolver {
        table,
        schema,
        functions,
        place,
        clock: None,
    };
    if let ControlFlow::Break(error) = expr.visit(&mut resolver) {
        return Err(error);
    }
    Ok(Parsed {
        clock: resolver.clock,
        expr,
    })
}

fn parse_expression(sql: &str) -> Result<Expr, String> {
    if sql.trim().is_empty() {
        return Err("the expression is empty".to_owned());
    }
    let mut parser = Parser::new(&GenericDialect {})
        .try_with_sql(sql)
        .map_err(|error| plain_syntax(&error.to_string()))?;
    let expr = parser
        .parse_expr()
        .map_err(|error| plain_syntax(&error.to_string()))?;
    let rest = parser.peek_token();
    if rest.token == Token::EOF {
        Ok(expr)
    } else {
        Err(format!(
            "the expression ends before `{}` at line {}, column {}",
            rest.token, rest.span.start.line, rest.span.start.column
        ))
    }
}

fn plain_syntax(message: &str) -> String {
    let message = message
        .strip_prefix("sql parser error: ")
        .unwrap_or(message);
    format!("not an expression that can be read: {message}")
}

struct Resolver<'a> {
    table: &'a str,
    schema: &'a Schema,
    functions: &'a Functions,
    place: &'a Place,
    clock: Option<String>,
}

impl VisitorMut for Resolver<'_> {
    type Break = TransformError;

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<TransformError> {
        ControlFlow::Break(self.place.refuse_with_hint(
            "a sub-query cannot be used here",
            "an expression sees one row of one table; for a selection by another table write `where: { source_sql: ... }`",
        ))
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<TransformError> {
        let resolved = match expr {
            Expr::Identifier(name) => self.resolve(name),
            Expr::CompoundIdentifier(parts) => self.resolve_qualified(parts),
            Expr::Function(function) => return self.check_function(function),
            Expr::Wildcard(..) | Expr::QualifiedWildcard(..) => Err(self
                .place
                .refuse("`*` cannot be used here: name the columns")),
            Expr::Value(value) if matches!(value.value, sqlparser::ast::Value::Placeholder(_)) => {
                Err(self
                    .place
                    .refuse("a parameter cannot be used here: write the value, or `${NAME}`"))
            }
            _ => return ControlFlow::Continue(()),
        };
        match resolved {
            Ok(column) => {
                *expr = column;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Resolver<'_> {
    /// The input column that `name` means: exactly, else by its letters if it is not quoted.
    fn resolve(&self, name: &Ident) -> Result<Expr, TransformError> {
        let fields = self.schema.fields();
        if fields.iter().any(|field| field.name() == &name.value) {
            return Ok(quoted(&name.value));
        }
        if name.quote_style.is_none() {
            let wanted = name.value.to_lowercase();
            let mut alike = fields
                .iter()
                .filter(|field| field.name().to_lowercase() == wanted);
            match (alike.next(), alike.next()) {
                (Some(only), None) => return Ok(quoted(only.name())),
                (Some(first), Some(second)) => {
                    return Err(self.place.refuse_with_hint(
                        format!(
                            "`{}` could be `{}` or `{}`",
                            name.value,
                            first.name(),
                            second.name()
                        ),
                        format!(
                            "write it in double quotes, as the table spells it: \"{}\"",
                            first.name()
                        ),
                    ));
                }
                (None, _) => {}
            }
        }
        let known = fields.iter().map(|field| field.name().as_str());
        let near = nearest(&name.value, known.clone());
        let hint = if near.is_empty() {
            format!("the columns it can use are {}", quote_list(known))
        } else {
            format!("did you mean {}?", quote_list(near))
        };
        Err(self
            .place
            .refuse_with_hint(format!("there is no column `{}`", name.value), hint))
    }

    /// `table.column`, where the table is the only one there is.
    fn resolve_qualified(&self, parts: &[Ident]) -> Result<Expr, TransformError> {
        let spelled = parts
            .iter()
            .map(|part| part.value.as_str())
            .collect::<Vec<_>>();
        let Some((column, qualifier)) = parts.split_last() else {
            return Err(self.place.refuse("a name is empty"));
        };
        let qualifier = qualifier
            .iter()
            .map(|part| part.value.as_str())
            .collect::<Vec<_>>()
            .join(".");
        let table = self.table.to_lowercase();
        let wanted = qualifier.to_lowercase();
        if table == wanted || table.ends_with(&format!(".{wanted}")) {
            return self.resolve(column);
        }
        Err(self.place.refuse_with_hint(
            format!("`{}` is not a column of this table", spelled.join(".")),
            format!("an expression sees the columns of `{}` only", self.table),
        ))
    }

    fn check_function(&mut self, function: &mut Function) -> ControlFlow<TransformError> {
        match self.function_problem(function) {
            Some(error) => ControlFlow::Break(error),
            None => ControlFlow::Continue(()),
        }
    }

    fn function_problem(&mut self, function: &mut Function) -> Option<TransformError> {
        let name = function.name.to_string().replace('"', "").to_lowercase();
        if function.over.is_some() || self.functions.needs_many_rows(&name) {
            return Some(self.place.refuse_with_hint(
                format!("`{name}` computes from many rows"),
                "an expression sees one row; make a view in the source and sync that",
            ));
        }
        let Some(known) = self.functions.scalar(&name) else {
            let near = nearest(&name, self.functions.names());
            let reason = format!("there is no function `{name}`");
            return Some(if near.is_empty() {
                self.place.refuse(reason)
            } else {
                self.place
                    .refuse_with_hint(reason, format!("did you mean {}?", quote_list(near)))
            });
        };
        match known.signature().volatility {
            Volatility::Volatile => Some(self.place.refuse_with_hint(
                format!("`{name}` gives another value each time"),
                "a row that is read twice must become the same row: use only functions of its columns",
            )),
            Volatility::Stable => {
                self.clock.get_or_insert_with(|| format!("{name}()"));
                function.name = ObjectName::from(vec![Ident::new(known.name())]);
                None
            }
            Volatility::Immutable => {
                function.name = ObjectName::from(vec![Ident::new(known.name())]);
                None
            }
        }
    }
}

fn quoted(name: &str) -> Expr {
    Expr::Identifier(Ident::with_quote('"', name))
}

/// Known names that look like `name`, best first.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = name.to_lowercase();
    let mut scored = known
        .map(|candidate| {
            let score = strsim::jaro_winkler(&wanted, &candidate.to_lowercase());
            (score, candidate)
        })
        .filter(|(score, _)| *score >= SIMILARITY_MIN)
        .collect::<Vec<_>>();
    scored.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(right.1)));
    scored
        .into_iter()
        .take(SUGGESTIONS_MAX)
        .map(|(_, candidate)| candidate)
        .collect()
}

fn quote_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names
        .into_iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
