//! What is computed for one table.

use crate::step::PluginStep;
use arrow_schema::{DataType, SchemaRef};
use syncset_connector::Mask;

/// Condition and outputs of one table.
#[derive(Debug, Clone)]
pub struct TransformSpec {
    /// The table as messages name it.
    pub table: String,
    /// Schema of the batches that come in.
    pub input: SchemaRef,
    /// DataFusion SQL; rows for which it is not true are dropped.
    pub condition: Option<String>,
    /// Columns that are computed of them, in order. Without steps they are those that go out.
    pub outputs: Vec<OutputSpec>,
    /// Plugins that change the batches of these columns, in order.
    pub steps: Vec<PluginStep>,
}

/// One column that goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSpec {
    /// Its name.
    pub name: String,
    /// Where its values come from.
    pub value: OutputExpr,
}

/// Where the values of a column come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputExpr {
    /// The input column of exactly this name, unchanged.
    Input(String),
    /// A DataFusion SQL expression over the input columns.
    Sql(String),
    /// Values of a column or an expression, hidden.
    Masked(MaskedValue, Mask),
}

/// What a mask hides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaskedValue {
    /// The input column of exactly this name.
    Input(String),
    /// A DataFusion SQL expression over the input columns.
    Sql(String),
    /// A column of this type that is not among the input: the mask does not read it.
    Unread(DataType),
}

impl OutputSpec {
    /// An input column under a name of its own.
    pub fn input(name: impl Into<String>, column: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: OutputExpr::Input(column.into()),
        }
    }

    /// A computed column.
    pub fn sql(name: impl Into<String>, expression: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: OutputExpr::Sql(expression.into()),
        }
    }
}
