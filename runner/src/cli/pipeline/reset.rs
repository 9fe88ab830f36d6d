//! `pipeline reset`: forgets what was synced, so that the next run loads it again.

use crate::cli::args::Output;
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::open::Ends;
use crate::run::acquire_now;
use syncset_connector::StreamState;
use syncset_pipeline::named_stream;

/// Forgets watermarks, under the lease.
pub(crate) async fn reset(
    context: &Context,
    name: &str,
    tables: &[String],
) -> Result<i32, Failures> {
    let spec = context.files.pipeline(name)?;
    let ends = Ends::open(&spec, &context.files.project.name, 1).await?;
    let known = ends.state().load(&ends.key, 0).await?.streams;
    let tables = streams_of(&known, tables)?;
    let tables = tables.as_slice();
    if known.is_empty() {
        match context.output {
            Output::Text => render::text_out("nothing to reset\n"),
            _ => render::json(&serde_json::json!({ "exit_code": 0, "reset": [] })),
        }
        return Ok(exit_code::DONE);
    }
    let duration = context.files.project.lease;
    let lease = acquire_now(ends.state(), &ends.key, "pipeline reset", duration).await?;
    let forgotten = ends.state().reset(&lease, tables).await;
    ends.state().release(&lease).await?;
    let forgotten = forgotten?;
    match context.output {
        Output::Text => forgotten.iter().for_each(|stream| {
            render::text_out(&format!("{stream}: reset; the next run loads it again\n"));
        }),
        _ => render::json(&serde_json::json!({ "exit_code": 0, "reset": forgotten })),
    }
    Ok(exit_code::DONE)
}

/// The streams that these names mean.
fn streams_of(known: &[StreamState], names: &[String]) -> Result<Vec<String>, Failure> {
    let known: Vec<&str> = known.iter().map(|it| it.stream.as_str()).collect();
    let stream_of = |name: &String| {
        let stream = named_stream(&known, name).map(str::to_owned);
        stream.ok_or_else(|| {
            let message = format!("nothing is stored of table `{name}`");
            let hint = match known.is_empty() {
                true => "no table of this pipeline was ever loaded into this target".to_owned(),
                false => format!("tables with state: {}", known.join(", ")),
            };
            Failure::new(exit_code::CONFIG, message).with_hint(hint)
        })
    };
    names.iter().map(stream_of).collect()
}
