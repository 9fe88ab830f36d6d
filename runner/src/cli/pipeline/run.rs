//! `pipeline run`: syncs once and exits.

use super::run_text;
use crate::cli::args::{Output, RunArgs};
use crate::cli::choice::{Unnamed, choose};
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::hooks::HookEnvironment;
use crate::logging;
use crate::metrics::{self, Metrics};
use crate::progress::Progress;
use crate::report::{HookReport, RunReport};
use crate::run::{self, Extent, RunSettings};
use crate::stop::{Stop, seconds_since_epoch};
use crate::telemetry::Telemetry;
use std::collections::BTreeSet;

/// Runs pipelines one after another; the exit code is combined as for tables.
pub(crate) async fn run(context: &Context, args: &RunArgs) -> Result<i32, Failures> {
    if let Some(path) = &args.metrics_file {
        metrics::check_path(path)?;
    }
    let stop = Stop::new(args.max_duration);
    let telemetry = Telemetry::start(|name| variable(context, name));
    let chosen = match choose(&context.files, &args.choice, Unnamed::Refused) {
        Ok(chosen) => chosen,
        Err(failures) => {
            refuse(context, args, telemetry, &failures, &stop).await;
            return Err(failures);
        }
    };
    stop.on_signals()?;
    let pipelines = context.files.pipeline_names();
    let hooks = HookEnvironment::new(&context.files, &chosen.specs, !args.no_hooks);
    let mut reports = Vec::with_capacity(chosen.specs.len());
    for spec in &chosen.specs {
        let settings = RunSettings {
            args,
            project: &context.files.project.name,
            consistency: spec.consistency,
            lease: context.files.project.lease,
            retention: context.files.project.retention,
            on_selection_change: spec.on_selection_change,
            plan: None,
            hooks: &hooks,
            progress: Progress::new(context.output, &spec.name).told_to(
                telemetry
                    .as_ref()
                    .and_then(|it| it.observer(&context.files.project.name, Some(spec))),
            ),
            stop: stop.clone(),
            extent: Extent::Everything,
            is_measured: args.metrics_file.is_some() || telemetry.is_some(),
            pipelines: &pipelines,
        };
        let report = run::run(spec, &settings).await;
        if context.output == Output::Text {
            print_report(&report);
        }
        reports.push(report);
    }
    let code = code_of(&reports, args);
    let now = seconds_since_epoch();
    let metrics = |former: &str| metrics_of(context, args, &reports, (now, former));
    write_metrics(args, metrics);
    if context.output == Output::Json {
        match reports.as_slice() {
            [report] if chosen.is_one => render::json(report),
            _ => render::json(&serde_json::json!({ "exit_code": code, "pipelines": reports })),
        }
    }
    if let Some(telemetry) = telemetry {
        // A dry run says nothing about how fresh the target is.
        let metrics = (!args.dry_run).then(|| metrics(""));
        telemetry.finish(metrics, &stop).await;
    }
    Ok(code)
}

/// A variable of the environment, or of `.env`.
fn variable(context: &Context, name: &str) -> Option<String> {
    let stored = || {
        let mut entries = context.files.dotenv();
        let found = entries.find(|(known, _)| *known == name);
        found.map(|(_, value)| value.to_owned())
    };
    std::env::var(name).ok().or_else(stored)
}

/// The metrics of all runs, which were over at `now`. `former`: the text of the metrics file, if
/// there is one.
fn metrics_of(
    context: &Context,
    args: &RunArgs,
    reports: &[RunReport],
    (now, former): (i64, &str),
) -> Metrics {
    let mut metrics = Metrics::at(now);
    for report in reports {
        let nothing_to_do = args.skip_exit_code.map(i32::from);
        let was_done =
            report.exit_code == exit_code::DONE || Some(report.exit_code) == nothing_to_do;
        metrics.run(&context.files.project.name, report, was_done, former);
    }
    metrics
}

