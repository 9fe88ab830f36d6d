//! `pipeline repair`: writes what drifted as it is at the source, then compares again.

use super::check::print;
use super::run_summary::short_id;
use super::some_rows::{left_text, write_rows};
use super::{open_state_of, state_of};
use crate::check::{self, CheckReport, CheckSettings, CheckedTable, How, Reader, TableWrites};
use crate::cli::args::{Output, RepairArgs, RunArgs};
use crate::cli::quantity::{count, rows};
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::report::{ExactRows, RunReport};
use crate::run::{Drifted, Extent, Repairs};
use crate::shell;
use arrow_select::concat::concat_batches;
use serde::Serialize;
use std::collections::BTreeMap;
use syncset_connector::{PipelineKey, Retention};
use syncset_pipeline::PipelineSpec;

/// Rows of one table that are repaired whatever part of it they are.
const ROWS_ALWAYS_REPAIRED: u64 = 50;

/// Runs among which that of the repair is looked for: others may have ended since.
const RUNS_ASKED: u32 = 20;

/// What a repair did.
#[derive(Serialize)]
struct Repair {
    exit_code: i32,
    pipeline: String,
    dry_run: bool,
    /// The run that wrote; what it overwrote is kept under this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<String>,
    /// What would be written, of a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    writes: Option<Vec<TableWrites>>,
    /// What differed.
    found: Vec<CheckedTable>,
    /// What was written, by tables; none if nothing was to be written.
    repaired: Vec<Repaired>,
    /// What differs now; empty if nothing was written.
    left: Vec<CheckedTable>,
    /// Why nothing was written, or why the writing failed as a whole.
    failures: Vec<Failure>,
}

/// One table that was repaired.
#[derive(Serialize)]
struct Repaired {
    table: String,
    rows_written: u64,
    rows_deleted: u64,
    rows_rejected: u64,
    #[serde(rename = "row_outcomes")]
    exact: ExactRows,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure>,
}

/// Compares, repairs, compares again.
pub(crate) async fn repair(context: &Context, args: &RepairArgs) -> Result<i32, Failures> {
    let spec = context.files.pipeline(&args.name)?;
    let found = look(context, &spec, args, &args.tables).await?;
    if context.output == Output::Text {
        // Of a dry run, stdout is a script.
        print(
            &found,
            if args.dry_run {
                render::talk
            } else {
                render::text_out
            },
        );
    }
    let mut repair = Repair {
        exit_code: found.exit_code,
        pipeline: args.name.clone(),
        dry_run: args.dry_run,
        run_id: None,
        writes: None,
        repaired: Vec::new(),
        left: Vec::new(),
        failures: Vec::new(),
        found: found.tables,
    };
    let too_many: Vec<_> = repair
        .found
        .iter()
        .filter_map(|table| too_many(table, args))
        .collect();
    let rows = drifted(&mut repair.found)?;
    if !too_many.is_empty() {
        repair.exit_code = exit_code::GUARD;
        repair.failures = too_many;
    } else if args.dry_run {
        let project = &context.files.project.name;
        let writes = check::writes(&spec, project, &repair.found).await?;
        if context.output == Output::Text {
            for statement in writes.statements() {
                render::text_out(&format!("{statement}\n"));
            }
        }
        repair.writes = Some(writes.tables);
    } else if !rows.is_empty() {
        let tables: Vec<String> = rows.keys().cloned().collect();
        let report = write(context, &spec, args, rows).await?;
        repair.take(&report);
        let left = look(context, &spec, args, &tables).await?;
        if context.output == Output::Text {
            repair.tell();
            print(&left, render::text_out);
        }
        repair.exit_code = match report.exit_code {
            exit_code::DONE => with_the_rest(&left, &repair.found, &tables),
            code => code,
        };
        repair.left = left.tables;
        if repair.exit_code != report.exit_code {
            let code = (report.run_id.as_str(), repair.exit_code);
            if let Err(failure) = record_code(context, &spec, code).await {
                tracing::warn!(error = %failure.message, "could not store the repair's exit code");
            }
        }
    }
    match context.output {
        Output::Text => repair.failures.iter().for_each(render::failure),
        _ => render::json(&repair),
    }
    Ok(repair.exit_code)
}

/// Stores what the second check says with the run that wrote.
async fn record_code(
    context: &Context,
    spec: &PipelineSpec,
    (run_id, code): (&str, i32),
) -> Result<(), Failure> {
    let (key, store) = open_state_of(context, spec).await?;
    let state = state_of(store.as_ref());
    let keep = context.files.project.retention;
    let keep = Retention {
        runs: keep.runs,
        rejected: keep.rejected,
        before_images: keep.before_images,
        streams: None,
    };
    let runs = state.load(&key, RUNS_ASKED).await?.runs;
    if let Some(run) = runs.iter().find(|run| run.run_id == run_id) {
        let mut run = run.clone();
        run.exit_code = Some(code);
        run.report["exit_code"] = code.into();
        state.record_run(&key, &run, &keep).await?;
    }
    store.close().await;
    Ok(())
}

