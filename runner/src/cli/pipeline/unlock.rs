//! `pipeline unlock`: takes the lease away from a run that is gone or must not go on.

use super::{open_state, state_of};
use crate::cli::args::Output;
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::Failures;

/// Takes the lease away.
pub(crate) async fn unlock(context: &Context, name: &str) -> Result<i32, Failures> {
    let (key, store) = open_state(context, name).await?;
    let owner = state_of(store.as_ref()).unlock(&key).await?;
    match (context.output, &owner) {
        (Output::Text, Some(owner)) => {
            render::text_out(&format!("unlocked; {owner} can write nothing more\n"));
        }
        (Output::Text, None) => render::text_out("nobody holds the lease\n"),
        _ => render::json(&serde_json::json!({ "exit_code": 0, "owner": owner })),
    }
    Ok(exit_code::DONE)
}
