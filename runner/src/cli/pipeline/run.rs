//! `pipeline run`: syncs once and exits.

use crate::cli::args::{Output, RunArgs};
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::progress::Progress;
use crate::report::RunReport;
use crate::run::{self, RunSettings};
use crate::stop::Stop;
use std::collections::BTreeSet;

/// Runs pipelines one after another; the exit code is combined as for tables.
pub(crate) async fn run(context: &Context, args: &RunArgs) -> Result<i32, Failures> {
    let mut specs = Vec::with_capacity(args.names.len());
    let mut failures = Vec::new();
    for name in &args.names {
        match context.files.pipeline(name) {
            Ok(spec) => specs.push(spec),
            Err(found) => failures.extend(found.0),
        }
    }
    if !failures.is_empty() {
        return Err(Failures(failures));
    }
    let stop = Stop::new(args.max_duration);
    stop.on_signals().map_err(|error| {
        Failure::new(
            exit_code::FAILED,
            format!("cannot listen for signals: {error}"),
        )
    })?;
    let mut reports = Vec::with_capacity(specs.len());
    for spec in &specs {
        let settings = RunSettings {
            args,
            project: &context.files.project.name,
            lease: context.files.project.lease,
            retention: context.files.project.retention,
            progress: Progress::new(context.output),
            stop: stop.clone(),
        };
        let report = run::run(spec, &settings).await;
        if context.output == Output::Text {
            print_report(&report);
        }
        reports.push(report);
    }
    if context.output == Output::Json {
        match reports.as_slice() {
            [report] => render::json(report),
            _ => render::json(&reports),
        }
    }
    Ok(exit_code::of_pipelines(
        &reports
            .iter()
            .map(|report| report.exit_code)
            .collect::<Vec<_>>(),
    ))
}

fn print_report(report: &RunReport) {
    for warning in &report.warnings {
        render::talk(&format!("warning: {warning}\n"));
    }
    let mut said = BTreeSet::new();
    for table in &report.tables {
        // Who holds the watermarks back is said once, not once a table.
        for warning in table
            .warnings
            .iter()
            .filter(|&warning| said.insert(warning.clone()))
        {
            render::talk(&format!("warning: table `{}`: {warning}\n", table.table));
        }
        if let Some(failure) = &table.failure {
            render::failure(failure);
        }
    }
    report.failures.iter().for_each(render::failure);
    if report.failures.is_empty() || !report.tables.is_empty() {
        render::text_out(&run::summary(report));
    }
}
