//! `doctor`: says what is missing before a pipeline can run, and what mends it. Changes nothing.

use crate::cli::args::Output;
use crate::cli::{Context, render};
use crate::decision::{Action, decide};
use crate::exit_code;
use crate::failure::{Failure, Failures, exit_code_of};
use crate::open::Ends;
use crate::planned::{self, PlannedTable};
use crate::rules::{Rules, not_agreed};
use clap::Args;
use serde::Serialize;
use syncset_connector::{Check, CheckStatus, Diagnosis, ErrorClass, Examination, WriteMode};
use syncset_pipeline::{PipelineSpec, select_tables};

/// Clocks of both servers that differ by less are called equal.
const CLOCKS_MS_MAX: i64 = 2_000;

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Names of files in pipelines/, without `.yaml`; all pipelines if none is named
    pub(crate) names: Vec<String>,
    /// Chunks and tables that a run would read and write at the same time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: u16,
}

/// One check as it is printed.
#[derive(Serialize)]
struct Finding {
    /// The pipeline; absent for what concerns the project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pipeline: Option<String>,
    #[serde(flatten)]
    check: Check,
    /// What a run would exit with; 0 unless it is a problem.
    exit_code: i32,
}

/// Findings of one pipeline, or of the project.
struct Findings {
    pipeline: Option<String>,
    found: Vec<Finding>,
}

impl Findings {
    fn of(pipeline: Option<&str>) -> Self {
        Self {
            pipeline: pipeline.map(str::to_owned),
            found: Vec::new(),
        }
    }

    fn add(&mut self, check: Check) {
        let exit_code = match check.status {
            CheckStatus::Problem => exit_code_of(check.class),
            CheckStatus::Ok | CheckStatus::Warning => exit_code::DONE,
        };
        self.found.push(Finding {
            pipeline: self.pipeline.clone(),
            check,
            exit_code,
        });
    }

    fn add_failure(&mut self, id: &str, failure: Failure) {
        let mut message = failure.message;
        for cause in failure.causes {
            message.push_str(&format!(": {cause}"));
        }
        let mut check = Check::problem(id, ErrorClass::Store, message);
        check.hint = failure.hint;
        self.found.push(Finding {
            pipeline: self.pipeline.clone(),
            check,
            exit_code: failure.exit_code,
        });
    }

    fn add_failures(&mut self, id: &str, failures: Failures) {
        for failure in failures.0 {
            self.add_failure(id, failure);
        }
    }

    /// Adds what a store said, as checks of that side.
    fn add_diagnosis(&mut self, side: &str, diagnosis: &Diagnosis) {
        for check in &diagnosis.checks {
            let mut check = check.clone();
            check.id = format!("{side}.{}", check.id);
            self.add(check);
        }
    }

    fn has_problem(&self) -> bool {
        self.found
            .iter()
            .any(|one| one.check.status == CheckStatus::Problem)
    }
}

/// Examines the project and its pipelines.
pub(crate) async fn doctor(context: &Context, args: &DoctorArgs) -> Result<i32, Failures> {
    let names = match args.names.is_empty() {
        true => context.files.pipeline_names(),
        false => args.names.clone(),
    };
    let mut project = Findings::of(None);
    examine_project(context, &names, &mut project);
    let mut found = project.found;
    for name in &names {
        found.extend(examine(context, name, args).await.found);
    }
    let is_problem = |one: &&Finding| one.check.status == CheckStatus::Problem;
    let codes: Vec<_> = found
        .iter()
        .filter(is_problem)
        .map(|one| one.exit_code)
        .collect();
    let code = exit_code::of_tables(&codes);
    match context.output {
        Output::Text => render::text_out(&text(&found)),
        _ => render::json(&serde_json::json!({ "exit_code": code, "checks": found })),
    }
    Ok(code)
}

/// What the files say before any pipeline is looked at.
fn examine_project(context: &Context, names: &[String], findings: &mut Findings) {
    let count = context.files.project.connections.len();
    findings.add(Check::ok(
        "files.project",
        format!(
            "syncset.yaml is right; it has {}",
            counted(count, "connection")
        ),
    ));
    if names.is_empty() {
        findings.add(
            Check::warning("files.pipelines", "the project has no pipeline")
                .with_hint("`syncset init` writes one from two databases"),
        );
    }
    if let Some(path) = context.files.open_dotenv() {
        findings.add(
            Check::warning("files.env", "other users of this machine can read .env")
                .with_hint(format!("chmod 600 {path}")),
        );
    }
}

async fn examine(context: &Context, name: &str, args: &DoctorArgs) -> Findings {
    let mut findings = Findings::of(Some(name));
    let spec = match context.files.pipeline(name) {
        Ok(spec) => spec,
        Err(failures) => {
            findings.add_failures("files.pipeline", failures);
            return findings;
        }
    };
    findings.add(Check::ok(
        "files.pipeline",
        format!("{} is right", spec.path),
    ));
    let project = &context.files.project.name;
    match Ends::open(&spec, project, usize::from(args.jobs)).await {
        Ok(ends) => {
            examine_stores(&ends, &spec, &mut findings).await;
            ends.close().await;
        }
        Err(failures) => findings.add_failures("connection", failures),
    }
    findings
}

