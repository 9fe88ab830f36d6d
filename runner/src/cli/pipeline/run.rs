//! `pipeline run`: syncs once and exits.

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
use crate::stop::Stop;
use std::collections::BTreeSet;

/// Runs pipelines one after another; the exit code is combined as for tables.
pub(crate) async fn run(context: &Context, args: &RunArgs) -> Result<i32, Failures> {
    if let Some(path) = &args.metrics_file {
        metrics::check_path(path)?;
    }
    let chosen = match choose(&context.files, &args.choice, Unnamed::Refused) {
        Ok(chosen) => chosen,
        Err(failures) => {
            count_refused(context, args, failures.exit_code());
            return Err(failures);
        }
    };
    let stop = Stop::new(args.max_duration);
    stop.on_signals().map_err(|error| {
        Failure::new(
            exit_code::FAILED,
            format!("cannot listen for signals: {error}"),
        )
    })?;
    let pipelines = context.files.pipeline_names();
    let hooks = HookEnvironment::new(&context.files, !args.no_hooks);
    let mut reports = Vec::with_capacity(chosen.specs.len());
    for spec in &chosen.specs {
        let settings = RunSettings {
            args,
            project: &context.files.project.name,
            consistency: spec.consistency,
            lease: context.files.project.lease,
            retention: context.files.project.retention,
            on_selection_change: spec.on_selection_change,
            hooks: &hooks,
            progress: Progress::new(context.output),
            stop: stop.clone(),
            extent: Extent::Everything,
            pipelines: &pipelines,
        };
        let report = run::run(spec, &settings).await;
        if context.output == Output::Text {
            print_report(&report);
        }
        reports.push(report);
    }
    let code = code_of(&reports, args);
    count(context, args, &reports);
    if context.output == Output::Json {
        match reports.as_slice() {
            [report] if chosen.is_one => render::json(report),
            _ => render::json(&serde_json::json!({ "exit_code": code, "pipelines": reports })),
        }
    }
    Ok(code)
}

/// Writes the metrics of all runs, if they are asked for.
fn count(context: &Context, args: &RunArgs, reports: &[RunReport]) {
    write_metrics(args, |metrics, former| {
        for report in reports {
            let nothing_to_do = args.skip_exit_code.map(i32::from);
            let was_done =
                report.exit_code == exit_code::DONE || Some(report.exit_code) == nothing_to_do;
            metrics.run(&context.files.project.name, report, was_done, former);
        }
    });
}

/// Writes that no run could begin, so that whoever watches need not wait for the last success to
/// grow old.
fn count_refused(context: &Context, args: &RunArgs, code: i32) {
    let names = match args.choice.names.is_empty() {
        true => context.files.pipeline_names(),
        false => args.choice.names.clone(),
    };
    write_metrics(args, |metrics, former| {
        for name in BTreeSet::from_iter(&names) {
            metrics.refused(&context.files.project.name, name, code, former);
        }
    });
}

fn write_metrics(args: &RunArgs, fill: impl FnOnce(&mut Metrics, &str)) {
    let Some(path) = &args.metrics_file else {
        return;
    };
    let former = std::fs::read_to_string(path).unwrap_or_default();
    let mut metrics = Metrics::new();
    fill(&mut metrics, &former);
    if let Err(error) = metrics.write(path) {
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

fn print_report(report: &RunReport) {
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
    if report.failures.is_empty() || !report.tables.is_empty() {
        render::text_out(&run::summary(report));
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
