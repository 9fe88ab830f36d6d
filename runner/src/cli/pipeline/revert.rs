//! `pipeline revert`: puts rows back as they were before a repair.

use super::run_summary::short_id;
use super::some_rows::{left_text, write_rows};
use super::{open_state, state_of};
use crate::cli::args::{Output, RevertArgs, RunArgs};
use crate::cli::quantity::{count, rows};
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::report::RunReport;
use crate::run::{Effect, Extent, Reverting};
use syncset_connector::KeptRun;

/// Puts the rows of a run back. Rows that were left alone are differences: exit code 4.
pub(crate) async fn revert(context: &Context, args: &RevertArgs) -> Result<i32, Failures> {
    let (key, store) = open_state(context, &args.name).await?;
    let runs = state_of(store.as_ref()).kept_runs(&key).await?;
    store.close().await;
    let run = one_of(&runs, args)?;
    let reverting = Reverting {
        run_id: run.run_id.clone(),
        effect: match args.dry_run {
            true => Effect::Try,
            false => Effect::Write,
        },
    };
    let run_args = RunArgs {
        on_lock: args.on_lock,
        ..RunArgs::of(&args.name)
    };
    let spec = context.files.pipeline(&args.name)?;
    let mut report = write_rows(context, &spec, &run_args, Extent::Reverted(reverting)).await?;
    // Tables of which nothing was kept are none of its business.
    report
        .tables
        .retain(|table| table.exact.is_some() || table.failure.is_some());
    match context.output {
        Output::Text => tell(&report),
        _ => render::json(&report),
    }
    Ok(report.exit_code)
}

/// The run whose id begins or, as the lists show it, ends like this.
fn one_of<'a>(runs: &'a [KeptRun], args: &RevertArgs) -> Result<&'a KeptRun, Failure> {
    let (name, id) = (&args.name, &args.run);
    let is_meant = |run: &&KeptRun| run.run_id.starts_with(id) || run.run_id.ends_with(id);
    let mut found = runs.iter().filter(is_meant);
    let wrong = |message: String| Failure::new(exit_code::CONFIG, message);
    match (found.next(), found.next()) {
        (Some(run), None) => Ok(run),
        (None, _) => Err(wrong(format!(
            "no run of `{name}` with an id like `{id}` keeps rows as they were"
        ))
        .with_hint(format!(
            "only a repair or a revert that wrote something does, as long as `retention: \
             {{ before_images: .. }}` says; `syncset pipeline history {name}` lists them"
        ))),
        (Some(_), Some(_)) => Err(wrong(format!(
            "several runs of `{name}` have an id like `{id}`"
        ))
        .with_hint("write more of it")),
    }
}

fn tell(report: &RunReport) {
    let word = match report.dry_run {
        true => "would revert",
        false => "reverted",
    };
    for table in &report.tables {
        render::text_out(&format!(
            "{word} {}: {} written, {} deleted\n",
            table.table,
            rows(table.rows_written),
            count(table.rows_deleted)
        ));
        if let Some(exact) = &table.exact {
            render::text_out(&left_text(exact));
        }
        if let Some(failure) = &table.failure {
            render::failure(failure);
        }
    }
    for failure in &report.failures {
        render::failure(failure);
    }
    let kept = report
        .tables
        .iter()
        .filter_map(|table| table.exact.as_ref());
    if !report.dry_run && kept.map(|exact| exact.rows_kept).sum::<u64>() > 0 {
        render::text_out(&format!(
            "`syncset pipeline revert {} {}` undoes it\n",
            report.pipeline,
            short_id(&report.run_id)
        ));
    }
}