async fn examine_stores(ends: &Ends, spec: &PipelineSpec, findings: &mut Findings) {
    // The files and the catalogue say which tables it is about; without them the stores alone are
    // examined.
    let drafted = draft(ends, spec).await;
    let tables = drafted.as_deref().unwrap_or_default();
    let source = Examination {
        reads: tables.iter().map(|table| table.plan.read.clone()).collect(),
        ..Examination::default()
    };
    let target = Examination {
        writes: tables.iter().map(|table| table.target.clone()).collect(),
        appends: tables
            .iter()
            .filter(|table| table.write() == WriteMode::Append)
            .map(|table| table.target.name.clone())
            .collect(),
        ..Examination::default()
    };
    let (source, target) = tokio::join!(
        ends.source_store().diagnose(&source),
        ends.target_store().diagnose(&target),
    );
    let mut clocks = Vec::new();
    for (side, outcome) in [("source", source), ("target", target)] {
        match outcome {
            Ok(diagnosis) => {
                clocks.extend(diagnosis.clock_ahead_ms);
                findings.add_diagnosis(side, &diagnosis);
            }
            Err(error) => findings.add_failure(side, Failure::from(error)),
        }
    }
    if let [source, target] = clocks[..] {
        findings.add(compare_clocks(source - target));
    }
    match drafted {
        Err(failures) => findings.add_failures("plan", failures),
        Ok(_) if findings.has_problem() => findings.add(Check::warning(
            "plan",
            "the plan is not made before the problems above are mended",
        )),
        Ok(tables) => examine_plan(ends, spec, tables, findings).await,
    }
}

/// The tables that the pipeline is about. What is stored of them is taken into account as far as it
/// can be read: what keeps it from that shows when the target is examined.
async fn draft(ends: &Ends, spec: &PipelineSpec) -> Result<Vec<PlannedTable>, Failures> {
    let (listed, state) = tokio::join!(
        ends.source_store().list_tables(),
        ends.state().load(&ends.key, 0)
    );
    let mut selected = select_tables(spec, &listed?, &[])?;
    planned::remember(&mut selected, &state.unwrap_or_default());
    planned::draft(ends, spec, selected, None).await
}

fn compare_clocks(ahead_ms: i64) -> Check {
    if ahead_ms.abs() < CLOCKS_MS_MAX {
        return Check::ok("clocks", "the clocks of both servers agree");
    }
    let seconds = ahead_ms.unsigned_abs() / 1_000;
    let message = format!("the clocks of source and target differ by {seconds} s");
    Check::warning("clocks", message).with_hint("let both machines set their clocks by NTP")
}

/// What only a whole plan tells: types, keys, tables that are not ours, edited selections.
async fn examine_plan(
    ends: &Ends,
    spec: &PipelineSpec,
    tables: Vec<PlannedTable>,
    findings: &mut Findings,
) {
    let state = match ends.state().load(&ends.key, 0).await {
        Ok(state) => state,
        Err(error) => return findings.add_failure("target.state", Failure::from(error)),
    };
    let planned = match planned::complete(ends, spec, tables, state).await {
        Ok(planned) => planned,
        Err(failures) => return findings.add_failures("plan", failures),
    };
    let state = &planned.state;
    let count = planned.tables.len();
    let rules = Rules {
        on_selection_change: spec.on_selection_change,
        full_refresh: false,
        approved: &[],
    };
    for table in &planned.tables {
        for failure in &table.failures {
            findings.add_failure("plan", failure.clone());
        }
        match decide(table, state, &ends.key, rules) {
            Ok(decision) if decision.action == Action::Approve => findings.add_failure(
                "plan",
                not_agreed(table, &ends.key.pipeline, &decision, rules),
            ),
            Ok(_) => {}
            Err(failures) => findings.add_failures("plan", failures),
        }
    }
    if !findings.has_problem() {
        findings.add(Check::ok(
            "plan",
            format!("a run can sync {}", counted(count, "table")),
        ));
    }
}

fn text(found: &[Finding]) -> String {
    let mut text = String::new();
    let mut title: Option<&Option<String>> = None;
    for one in found {
        if title != Some(&one.pipeline) {
            let name = one.pipeline.as_deref().unwrap_or("project");
            let separator = if title.is_some() { "\n" } else { "" };
            text.push_str(&format!("{separator}{name}\n"));
            title = Some(&one.pipeline);
        }
        let check = &one.check;
        let status = match check.status {
            CheckStatus::Ok => "ok",
            CheckStatus::Warning => "warning",
            CheckStatus::Problem => "problem",
        };
        text.push_str(&format!("  {status:7}  {}: {}\n", check.id, check.message));
        for line in check.hint.iter() {
            text.push_str(&format!("           hint: {line}\n"));
        }
        for line in &check.sql {
            text.push_str(&format!("           sql: {line}\n"));
        }
    }
    let count = |status: CheckStatus| {
        found
            .iter()
            .filter(|one| one.check.status == status)
            .count()
    };
    let (problems, warnings) = (count(CheckStatus::Problem), count(CheckStatus::Warning));
    text.push_str(&format!(
        "\n{}, {}\n",
        counted(problems, "problem"),
        counted(warnings, "warning")
    ));
    text
}

/// `1 problem`, `2 problems`.
fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
