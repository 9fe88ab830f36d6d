//! SQL expressions of the files: parsed, their columns found and quoted, and searched for what
//! makes a selection change without a row changing.
//!
//! The parser and its dialect are DataFusion's, so both read a text alike.

use crate::nearest::columns_of;
use sqlparser::ast::{Expr, Function, Ident, ObjectNamePart, visit_expressions};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Token, Tokenizer};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use syncset_connector::TableDescription;

/// Functions whose value moves with the clock; they are called with parentheses.
const CLOCK_FUNCTIONS: &[&str] = &[
    "now",
    "age",
    "today",
    "clock_timestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "timeofday",
    "getdate",
    "curdate",
    "curtime",
    "sysdate",
    "unix_timestamp",
    "utc_date",
    "utc_time",
    "utc_timestamp",
];

/// The same, as words that need no parentheses.
const CLOCK_WORDS: &[&str] = &[
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
];

/// SQLite's date functions read the clock when they are given `'now'`, or nothing at all.
const CLOCK_BY_ARGUMENT: &[&str] = &[
    "date",
    "time",
    "datetime",
    "julianday",
    "strftime",
    "timediff",
    "unixepoch",
];

/// Functions that answer differently each time they are asked.
const VOLATILE_FUNCTIONS: &[&str] = &[
    "random",
    "rand",
    "randomblob",
    "random_normal",
    "setseed",
    "uuid",
    "uuid_generate_v1",
    "uuid_generate_v4",
    "uuidv4",
    "uuidv7",
    "gen_random_uuid",
    "gen_random_bytes",
    "nextval",
    "currval",
    "lastval",
    "pg_sleep",
    "txid_current",
    "pg_current_xact_id",
    "last_insert_rowid",
    "changes",
    "total_changes",
];

/// What makes the value of an expression change while no row does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Movement {
    /// It holds a sub-query.
    pub(crate) sub_query: bool,
    /// The first function or word that reads the clock.
    pub(crate) clock: Option<String>,
    /// The first function that answers differently each time.
    pub(crate) volatile: Option<String>,
}

/// Looks for sub-queries, clocks and dice in a text of any dialect.
pub(crate) fn movement(text: &str) -> Movement {
    let mut found = Movement::default();
    // A dialect that the tokenizer does not know is not scanned: the store refuses what it must.
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, text).tokenize() else {
        return found;
    };
    let tokens: Vec<_> = tokens
        .into_iter()
        .filter(|token| !matches!(token, Token::Whitespace(_)))
        .collect();
    for (index, token) in tokens.iter().enumerate() {
        let Token::Word(word) = token else { continue };
        if word.quote_style.is_some() {
            continue;
        }
        let name = word.value.to_lowercase();
        let mut following = tokens.iter().skip(index + 1);
        let is_call = following.next() == Some(&Token::LParen);
        let is_by_argument =
            is_call && CLOCK_BY_ARGUMENT.contains(&name.as_str()) && reads_clock(following);
        if name == "select" {
            found.sub_query = true;
        } else if CLOCK_WORDS.contains(&name.as_str())
            || is_by_argument
            || is_call && CLOCK_FUNCTIONS.contains(&name.as_str())
        {
            found.clock.get_or_insert(name);
        } else if is_call && VOLATILE_FUNCTIONS.contains(&name.as_str()) {
            found.volatile.get_or_insert(name);
        }
    }
    found
}

/// Whether the arguments of a date function of SQLite, up to the closing parenthesis, make it read
/// the clock: there are none, or one is `'now'`.
fn reads_clock<'a>(arguments: impl Iterator<Item = &'a Token>) -> bool {
    let mut is_empty = true;
    for token in arguments {
        match token {
            Token::RParen => return is_empty,
            Token::SingleQuotedString(text) if text.eq_ignore_ascii_case("now") => return true,
            _ => is_empty = false,
        }
    }
    false
}

/// An expression with its columns resolved against a table.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// The tree; identifiers are as written.
    pub(crate) tree: Expr,
    /// The text with every column quoted and spelled as the table spells it.
    pub(crate) sql: String,
    /// Columns it names, each once, in order of first use.
    pub(crate) columns: Vec<String>,
    /// Functions it calls, as they are looked up.
    pub(crate) functions: BTreeSet<String>,
}

/// Why a text is no expression over the table's columns: a sentence and a hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SqlProblem {
    /// The sentence.
    pub(crate) message: String,
    /// What to do.
    pub(crate) hint: String,
}

impl SqlProblem {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
        }
    }
}

/// Parses an expression and resolves its columns.
///
/// # Errors
/// Every column that is not there, or why the text is no expression.
pub(crate) fn resolve(text: &str, table: &TableDescription) -> Result<Resolved, Vec<SqlProblem>> {
    resolve_under(text, table, &str::to_owned)
}

