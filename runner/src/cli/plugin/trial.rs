//! A plugin tried on a few rows in several ways: what becomes of a row must not depend on its
//! neighbours, on the instance, or on what came before.

use crate::failure::Failure;
use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use std::sync::Arc;
use syncset_plugin_host::{Config, Plugin, PluginFunction, Scope};
use syncset_transform::{OutputSpec, PluginStep, Transform, TransformContext, TransformSpec};

/// Name of the column that `--call` computes.
pub(super) const CALLED: &str = "result";

/// What is tried.
pub(super) struct Trial {
    pub(super) plugin: Arc<Plugin>,
    pub(super) config: Config,
    /// An expression that calls its functions; `None`: its transform.
    pub(super) call: Option<String>,
    pub(super) rows: RecordBatch,
    /// Where the rows come from, as the plugin is told.
    pub(super) origin: Origin,
}

/// Where rows come from.
pub(super) struct Origin {
    pub(super) pipeline: String,
    pub(super) table: String,
}

impl Default for Origin {
    /// Of a file.
    fn default() -> Self {
        Self {
            pipeline: "test".to_owned(),
            table: "rows".to_owned(),
        }
    }
}

/// What becomes of one row: the texts of its columns, or `None` if it is dropped.
pub(super) type After = Option<Vec<Option<String>>>;

/// What became of all rows.
pub(super) struct Outcome {
    /// Columns of the rows that stay.
    pub(super) names: Vec<String>,
    /// One for each row.
    pub(super) rows: Vec<After>,
}

/// Two ways that disagree.
pub(super) struct Disagreement {
    /// The row, counted from zero.
    pub(super) row: usize,
    /// The other way.
    pub(super) way: &'static str,
    /// What became of the row there.
    pub(super) found: After,
}

impl Trial {
    /// All rows as one batch.
    ///
    /// # Errors
    /// The plugin's, with the row that it failed at.
    pub(super) fn run(&self) -> Result<Outcome, Failure> {
        let transform = self.compile()?;
        let names = transform.schema();
        let names = names.fields().iter().map(|it| it.name().clone()).collect();
        let rows = apply(&transform, &self.rows)?;
        Ok(Outcome { names, rows })
    }

    /// The first row that becomes something else in another way: again, alone, or among others.
    ///
    /// # Errors
    /// A way in which the plugin fails.
    pub(super) fn disagreement(&self, whole: &[After]) -> Result<Option<Disagreement>, Failure> {
        let count = self.rows.num_rows();
        let ways: [(&str, Vec<usize>); 3] = [
            ("a fresh instance", vec![count]),
            ("batches of one row", vec![1; count]),
            ("batches of other sizes", uneven(count)),
        ];
        for (way, sizes) in ways {
            let transform = self.compile()?;
            let mut start = 0;
            for size in sizes {
                let part = self.rows.slice(start, size);
                let found = apply(&transform, &part)
                    .map_err(|failure| failure.while_doing(format!("it fails in {way}")))?;
                for (index, found) in found.into_iter().enumerate() {
                    let row = start + index;
                    if whole.get(row) != Some(&found) {
                        return Ok(Some(Disagreement { row, way, found }));
                    }
                }
                start += size;
            }
        }
        Ok(None)
    }

    /// With instances of its own.
    fn compile(&self) -> Result<Transform, Failure> {
        let input = self.rows.schema();
        let inputs = input.fields().iter();
        let mut outputs: Vec<OutputSpec> = inputs
            .map(|field| OutputSpec::input(field.name(), field.name()))
            .collect();
        let now = chrono::Utc::now();
        let mut context = TransformContext::new(now);
        let mut steps = Vec::new();
        match &self.call {
            Some(sql) => {
                let functions = PluginFunction::all(&self.plugin, &self.config);
                context = context.with_functions(functions.into_iter().map(Arc::new).collect());
                outputs.push(OutputSpec::sql(CALLED, sql));
            }
            None => steps.push(PluginStep {
                plugin: Arc::clone(&self.plugin),
                config: self.config.clone(),
                scope: Scope {
                    pipeline: self.origin.pipeline.clone(),
                    table: self.origin.table.clone(),
                    run_time_us: now.timestamp_micros(),
                },
                skips_rows: false,
                key: Vec::new(),
            }),
        }
        let spec = TransformSpec {
            table: self.origin.table.clone(),
            input,
            condition: None,
            outputs,
            steps,
        };
        Ok(Transform::compile(&spec, &context)?)
    }
}

fn apply(transform: &Transform, rows: &RecordBatch) -> Result<Vec<After>, Failure> {
    let applied = transform.apply(rows)?;
    let mut kept = texts(&applied.kept)?.into_iter();
    let is_dropped = |row: usize| applied.dropped.as_ref().is_some_and(|it| it.value(row));
    let rows = 0..rows.num_rows();
    Ok(rows
        .map(|row| if is_dropped(row) { None } else { kept.next() })
        .collect())
}

/// Each row as the texts of its values; NULL is `None`.
pub(super) fn texts(batch: &RecordBatch) -> Result<Vec<Vec<Option<String>>>, Failure> {
    let options = FormatOptions::default();
    let failed = |error: arrow_schema::ArrowError| {
        Failure::new(
            crate::exit_code::FAILED,
            format!("a value cannot be shown: {error}"),
        )
    };
    let columns = batch.columns().iter();
    let formatters = columns.map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
    let formatters = formatters.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let value = |formatter: &ArrayFormatter<'_>, column: usize, row: usize| {
        if batch.column(column).is_null(row) {
            return Ok(None);
        }
        formatter.value(row).try_to_string().map(Some)
    };
    (0..batch.num_rows())
        .map(|row| {
            let values = formatters.iter().enumerate();
            values
                .map(|(column, formatter)| value(formatter, column, row).map_err(failed))
                .collect()
        })
        .collect()
}

/// Sizes that differ and end anywhere, the same in each run.
fn uneven(count: usize) -> Vec<usize> {
    let mut sizes = Vec::new();
    let (mut left, mut next) = (count, 2);
    while left > 0 {
        let size = left.min(next);
        sizes.push(size);
        left -= size;
        next = next % 7 + 1;
    }
    sizes
}
