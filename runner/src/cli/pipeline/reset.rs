//! `pipeline reset`: forgets what was synced, so that the next run loads it again.

use crate::cli::args::{OnLock, Output};
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::open::Ends;
use crate::run::{self, Asked};
use crate::stop::Stop;

/// Forgets watermarks, under the lease.
pub(crate) async fn reset(
    context: &Context,
    name: &str,
    tables: &[String],
) -> Result<i32, Failures> {
    let spec = context.files.pipeline(name)?;
    let ends = Ends::open(&spec, &context.files.project.name, 1).await?;
    let known = ends.state().load(&ends.key, 0).await?.streams;
    for table in tables {
        if !known.iter().any(|stream| stream.stream == *table) {
            let list = known
                .iter()
                .map(|it| it.stream.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            let message = format!("nothing is stored of table `{table}`");
            return Err(Failure::new(exit_code::CONFIG, message)
                .with_hint(format!("tables with state: {list}"))
                .into());
        }
    }
    if known.is_empty() {
        render::text_out("nothing to reset\n");
        return Ok(exit_code::DONE);
    }
    let stop = Stop::new(None);
    let lease = context.files.project.lease;
    let asked = run::acquire(&ends, "pipeline reset", lease, OnLock::Fail, &stop).await?;
    let Asked::Ours(lease, _) = asked else {
        unreachable!("only `skip` skips")
    };
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