/// The same with other names for the table's columns: each as `name` gives it.
///
/// # Errors
/// As [`resolve`].
pub(crate) fn resolve_under(
    text: &str,
    table: &TableDescription,
    name: &dyn Fn(&str) -> String,
) -> Result<Resolved, Vec<SqlProblem>> {
    let tree = parse(text).map_err(|problem| vec![problem])?;
    let mut uses: Vec<Use> = Vec::new();
    let mut functions = BTreeSet::new();
    let mut problems = Vec::new();
    let _: ControlFlow<()> = visit_expressions(&tree, |expression| {
        match expression {
            Expr::Identifier(identifier) => match column_of(identifier, table) {
                Ok(column) => uses.push(Use::of(identifier, name(&column))),
                Err(problem) => problems.push(problem),
            },
            Expr::Function(function) => functions.extend(function_name(function)),
            Expr::CompoundIdentifier(parts) => {
                let written = expression.to_string();
                problems.push(SqlProblem::new(
                    format!("`{written}` has a table in front"),
                    match parts.last() {
                        Some(last) => format!("columns are written alone: `{last}`"),
                        None => "columns are written alone".into(),
                    },
                ));
            }
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
                problems.push(SqlProblem::new(
                    "a sub-query cannot be evaluated here",
                    "let the source evaluate it: `where: { source_sql: \"...\" }`",
                ));
                return ControlFlow::Break(());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
    if !problems.is_empty() {
        problems.dedup();
        return Err(problems);
    }
    let mut columns: Vec<String> = Vec::new();
    for used in &uses {
        if !columns.contains(&used.column) {
            columns.push(used.column.clone());
        }
    }
    let sql = rewritten(text, uses).ok_or_else(|| {
        vec![SqlProblem::new(
            "the columns of this expression cannot be told apart",
            "quote every column with double quotes",
        )]
    })?;
    Ok(Resolved {
        tree,
        sql,
        columns,
        functions,
    })
}

/// The name by which a function is looked up: unquoted ones in small letters.
fn function_name(function: &Function) -> Option<String> {
    let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else {
        return None;
    };
    Some(match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    })
}

/// Names that a text calls as functions, in small letters.
pub fn called_names(text: &str) -> BTreeSet<String> {
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, text).tokenize() else {
        return BTreeSet::new();
    };
    let words = tokens
        .iter()
        .filter(|token| !matches!(token, Token::Whitespace(_)));
    let words: Vec<_> = words.collect();
    let calls = words.windows(2).filter_map(|pair| match pair {
        [Token::Word(word), Token::LParen] => Some(word.value.to_lowercase()),
        _ => None,
    });
    calls.collect()
}

/// Parses one expression and nothing else.
pub(crate) fn parse(text: &str) -> Result<Expr, SqlProblem> {
    let syntax = |error: String| {
        let reason = error
            .trim_start_matches("sql parser error: ")
            .replace("Expected: ", "expected ")
            .replace(", found: EOF", ", found the end")
            .replace(", found: ", ", found ");
        SqlProblem::new(
            format!("this is no SQL expression: {reason}"),
            "text goes in single quotes, names with capitals or blanks in double quotes",
        )
    };
    let dialect = GenericDialect {};
    let mut parser = Parser::new(&dialect)
        .try_with_sql(text)
        .map_err(|error| syntax(error.to_string()))?;
    let tree = parser
        .parse_expr()
        .map_err(|error| syntax(error.to_string()))?;
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        return Err(syntax(format!(
            "`{}` at column {} is one word too many",
            rest.token, rest.span.start.column
        )));
    }
    Ok(tree)
}

/// The column that an identifier means. Quoted: exactly this one. Unquoted: exactly this one,
/// else the only one that differs in case.
///
/// # Errors
/// No such column, or several.
pub(crate) fn column_of(
    identifier: &Ident,
    table: &TableDescription,
) -> Result<String, SqlProblem> {
    let name = identifier.value.as_str();
    if let Some(column) = table.column(name) {
        return Ok(column.name.clone());
    }
    let folded = name.to_lowercase();
    let others: Vec<_> = table
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .filter(|other| identifier.quote_style.is_none() && other.to_lowercase() == folded)
        .collect();
    match others.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(SqlProblem::new(
            format!("no column `{name}`"),
            columns_of(table, name),
        )),
        several => Err(SqlProblem::new(
            format!("`{name}` may mean {}", several.join(" or ")),
            format!("quote the one that is meant: `\"{}\"`", several[0]),
        )),
    }
}

/// One place where a column is named.
#[derive(Debug)]
struct Use {
    start: Location,
    end: Location,
    column: String,
}

impl Use {
    fn of(identifier: &Ident, column: String) -> Self {
        Self {
            start: identifier.span.start,
            end: identifier.span.end,
            column,
        }
    }
}

/// The text with each use replaced by its quoted column. The rest stays as it was written: a
/// printed tree is not always the text it came from. `None` if a place is unknown.
fn rewritten(text: &str, mut uses: Vec<Use>) -> Option<String> {
    uses.sort_by_key(|used| (used.start.line, used.start.column));
    let mut result = String::with_capacity(text.len() + 2 * uses.len());
    let mut done = 0;
    for used in uses {
        let start = offset(text, used.start)?;
        let end = offset(text, used.end)?;
        result.push_str(text.get(done..start)?);
        result.push_str(&quoted(&used.column));
        // An empty place would insert instead of replace.
        done = (end > start).then_some(end)?;
    }
    result.push_str(text.get(done..)?);
    Some(result)
}

/// Byte offset of a place as the tokenizer counts it: lines and characters from one.
fn offset(text: &str, location: Location) -> Option<usize> {
    let line = usize::try_from(location.line).ok()?.checked_sub(1)?;
    let column = usize::try_from(location.column).ok()?.checked_sub(1)?;
    let line_start = match line {
        0 => 0,
        _ => text.match_indices('\n').nth(line - 1)?.0 + 1,
    };
    let rest = text.get(line_start..)?;
    let within = rest
        .char_indices()
        .map(|(index, _)| index)
        .chain([rest.len()])
        .nth(column)?;
    Some(line_start + within)
}

/// An identifier in double quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
