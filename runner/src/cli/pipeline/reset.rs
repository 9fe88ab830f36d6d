//! `pipeline reset`: forgets what was synced, so that the next run loads it again; tables that left
//! the pipeline are forgotten altogether, if they are named.

use crate::cli::args::Output;
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::open::Ends;
use crate::run::acquire_now;
use syncset_connector::StreamState;
use syncset_pipeline::{is_selected, named_stream};

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
            _ => print_json(&[], &[]),
        }
        return Ok(exit_code::DONE);
    }
    // What an older version stored lacks tables that are emptied, too.
    ends.state().ensure().await?;
    let duration = context.files.project.lease;
    let lease = acquire_now(ends.state(), &ends.key, "pipeline reset", duration).await?;
    let reset = ends.state().reset(&lease, tables).await;
    let has_left = |stream: &&String| tables.contains(stream) && !is_selected(&spec, stream);
    let left = reset.iter().flatten().filter(has_left).cloned();
    let left: Vec<String> = left.collect();
    let forgotten = match left.is_empty() {
        true => Ok(()),
        false => ends.state().forget(&lease, &left).await,
    };
    ends.state().release(&lease).await?;
    let reset = reset?;
    forgotten?;
    match context.output {
        Output::Text => reset.iter().for_each(|stream| {
            let what = match left.contains(stream) {
                true => "forgotten; its target table stays as it is, and is nobody's",
                false => "reset; the next run loads it again",
            };
            render::text_out(&format!("{stream}: {what}\n"));
        }),
        _ => print_json(&reset, &left),
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

fn print_json(reset: &[String], forgotten: &[String]) {
    render::json(&serde_json::json!({
        "exit_code": 0,
        "reset": reset,
        "forgotten": forgotten,
    }));
}