/// The exit code of the second check, and of the tables that the first one alone looked at.
fn with_the_rest(left: &CheckReport, found: &[CheckedTable], again: &[String]) -> i32 {
    let rest = found.iter().filter(|table| !again.contains(&table.table));
    let rest = rest.map(|table| table.exit_code);
    check::exit_code_of(rest.chain(left.tables.iter().map(|table| table.exit_code)))
}

async fn look(
    context: &Context,
    spec: &PipelineSpec,
    args: &RepairArgs,
    tables: &[String],
) -> Result<CheckReport, Failures> {
    let settings = CheckSettings {
        project: &context.files.project.name,
        tables,
        samples: args.samples,
        how: How {
            condition: args.condition.clone(),
            min_age: args.min_age,
            load: args.max_load,
            ..How::default()
        },
    };
    check::check(spec, &settings).await
}

/// What drifted, by tables.
fn drifted(tables: &mut [CheckedTable]) -> Result<BTreeMap<String, Drifted>, Failure> {
    let mut rows = BTreeMap::new();
    for table in tables {
        let Some(first) = table.drifted_keys.first() else {
            continue;
        };
        let all = concat_batches(&first.schema(), &table.drifted_keys).map_err(|error| {
            let message = format!("table `{}`: its keys make no batch: {error}", table.table);
            Failure::new(exit_code::FAILED, message)
        })?;
        let seen = std::mem::take(&mut table.seen);
        rows.insert(table.table.clone(), Drifted { keys: all, seen });
    }
    Ok(rows)
}

/// Why so many rows of a table are not repaired; `None` if they are.
fn too_many(table: &CheckedTable, args: &RepairArgs) -> Option<Failure> {
    let drifted = table.drifted();
    let all = table.rows_source.max(table.rows_target).max(1);
    let percent = drifted as f64 * 100.0 / all as f64;
    let is_part = drifted <= ROWS_ALWAYS_REPAIRED || percent <= args.max_percent;
    if is_part && drifted <= args.max_rows {
        return None;
    }
    let message = format!(
        "table `{}`: {} of {} would be repaired, more than `--max-rows {}` or `--max-percent {}` \
         allow; nothing was written",
        table.table,
        rows(drifted),
        count(all),
        args.max_rows,
        args.max_percent,
    );
    Some(Failure::new(exit_code::GUARD, message).with_hint(format!(
        "find out why so many rows differ; then allow more, or load the table again: \
         syncset pipeline run {} --tables {} --full-refresh",
        args.name,
        shell::word(&table.table)
    )))
}

/// Writes these rows, under the lease.
async fn write(
    context: &Context,
    spec: &PipelineSpec,
    args: &RepairArgs,
    rows: BTreeMap<String, Drifted>,
) -> Result<RunReport, Failures> {
    let run_args = RunArgs {
        tables: rows.keys().cloned().collect(),
        allow_deletes: args.allow_deletes.clone(),
        on_lock: args.on_lock,
        ..RunArgs::of(&args.name)
    };
    let key = PipelineKey {
        project: context.files.project.name.clone(),
        pipeline: spec.name.clone(),
    };
    let reader = Reader::open(&spec.target, &key, 1).await?;
    let repairs = Repairs { rows, reader };
    write_rows(context, spec, &run_args, Extent::Rows(repairs)).await
}

impl Repair {
    fn take(&mut self, report: &RunReport) {
        self.failures = report.failures.clone();
        self.run_id = Some(report.run_id.clone());
        let tables = report.tables.iter().map(|table| Repaired {
            table: table.table.clone(),
            rows_written: table.rows_written,
            rows_deleted: table.rows_deleted,
            rows_rejected: table.rows_rejected,
            exact: table.exact.clone().unwrap_or_default(),
            failure: table.failure.clone(),
        });
        self.repaired = tables.collect();
    }

    fn tell(&self) {
        let kept: u64 = self.repaired.iter().map(|it| it.exact.rows_kept).sum();
        for table in &self.repaired {
            render::text_out(&format!(
                "repaired {}: {} written, {} deleted\n",
                table.table,
                rows(table.rows_written),
                count(table.rows_deleted)
            ));
            render::text_out(&left_text(&table.exact));
            if let Some(failure) = &table.failure {
                render::failure(failure);
            }
        }
        if let Some(run_id) = self.run_id.as_ref().filter(|_| kept > 0) {
            render::text_out(&format!(
                "what they were is kept: `syncset pipeline revert {} {}` puts {} back\n",
                self.pipeline,
                short_id(run_id),
                rows(kept),
            ));
        }
    }
}
