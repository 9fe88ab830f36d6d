//! Runs that are about some rows only: refused ones, or ones that drifted.

use crate::cli::Context;
use crate::cli::args::RunArgs;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::hooks::HookEnvironment;
use crate::progress::Progress;
use crate::report::RunReport;
use crate::run::{self, Extent, RunSettings};
use crate::stop::Stop;
use syncset_pipeline::{Consistency, OnSelectionChange, PipelineSpec};

/// Writes the rows of an extent under the lease; everything else stays for the next run.
pub(in crate::cli) async fn write_rows(
    context: &Context,
    spec: &PipelineSpec,
    args: &RunArgs,
    extent: Extent,
) -> Result<RunReport, Failures> {
    let stop = Stop::new(None);
    stop.on_signals().map_err(|error| {
        let message = format!("cannot listen for signals: {error}");
        Failure::new(exit_code::FAILED, message)
    })?;
    let settings = RunSettings {
        args,
        project: &context.files.project.name,
        lease: context.files.project.lease,
        retention: context.files.project.retention,
        // It is no run of the pipeline.
        hooks: &HookEnvironment::new(&context.files, &[], false),
        progress: Progress::silent(),
        stop,
        // Such rows are no part of what a pipeline commits together.
        consistency: Consistency::Table,
        // Only a run agrees to an edited selection.
        on_selection_change: OnSelectionChange::Fail,
        extent,
        is_measured: false,
        pipelines: &context.files.pipeline_names(),
    };
    Ok(run::run(spec, &settings).await)
}
