//! Tables that were loaded and that the source has no longer, though the file names them. Each stops
//! alone, with what a person can do; the others go on.

use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::open::Ends;
use syncset_connector::{PipelineState, TableEntry};
use syncset_pipeline::{GoneTable, PipelineSpec, Selected, display_table, is_table_of};

/// A table that the source has no longer.
#[derive(Debug, Clone)]
pub(crate) struct Gone {
    /// Its stream.
    pub(crate) stream: String,
    /// Where the file names it.
    place: String,
    /// The table that is the same one by its number, if it is not copied already.
    now: Option<String>,
    /// The target's table, as `to` spells it.
    pub(crate) target: String,
}

/// Looks whether the tables have other names. Asks the source only if there are any.
pub(crate) async fn of(
    ends: &Ends,
    spec: &PipelineSpec,
    gone: Vec<GoneTable>,
    (listed, selected): (&[TableEntry], &[Selected]),
    state: &PipelineState,
) -> Result<Vec<Gone>, Failures> {
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    let is_free = |entry: &&TableEntry| {
        let stream = display_table(&entry.name);
        !selected.iter().any(|it| it.stream == stream)
            || !state.streams.iter().any(|it| it.stream == stream)
    };
    let names: Vec<_> = listed
        .iter()
        .filter(is_free)
        .map(|it| it.name.clone())
        .collect();
    let described = ends.source_store().describe(&names).await?;
    let described: Vec<_> = described.into_iter().flatten().collect();
    let told = gone.into_iter().map(|gone| {
        let stored = state.streams.iter().find(|it| it.stream == gone.stream);
        let text = stored.and_then(|stored| stored.selection_text.as_deref());
        let same = text.and_then(|text| described.iter().find(|table| is_table_of(text, table)));
        Gone {
            place: format!("{}:{}:{}", spec.path, gone.place.line, gone.place.column),
            now: same.map(|table| display_table(&table.name)),
            target: stored.map_or_else(String::new, |it| it.target.to_string()),
            stream: gone.stream,
        }
    });
    Ok(told.collect())
}

impl Gone {
    /// Whether it is one of these; if there are none, it is.
    pub(crate) fn is_of(&self, names: &[String]) -> bool {
        let bare = self.stream.rsplit('.').next();
        let mut names = names.iter().peekable();
        names.peek().is_none()
            || names.any(|name| *name == self.stream || Some(name.as_str()) == bare)
    }

    /// What stops it.
    pub(crate) fn failure(&self) -> Failure {
        let Self {
            stream,
            place,
            target,
            ..
        } = self;
        match &self.now {
            Some(now) => {
                let message =
                    format!("table `{stream}`: the source renamed it to `{now}` ({place})");
                Failure::new(exit_code::APPROVAL, message).with_hint(format!(
                    "write `{now}: {{ to: \"{target}\" }}` there, with the settings that it has; its rows are compared and stay"
                ))
            }
            None => {
                let message =
                    format!("table `{stream}`: the source has no such table any more ({place})");
                Failure::new(exit_code::APPROVAL, message).with_hint(format!(
                    "if it was dropped, take it out of the file: `{target}` stays as it is; if it has another name, write that name there, with `to: \"{target}\"`"
                ))
            }
        }
    }
}
