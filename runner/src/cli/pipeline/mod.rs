//! `pipeline ...`: one file per verb.

mod adopt;
pub(super) mod check;
mod history;
mod list;
mod plan;
mod repair;
mod reset;
mod revert;
mod run;
mod run_summary;
mod run_text;
mod some_rows;
mod status;
mod unlock;
mod validate;

pub(super) use run::print_report;
pub(super) use run_summary::instant;
pub(crate) use run_text::counts;
pub(super) use some_rows::write_rows;

use crate::cli::Context;
use crate::cli::args::PipelineVerb;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::open::open_store;
use syncset_connector::{PipelineKey, Role, StateStore, Store};
use syncset_pipeline::PipelineSpec;

/// Runs one verb; returns its exit code.
pub(crate) async fn dispatch(context: &Context, verb: PipelineVerb) -> Result<i32, Failures> {
    match verb {
        PipelineVerb::List(choice) => list::list(context, &choice),
        PipelineVerb::Validate(choice) => validate::validate(context, &choice),
        PipelineVerb::Plan(args) => plan::plan(context, &args).await,
        PipelineVerb::Run(args) => run::run(context, &args).await,
        PipelineVerb::Check(args) => check::check(context, &args).await,
        PipelineVerb::Repair(args) => repair::repair(context, &args).await,
        PipelineVerb::Revert(args) => revert::revert(context, &args).await,
        PipelineVerb::Status(args) => status::status(context, &args).await,
        PipelineVerb::History(args) => history::history(context, &args).await,
        PipelineVerb::Reset { name, tables } => reset::reset(context, &name, &tables).await,
        PipelineVerb::Adopt(args) => adopt::adopt(context, &args).await,
        PipelineVerb::Unlock { name } => unlock::unlock(context, &name).await,
    }
}

/// The store that keeps a pipeline's state, opened without the source.
pub(super) async fn open_state(
    context: &Context,
    name: &str,
) -> Result<(PipelineKey, Box<dyn Store>), Failures> {
    let spec = context.files.pipeline(name)?;
    Ok(open_state_of(context, &spec).await?)
}

/// The same for a pipeline that was read.
pub(super) async fn open_state_of(
    context: &Context,
    spec: &PipelineSpec,
) -> Result<(PipelineKey, Box<dyn Store>), Failure> {
    let key = PipelineKey {
        project: context.files.project.name.clone(),
        pipeline: spec.name.clone(),
    };
    let store = open_store(&spec.target, Role::Target, &key, 1).await?;
    if store.state().is_none() {
        let message = format!("`{}` keeps no state", spec.target.kind);
        return Err(Failure::new(exit_code::CONFIG, message));
    }
    Ok((key, store))
}

/// The state of a store that [`open_state_of`] opened.
pub(super) fn state_of(store: &dyn Store) -> &dyn StateStore {
    store.state().expect("checked when it was opened")
}
