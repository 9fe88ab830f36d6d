//! Conditions that every store can be asked to evaluate with one meaning.

use serde::{Deserialize, Serialize};

/// A comparison operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// The operator as SQL writes it.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

/// A constant of a condition, as the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Literal {
    /// A number, as written (`12`, `-0.50`).
    Number(String),
    /// A string, without its quotes. Compared with a date, timestamp or uuid column it is that
    /// value's ISO text.
    Text(String),
    /// `true` or `false`.
    Boolean(bool),
}

/// A condition over the columns of one table, in three-valued logic.
///
/// Only forms that mean the same everywhere: a store renders all of it exactly for the column
/// types it names, or refuses it as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Predicate {
    /// `column op literal`
    Compare {
        /// The column.
        column: String,
        /// The operator.
        comparison: Comparison,
        /// The constant.
        literal: Literal,
    },
    /// `column [NOT] IN (literals)`; the list is not empty.
    In {
        /// The column.
        column: String,
        /// The constants.
        literals: Vec<Literal>,
        /// True for `NOT IN`.
        negated: bool,
    },
    /// `column IS [NOT] NULL`
    IsNull {
        /// The column.
        column: String,
        /// True for `IS NOT NULL`.
        negated: bool,
    },
    /// A boolean column on its own.
    Column(String),
    /// All of them.
    And(Vec<Predicate>),
    /// Any of them.
    Or(Vec<Predicate>),
    /// Not it.
    Not(Box<Predicate>),
}

impl Predicate {
    /// Names of the columns it reads, in order of first use.
    pub fn columns(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.collect_columns(&mut names);
        names
    }

    fn collect_columns<'a>(&'a self, names: &mut Vec<&'a str>) {
        match self {
            Self::Compare { column, .. }
            | Self::In { column, .. }
            | Self::IsNull { column, .. }
            | Self::Column(column) => {
                if !names.contains(&column.as_str()) {
                    names.push(column);
                }
            }
            Self::And(parts) | Self::Or(parts) => {
                parts.iter().for_each(|part| part.collect_columns(names));
            }
            Self::Not(part) => part.collect_columns(names),
        }
    }
}
