//! `pipeline adopt`: gives what is stored of one pipeline to another, after a file was renamed or
//! moved to another project.

use super::{open_state, state_of};
use crate::cli::args::{AdoptArgs, Output};
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::run::acquire_now;
use std::collections::BTreeSet;
use syncset_connector::{PipelineKey, PipelineState, StateStore};

/// Who holds both leases, for others.
const OWNER: &str = "pipeline adopt";

/// Renames the state of `old` to `new`, in the target of `new`.
pub(crate) async fn adopt(context: &Context, args: &AdoptArgs) -> Result<i32, Failures> {
    let project = &context.files.project.name;
    let from = PipelineKey {
        project: args.project_from.as_ref().unwrap_or(project).clone(),
        pipeline: args.old.clone(),
    };
    let (to, store) = open_state(context, &args.new).await?;
    if from == to {
        let message = format!("`{to}` cannot adopt itself");
        return Err(Failure::new(exit_code::CONFIG, message)
            .with_hint("name the old name first, then the new one")
            .into());
    }
    if from.project == to.project && context.files.pipeline_names().contains(&args.old) {
        let message = format!("pipeline `{}` still has its file", args.old);
        return Err(Failure::new(exit_code::CONFIG, message)
            .with_hint(format!(
                "if `{}` takes its place, delete `pipelines/{}.yaml` first",
                args.new, args.old
            ))
            .into());
    }
    let state = state_of(store.as_ref());
    state.ensure().await?;
    let found = state.load(&from, 0).await?;
    check_old(&found, &from)?;
    let duration = context.files.project.lease;
    let old_lease = acquire_now(state, &from, OWNER, duration).await?;
    let adopted = match acquire_now(state, &to, OWNER, duration).await {
        Ok(new_lease) => {
            let adopted = move_state(state, (&old_lease, &from), (&new_lease, &to)).await;
            release(state, &new_lease).await;
            adopted
        }
        Err(failure) => Err(failure),
    };
    release(state, &old_lease).await;
    let streams = adopted?;
    store.close().await;
    print(context, &from, &to, &streams);
    Ok(exit_code::DONE)
}

/// Looks once more, now that nobody else can write either, and moves. Returns the streams.
async fn move_state(
    state: &dyn StateStore,
    (old_lease, from): (&syncset_connector::Lease, &PipelineKey),
    (new_lease, to): (&syncset_connector::Lease, &PipelineKey),
) -> Result<Vec<String>, Failure> {
    let found = state.load(from, 0).await?;
    check_old(&found, from)?;
    let taken = state.load(to, 0).await?;
    if !taken.streams.is_empty() || !taken.rejected.is_empty() {
        let streams = names(&taken);
        let message = format!("pipeline `{to}` has state of its own: {streams}");
        return Err(Failure::new(exit_code::GUARD, message).with_hint(
            "two states cannot be merged; adopt before the first run under the new name, or give \
             the new pipeline another name",
        ));
    }
    state.adopt(old_lease, new_lease).await?;
    Ok(found.streams.into_iter().map(|it| it.stream).collect())
}

fn check_old(found: &PipelineState, from: &PipelineKey) -> Result<(), Failure> {
    if !found.streams.is_empty() {
        return Ok(());
    }
    let known: BTreeSet<String> = found.owners.iter().map(|it| it.key.to_string()).collect();
    let known: Vec<String> = known.into_iter().map(|key| format!("`{key}`")).collect();
    let hint = match known.is_empty() {
        true => "this target holds no state at all: is it the right one?".to_owned(),
        false => format!("pipelines with state there: {}", known.join(", ")),
    };
    let message = format!("nothing is stored of pipeline `{from}`");
    Err(Failure::new(exit_code::CONFIG, message).with_hint(hint))
}

fn names(state: &PipelineState) -> String {
    let streams = state.streams.iter().map(|it| format!("`{}`", it.stream));
    streams.collect::<Vec<_>>().join(", ")
}

async fn release(state: &dyn StateStore, lease: &syncset_connector::Lease) {
    if let Err(error) = state.release(lease).await {
        tracing::warn!(%error, "could not give the lease back; it will expire");
    }
}

fn print(context: &Context, from: &PipelineKey, to: &PipelineKey, streams: &[String]) {
    match context.output {
        Output::Text => render::text_out(&format!(
            "`{to}` has what was stored of `{from}`: watermarks of {}, rejected rows and the \
             history of runs\n",
            streams.join(", ")
        )),
        _ => render::json(&serde_json::json!({
            "exit_code": 0,
            "from": from,
            "to": to,
            "tables": streams,
        })),
    }
}
