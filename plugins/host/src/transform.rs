//! A plugin that changes the batches of one table.

use crate::error::{Fault, PluginError};
use crate::format::{format_of, is_wanted, spelled};
use crate::instance::{Instance, Scope};
use crate::lines::{Lines, hold};
use crate::plugin::Plugin;
use crate::pool::Pool;
use crate::settings::Config;
use arrow_array::{ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::{Field, Schema};
use arrow_select::filter::filter_record_batch;
use std::sync::Arc;

/// A plugin with its configuration, bound to the columns of one table. Shared by all units.
pub struct PluginTransform {
    pool: Pool,
    scope: Scope,
    reads: Vec<usize>,
    output: Vec<Field>,
}

impl std::fmt::Debug for PluginTransform {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PluginTransform")
            .field("plugin", &self.pool.plugin)
            .field("reads", &self.reads)
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}

/// What became of a batch.
#[derive(Debug, Clone)]
pub struct Returned {
    /// Values of [`PluginTransform::output`], one for each row that stays.
    pub columns: Vec<ArrayRef>,
    /// Rows of the batch that stay, in ascending order; `None`: all.
    pub origins: Option<Vec<u32>>,
}

impl PluginTransform {
    /// Binds a plugin to the columns of `input` that it reads.
    ///
    /// # Errors
    /// [`PluginError::Refused`] if a column is missing or has a type that the plugin does not
    /// take, or if the plugin refuses them.
    pub fn bind(
        plugin: &Arc<Plugin>,
        config: &Config,
        input: &Schema,
        scope: Scope,
    ) -> Result<Self, PluginError> {
        let name = plugin.name();
        let description = plugin.description();
        if !description.transforms && !description.filters {
            return Err(PluginError::refused(
                name,
                "it provides functions only, and can be used in `derive`",
            ));
        }
        let (mut instance, needs) = plugin.open(config).map_err(|fault| plugin.refuse(fault))?;
        let reads = match needs {
            None => (0..input.fields().len()).collect(),
            Some(needs) => {
                let mut reads = Vec::with_capacity(needs.len());
                for need in needs {
                    let shown = config.hidden(need.name.clone());
                    let index = find((name, &shown), &need, input)?;
                    if !reads.contains(&index) {
                        reads.push(index);
                    }
                }
                reads
            }
        };
        let read = Arc::new(input.project(&reads).map_err(|error| {
            PluginError::refused(name, format!("its columns cannot be read: {error}"))
        })?);
        // A filter learns only here which columns it will be given.
        let bound = instance
            .bind(&read)
            .map_err(|fault| plugin.refuse(fault.hidden(config)))?;
        let output = match description.transforms {
            true => bound,
            false => Vec::new(),
        };
        Ok(Self {
            pool: Pool::new(Arc::clone(plugin), config, Some(read)),
            scope,
            reads,
            output,
        })
    }

    /// The plugin.
    pub fn plugin(&self) -> &Plugin {
        &self.pool.plugin
    }

    /// Indexes of the columns that are read.
    pub fn reads(&self) -> &[usize] {
        &self.reads
    }

    /// Columns that come back: each replaces the one of its name, or is added.
    pub fn output(&self) -> &[Field] {
        &self.output
    }

    /// What becomes of the rows of a batch with the columns that the plugin was bound to.
    ///
    /// # Errors
    /// [`PluginError::Failed`]; if one row alone makes the plugin fail, it is named.
    pub fn apply(&self, batch: &RecordBatch) -> Result<Returned, PluginError> {
        let rows = self.read(batch)?;
        let (done, lines) = hold(|| self.try_rows(&rows));
        let (done, lines) = match done {
            Ok(done) => (Ok(done), lines),
            Err(fault) => {
                let (fault, lines) = self.find_row(&rows, fault, lines);
                (Err(self.failed(fault)), lines)
            }
        };
        lines.tell();
        done
    }

    /// The same in one call, for those who look for rows themselves.
    ///
    /// # Errors
    /// [`PluginError::Failed`]; the row is named if the plugin says so.
    pub fn apply_once(&self, batch: &RecordBatch) -> Result<Returned, PluginError> {
        let rows = self.read(batch)?;
        self.try_rows(&rows).map_err(|fault| self.failed(fault))
    }

    fn failed(&self, fault: Fault) -> PluginError {
        PluginError::failed(self.pool.plugin.name(), fault)
    }

    /// The columns that are passed.
    fn read(&self, batch: &RecordBatch) -> Result<RecordBatch, PluginError> {
        batch.project(&self.reads).map_err(|error| {
            let reason = format!("its columns cannot be read: {error}");
            self.failed(Fault::new(reason))
        })
    }

    fn try_rows(&self, rows: &RecordBatch) -> Result<Returned, Fault> {
        self.pool.with(|instance| self.call(instance, rows))
    }

    fn call(&self, instance: &mut Instance, rows: &RecordBatch) -> Result<Returned, Fault> {
        let description = self.pool.plugin.description();
        let mut kept = None;
        if description.filters {
            let keep = instance.keep(&self.scope, rows)?;
            if keep.count_set_bits() < rows.num_rows() {
                kept = Some(keep);
            }
        }
        let Some(kept) = kept else {
            return self.transformed(instance, rows);
        };
        let positions: Vec<u32> = kept.set_indices_u32().collect();
        let mask = BooleanArray::new(kept, None);
        let left =
            filter_record_batch(rows, &mask).map_err(|error| Fault::new(error.to_string()))?;
        let position = |row: usize| positions.get(row).copied();
        let returned = self.transformed(instance, &left).map_err(|mut fault| {
            let row = fault.row.and_then(position);
            fault.row = row.and_then(|row| usize::try_from(row).ok());
            fault
        })?;
        let origins = match returned.origins {
            None => positions,
            Some(origins) => {
                let named = origins.iter().filter_map(|row| usize::try_from(*row).ok());
                named.filter_map(position).collect()
            }
        };
        Ok(Returned {
            columns: returned.columns,
            origins: Some(origins),
        })
    }

    fn transformed(&self, instance: &mut Instance, rows: &RecordBatch) -> Result<Returned, Fault> {
        if !self.pool.plugin.description().transforms {
            return Ok(Returned {
                columns: Vec::new(),
                origins: None,
            });
        }
        let done = instance.transform(&self.scope, rows, &self.output)?;
        Ok(Returned {
            columns: done.columns,
            origins: done.origins,
        })
    }

    /// Narrows a fault down to the first row that fails alone. `lines`: those of the call that
    /// failed; the ones that come back are of the last call that did.
    fn find_row(&self, rows: &RecordBatch, mut fault: Fault, mut lines: Lines) -> (Fault, Lines) {
        if fault.row.is_some() || !fault.divisible {
            return (fault, lines);
        }
        let failure = |rows: &RecordBatch| {
            let (done, lines) = hold(|| self.try_rows(rows));
            done.err().map(|fault| (fault, lines))
        };
        let (mut start, mut length) = (0, rows.num_rows());
        while length > 1 {
            let half = length / 2;
            let lower = failure(&rows.slice(start, half));
            let (next, at, rest) = match lower {
                Some(found) => (Some(found), start, half),
                None => {
                    let upper = rows.slice(start + half, length - half);
                    (failure(&upper), start + half, length - half)
                }
            };
            let (found, said) = match next {
                Some(found) if found.0.divisible || found.0.stopped => found,
                // Only all rows together fail, or another limit was hit: no row is to blame.
                _ => return (fault, lines),
            };
            (start, length) = (at, rest);
            (fault, lines) = (found, said);
            if fault.stopped {
                return (fault, lines);
            }
            if let Some(row) = fault.row {
                fault.row = Some(start + row);
                return (fault, lines);
            }
        }
        fault.row = (length == 1).then_some(start);
        (fault, lines)
    }
}

/// `name`: that of the column, as messages show it.
fn find(
    (plugin, name): (&str, &str),
    need: &crate::ColumnNeed,
    input: &Schema,
) -> Result<usize, PluginError> {
    let Some((index, field)) = input.column_with_name(&need.name) else {
        let columns: Vec<_> = input.fields().iter().map(|it| it.name().as_str()).collect();
        return Err(PluginError::refused(
            plugin,
            format!("it reads column `{name}`, which is not there"),
        )
        .with_hint(format!("its columns are {}", columns.join(", "))));
    };
    let format = format_of(field.data_type());
    if format
        .as_ref()
        .is_some_and(|format| is_wanted(format, &need.formats))
    {
        return Ok(index);
    }
    let found = format.map_or_else(|| field.data_type().to_string(), |it| spelled(&it));
    let wanted: Vec<_> = need.formats.iter().map(|it| spelled(it)).collect();
    let wanted = match wanted.is_empty() {
        true => "a type that plugins can be given".to_owned(),
        false => wanted.join(" or "),
    };
    Err(PluginError::refused(
        plugin,
        format!("it reads column `{name}` as {wanted}, and it is {found}"),
    )
    .with_hint(format!(
        "give it a column of that type, for example with `derive: {{ {name}_text: \"cast({name} as text)\" }}`"
    )))
}
