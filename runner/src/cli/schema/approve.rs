//! `schema approve`: lets a run do what `schema diff` shows, for these tables and no others.

use super::text::print;
use crate::cli::args::{Output, RunArgs, SchemaApproveArgs};
use crate::cli::pipeline::print_report;
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::hooks::HookEnvironment;
use crate::open::Ends;
use crate::plan_file::PlanFile;
use crate::planned;
use crate::progress::Progress;
use crate::report::RunReport;
use crate::rules::Rules;
use crate::run::{self, Extent, RunSettings};
use crate::schema_diff::{SchemaDiff, TableDiff};
use crate::stop::Stop;
use serde::Serialize;
use syncset_connector::PipelineKey;
use syncset_pipeline::{Consistency, PipelineSpec};

/// What was agreed to, and what came of it.
#[derive(Serialize)]
struct Approved {
    exit_code: i32,
    pipeline: String,
    dry_run: bool,
    /// What is to be done, table by table.
    tables: Vec<TableDiff>,
    /// Why nothing was done.
    failures: Vec<Failure>,
    /// The run, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<RunReport>,
}

/// Looks, compares with the plan, and runs these tables as approved.
pub(crate) async fn approve(context: &Context, args: &SchemaApproveArgs) -> Result<i32, Failures> {
    let spec = context.files.pipeline(&args.name)?;
    let key = PipelineKey {
        project: context.files.project.name.clone(),
        pipeline: args.name.clone(),
    };
    let plan = match &args.plan {
        Some(path) => Some(PlanFile::read(path, &key)?),
        None => None,
    };
    let mut approved = look(context, &spec, args, plan.as_ref()).await?;
    if context.output == Output::Text {
        approved.print();
    }
    if approved.failures.is_empty() && !approved.tables.is_empty() && !args.dry_run {
        let tables = approved.tables.iter().map(|table| table.table.clone());
        let report = run(context, &spec, args, (tables.collect(), plan.as_ref())).await?;
        if context.output == Output::Text {
            print_report(&report);
        }
        approved.exit_code = report.exit_code;
        approved.run = Some(report);
    }
    if context.output != Output::Text {
        render::json(&approved);
    }
    Ok(approved.exit_code)
}

/// What is to be done, or why not. Without a lease.
async fn look(
    context: &Context,
    spec: &PipelineSpec,
    args: &SchemaApproveArgs,
    plan: Option<&PlanFile>,
) -> Result<Approved, Failures> {
    let ends = Ends::open(spec, &context.files.project.name, 1).await?;
    let planned = planned::plan(&ends, spec, &args.tables, None).await?;
    let rules = Rules {
        on_selection_change: spec.on_selection_change,
        full_refresh: false,
        approved: &[],
    };
    let found = SchemaDiff::of(&ends, &planned, rules).await?;
    let tables: Vec<String> = match plan {
        Some(plan) => plan.tables_among(&args.tables),
        None => found.tables.iter().map(|it| it.table.clone()).collect(),
    };
    let failures = plan.map_or_else(Vec::new, |plan| plan.outdated(&tables, &found));
    let agreed = Rules {
        approved: &tables,
        ..rules
    };
    let mut found = SchemaDiff::of(&ends, &planned, agreed).await?;
    ends.close().await;
    found.tables.retain(|table| tables.contains(&table.table));
    found.settle_exit_code();
    Ok(Approved {
        exit_code: match failures.as_slice() {
            [] if found.exit_code == exit_code::DIFFERENT => exit_code::DONE,
            [] => found.exit_code,
            _ => exit_code::APPROVAL,
        },
        pipeline: args.name.clone(),
        dry_run: args.dry_run,
        tables: found.tables,
        failures,
        run: None,
    })
}

/// Runs these tables as `pipeline run --approve` does.
async fn run(
    context: &Context,
    spec: &PipelineSpec,
    args: &SchemaApproveArgs,
    (tables, plan): (Vec<String>, Option<&PlanFile>),
) -> Result<RunReport, Failures> {
    let stop = Stop::new(None);
    stop.on_signals()?;
    let run_args = RunArgs {
        tables: match spec.consistency {
            Consistency::Table => tables.clone(),
            // Its tables are committed together or not at all.
            Consistency::Pipeline => Vec::new(),
        },
        approve: tables,
        on_lock: args.on_lock,
        ..RunArgs::of(&args.name)
    };
    let settings = RunSettings {
        args: &run_args,
        project: &context.files.project.name,
        consistency: spec.consistency,
        lease: context.files.project.lease,
        retention: context.files.project.retention,
        on_selection_change: spec.on_selection_change,
        plan,
        hooks: &HookEnvironment::new(&context.files, std::slice::from_ref(spec), true),
        progress: Progress::new(context.output, &spec.name),
        stop,
        extent: Extent::Everything,
        is_measured: false,
        pipelines: &context.files.pipeline_names(),
    };
    Ok(run::run(spec, &settings).await)
}

impl Approved {
    fn print(&self) {
        self.tables.iter().for_each(print);
        self.failures.iter().for_each(render::failure);
        if self.tables.is_empty() && self.failures.is_empty() {
            render::text_out(&format!(
                "{}: nothing changed that the target has to follow\n",
                self.pipeline
            ));
        }
    }
}
