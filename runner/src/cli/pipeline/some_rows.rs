//! Runs that are about some rows only: refused ones, or ones that drifted.

use crate::cli::Context;
use crate::cli::args::RunArgs;
use crate::cli::quantity::rows;
use crate::failure::Failures;
use crate::hooks::HookEnvironment;
use crate::progress::Progress;
use crate::report::{ExactRows, RunReport};
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
    stop.on_signals()?;
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
        plan: None,
        extent,
        is_measured: false,
        pipelines: &context.files.pipeline_names(),
    };
    Ok(run::run(spec, &settings).await)
}

/// What a repair or a revert left alone, for people.
pub(super) fn left_text(exact: &ExactRows) -> String {
    let mut text = String::new();
    if exact.changed_meanwhile > 0 {
        let keys: Vec<_> = exact.left.iter().map(ToString::to_string).collect();
        text.push_str(&format!(
            "  {} changed meanwhile and left alone: {}\n",
            rows(exact.changed_meanwhile),
            keys.join(", ")
        ));
    }
    if exact.changed_at_source > 0 {
        text.push_str(&format!(
            "  {} changed at the source meanwhile: the next run brings them\n",
            rows(exact.changed_at_source)
        ));
    }
    if exact.already_reverted > 0 {
        text.push_str(&format!(
            "  {} as before the run already\n",
            rows(exact.already_reverted)
        ));
    }
    text
}
