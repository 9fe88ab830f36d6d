//! A function of a plugin that SQL expressions can call.

use crate::description::FunctionDescription;
use crate::error::{Fault, PluginError};
use crate::instance::Argument;
use crate::plugin::Plugin;
use crate::pool::Pool;
use crate::settings::Config;
use arrow_array::{Array, ArrayRef, BooleanArray, UInt32Array, new_null_array};
use arrow_buffer::NullBuffer;
use arrow_select::filter::filter;
use arrow_select::take::take;
use std::sync::Arc;

/// A function with the configuration of its plugin.
pub struct PluginFunction {
    pool: Pool,
    description: FunctionDescription,
}

impl std::fmt::Debug for PluginFunction {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PluginFunction")
            .field("plugin", &self.pool.plugin)
            .field("name", &self.description.name)
            .finish_non_exhaustive()
    }
}

impl PluginFunction {
    /// All functions of a plugin.
    pub fn all(plugin: &Arc<Plugin>, config: &Config) -> Vec<Self> {
        let functions = plugin.description().functions.iter();
        functions
            .map(|description| Self {
                pool: Pool::new(Arc::clone(plugin), config, None),
                description: description.clone(),
            })
            .collect()
    }

    /// The plugin.
    pub fn plugin(&self) -> &Plugin {
        &self.pool.plugin
    }

    /// What its author says of it.
    pub fn description(&self) -> &FunctionDescription {
        &self.description
    }

    /// Values for `row_count` rows. `args` have the types that are described; each has as many
    /// values as there are rows, or is a constant with one.
    ///
    /// # Errors
    /// [`PluginError::Failed`]; the row is named if the plugin says so.
    pub fn call(
        &self,
        row_count: usize,
        args: &[(ArrayRef, bool)],
    ) -> Result<ArrayRef, PluginError> {
        let failed = |fault| PluginError::failed(self.pool.plugin.name(), self.named(fault));
        let returns = &self.description.returns;
        if row_count == 0 {
            return Ok(new_null_array(returns, 0));
        }
        let called = match self.description.strict {
            false => None,
            true => self.called_rows(row_count, args),
        };
        let Some(called) = called else {
            return self.evaluate(row_count, args).map_err(failed);
        };
        if called.null_count() == row_count {
            return Ok(new_null_array(returns, row_count));
        }
        let mask = BooleanArray::new(called.inner().clone(), None);
        let rows = args.iter().map(|(values, is_constant)| match is_constant {
            true => Ok((Arc::clone(values), true)),
            false => filter(values, &mask).map(|values| (values, false)),
        });
        let rows = rows.collect::<Result<Vec<_>, _>>();
        let rows = rows.map_err(|error| failed(Fault::new(error.to_string())))?;
        let values = self
            .evaluate(row_count - called.null_count(), &rows)
            .map_err(|mut fault| {
                fault.row = fault
                    .row
                    .and_then(|row| mask.values().set_indices().nth(row));
                failed(fault)
            })?;
        take(&values, &positions(&called), None)
            .map_err(|error| failed(Fault::new(error.to_string())))
    }

    fn evaluate(&self, row_count: usize, args: &[(ArrayRef, bool)]) -> Result<ArrayRef, Fault> {
        let args: Vec<_> = args
            .iter()
            .map(|(values, is_constant)| Argument {
                is_constant: *is_constant,
                values: values.as_ref(),
            })
            .collect();
        let FunctionDescription { name, returns, .. } = &self.description;
        self.pool
            .with(|instance| instance.evaluate(name, row_count, &args, returns))
    }

    /// Rows of which no argument is NULL; `None` if that is all of them.
    fn called_rows(&self, row_count: usize, args: &[(ArrayRef, bool)]) -> Option<NullBuffer> {
        let mut called: Option<NullBuffer> = None;
        for (values, is_constant) in args {
            let nulls = match is_constant {
                true if values.is_null(0) => Some(NullBuffer::new_null(row_count)),
                true => None,
                false => values.logical_nulls(),
            };
            called = NullBuffer::union(called.as_ref(), nulls.as_ref());
        }
        called.filter(|nulls| nulls.null_count() > 0)
    }

    fn named(&self, mut fault: Fault) -> Fault {
        fault.reason = format!("function `{}`: {}", self.description.name, fault.reason);
        fault
    }
}

/// For each row the position of its value among those that were computed.
fn positions(called: &NullBuffer) -> UInt32Array {
    let mut next = 0;
    let position = |is_called: bool| {
        is_called.then(|| {
            let position = next;
            next += 1;
            position
        })
    };
    called.iter().map(position).collect()
}
