//! What a plugin says of itself.

use crate::bindings::exports::syncset::plugin::plugin as contract;
use crate::error::shown;
use crate::format::data_type_of;
use arrow_schema::DataType;

/// What a plugin says of itself, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// The name that its author gave it.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What built it.
    pub sdk: String,
    /// What it is for.
    pub doc: String,
    /// JSON Schema of its configuration; empty if it takes none.
    pub config_schema: String,
    /// Whether it changes batches.
    pub transforms: bool,
    /// Whether it decides which rows stay.
    pub filters: bool,
    /// Functions for SQL expressions.
    pub functions: Vec<FunctionDescription>,
}

/// A function for SQL expressions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionDescription {
    /// Its name.
    pub name: String,
    /// Types of its arguments.
    pub args: Vec<DataType>,
    /// The type of its values.
    pub returns: DataType,
    /// When it returns the same again.
    pub volatility: Volatility,
    /// Whether it is NULL where an argument is, without being called.
    pub strict: bool,
    /// What it is for.
    pub doc: String,
}

/// When a function returns the same for the same arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volatility {
    /// Always.
    Immutable,
    /// Within one run.
    Stable,
    /// Not even within one run.
    Volatile,
}

impl Description {
    /// # Errors
    /// What is wrong, as a sentence.
    pub(crate) fn of(found: contract::Description) -> Result<Self, String> {
        let provides = |flag| found.provides.contains(flag);
        let (transforms, filters) = (
            provides(contract::Provides::TRANSFORM),
            provides(contract::Provides::FILTER),
        );
        let scalar = provides(contract::Provides::SCALAR);
        if !found.functions.is_empty() && !scalar {
            return Err("it describes functions that it does not provide".to_owned());
        }
        let mut functions: Vec<FunctionDescription> = Vec::new();
        for function in found.functions {
            let function = FunctionDescription::of(function)?;
            if functions.iter().any(|other| other.name == function.name) {
                return Err(format!("it describes `{}` twice", function.name));
            }
            functions.push(function);
        }
        if !found.config_schema.is_empty()
            && serde_json::from_str::<serde_json::Value>(&found.config_schema).is_err()
        {
            return Err("the JSON Schema of its configuration is no JSON".to_owned());
        }
        Ok(Self {
            name: shown(&found.name),
            version: shown(&found.version),
            sdk: shown(&found.sdk),
            doc: shown(&found.doc),
            config_schema: found.config_schema,
            transforms,
            filters,
            functions,
        })
    }

    /// The function of this name.
    pub fn function(&self, name: &str) -> Option<&FunctionDescription> {
        self.functions.iter().find(|it| it.name == name)
    }
}

impl FunctionDescription {
    fn of(found: contract::Function) -> Result<Self, String> {
        let name = shown(&found.name);
        let is_name = found
            .name
            .chars()
            .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_')
            && found.name.starts_with(|it: char| !it.is_ascii_digit());
        if !is_name {
            return Err(format!(
                "it describes a function `{name}`: names have lower-case letters, digits and `_`"
            ));
        }
        let data_type = |format: &String| {
            data_type_of(format).ok_or_else(|| {
                format!(
                    "function `{name}` has a type `{}` that the contract does not have",
                    shown(format)
                )
            })
        };
        Ok(Self {
            args: found.args.iter().map(data_type).collect::<Result<_, _>>()?,
            returns: data_type(&found.returns)?,
            volatility: match found.volatility {
                contract::Volatility::Immutable => Volatility::Immutable,
                contract::Volatility::Stable => Volatility::Stable,
                contract::Volatility::Volatile => Volatility::Volatile,
            },
            strict: found.strict,
            doc: shown(&found.doc),
            name,
        })
    }
}
