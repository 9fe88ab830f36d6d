//! `pipeline ...`: one file per verb.

mod plan;
mod reset;
mod run;
mod status;
mod unlock;
mod validate;

use crate::cli::Context;
use crate::cli::args::PipelineVerb;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::open::open_store;
use syncset_connector::{PipelineKey, Role, StateStore, Store};

/// Runs one verb; returns its exit code.
pub(crate) async fn dispatch(context: &Context, verb: PipelineVerb) -> Result<i32, Failures> {
    match verb {
        PipelineVerb::Validate { names } => validate::validate(context, &names),
        PipelineVerb::Plan(args) => plan::plan(context, &args).await,
        PipelineVerb::Run(args) => run::run(context, &args).await,
        PipelineVerb::Status { name, max_age } => status::status(context, &name, max_age).await,
        PipelineVerb::Reset { name, tables } => reset::reset(context, &name, &tables).await,
        PipelineVerb::Unlock { name } => unlock::unlock(context, &name).await,
    }
}

/// The store that keeps a pipeline's state, opened without the source.
async fn open_state(
    context: &Context,
    name: &str,
) -> Result<(PipelineKey, Box<dyn Store>), Failures> {
    let spec = context.files.pipeline(name)?;
    let key = PipelineKey {
        project: context.files.project.name.clone(),
        pipeline: spec.name.clone(),
    };
    let store = open_store(&spec.target, Role::Target, &key, 1).await?;
    if store.state().is_none() {
        let message = format!("`{}` keeps no state", spec.target.kind);
        return Err(Failure::new(exit_code::CONFIG, message).into());
    }
    Ok((key, store))
}

fn state_of(store: &dyn Store) -> &dyn StateStore {
    store.state().expect("checked when it was opened")
}