/// Tells that no run could begin, so that whoever watches need not wait for the last success to
/// grow old.
async fn refuse(
    context: &Context,
    args: &RunArgs,
    telemetry: Option<Telemetry>,
    failures: &Failures,
    stop: &Stop,
) {
    let project = &context.files.project.name;
    let names = match args.choice.names.is_empty() {
        true => context.files.pipeline_names(),
        false => args.choice.names.clone(),
    };
    let names = BTreeSet::from_iter(&names);
    let now = seconds_since_epoch();
    let refused = |former: &str| {
        let mut metrics = Metrics::at(now);
        for name in &names {
            metrics.refused(project, name, failures.exit_code(), former);
        }
        metrics
    };
    write_metrics(args, refused);
    let Some(telemetry) = telemetry else { return };
    for name in &names {
        let mut report = RunReport::new(name, "", args.dry_run);
        let Some(observer) = telemetry.observer(project, None) else {
            break;
        };
        observer.run_started(&report);
        report.failures.clone_from(&failures.0);
        report.exit_code = failures.exit_code();
        observer.run_finished(&report);
    }
    let metrics = (!args.dry_run).then(|| refused(""));
    telemetry.finish(metrics, stop).await;
}

/// Writes the metrics file, if it is asked for. `metrics` is given the text of the former one.
fn write_metrics(args: &RunArgs, metrics: impl FnOnce(&str) -> Metrics) {
    let Some(path) = &args.metrics_file else {
        return;
    };
    let former = std::fs::read_to_string(path).unwrap_or_default();
    if let Err(error) = metrics(&former).write(path) {
        // The rows are where they belong; that the file grows old tells whoever watches it.
        let path = path.display();
        render::warning(
            &format!("cannot write the metrics to `{path}`: {error}"),
            None,
        );
    }
}

/// The exit code of all runs. Runs that had nothing to do are as good as those that are done, and
/// only if all of them had nothing to do, the process says so.
fn code_of(reports: &[RunReport], args: &RunArgs) -> i32 {
    let skip_code = args.skip_exit_code.map(i32::from);
    let is_skip = |report: &RunReport| Some(report.exit_code) == skip_code;
    if reports.iter().all(is_skip) {
        return skip_code.unwrap_or(exit_code::DONE);
    }
    let codes = reports.iter().map(|report| match is_skip(report) {
        true => exit_code::DONE,
        false => report.exit_code,
    });
    exit_code::of_tables(&codes.collect::<Vec<_>>())
}

/// The failures come after the tables and before the last line, so that they stand where eyes are.
pub(in crate::cli) fn print_report(report: &RunReport) {
    let has_summary = report.failures.is_empty() || !report.tables.is_empty();
    if has_summary {
        render::text_out(&run_text::tables(report));
    }
    for warning in &report.warnings {
        render::warning(warning, None);
    }
    let mut said = BTreeSet::new();
    for table in &report.tables {
        // Who holds the watermarks back is said once, not once a table.
        for warning in table
            .warnings
            .iter()
            .filter(|&warning| said.insert(warning.clone()))
        {
            render::warning(warning, Some(&table.table));
        }
        if let Some(failure) = &table.failure {
            render::failure(failure);
        }
    }
    report.failures.iter().for_each(render::failure);
    report
        .hooks
        .iter()
        .for_each(|hook| print_hook(hook, report));
    if logging::is_json() {
        let ended = serde_json::json!({
            "message": "run finished",
            "pipeline": report.pipeline,
            "run_id": report.run_id,
            "exit_code": report.exit_code,
            "duration_ms": report.duration_ms,
        });
        render::event("INFO", &ended);
    }
    if has_summary {
        render::text_out(&run_text::verdict(report));
    }
}

fn print_hook(hook: &HookReport, report: &RunReport) {
    if report.dry_run {
        let (list, place) = (hook.hook, &hook.place);
        render::talk(&format!("hook `{list}` would be run ({place})\n"));
    }
    let Some(failure) = &hook.failure else { return };
    let is_said = |said: &Failure| said.message == failure.message;
    if report.failures.iter().any(is_said) {
        return;
    }
    if hook.fails_run {
        render::failure(failure);
    } else {
        let causes = failure.causes.iter().map(|cause| format!(": {cause}"));
        let causes: String = causes.collect();
        render::warning(&format!("{}{causes}", failure.message), None);
    }
}
