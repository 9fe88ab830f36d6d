//! Which pipelines a verb is about: named, all, or by tag.

use crate::cli::args::Choice;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::files::ProjectFiles;
use std::collections::BTreeSet;
use syncset_pipeline::{PipelineSpec, listed, nearest};

/// What no name, no `--all` and no `--tag` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unnamed {
    /// Every pipeline, for verbs that change nothing.
    All,
    /// An error: nobody writes everything by leaving a word out.
    Refused,
}

/// The pipelines of a verb, read.
pub(crate) struct Chosen {
    /// At least one; in the order they were named, else by name.
    pub(crate) specs: Vec<PipelineSpec>,
    /// True if exactly one was asked for by its name: then the result is its own document.
    pub(crate) is_one: bool,
}

/// Reads the chosen pipelines. A name that is given twice counts once.
///
/// # Errors
/// Every problem of every file that was read, or that nothing was chosen.
pub(crate) fn choose(
    files: &ProjectFiles,
    choice: &Choice,
    unnamed: Unnamed,
) -> Result<Chosen, Failures> {
    let all = files.pipeline_names();
    if !choice.names.is_empty() {
        let mut seen = BTreeSet::new();
        let mut names = choice.names.clone();
        names.retain(|name| seen.insert(name.clone()));
        let specs = files.pipelines(&names)?;
        return Ok(Chosen {
            is_one: specs.len() == 1,
            specs,
        });
    }
    let is_unnamed = !choice.all && choice.tags.is_empty();
    if is_unnamed && unnamed == Unnamed::Refused {
        let known = listed("", all.iter().map(String::as_str));
        let message = "no pipeline is named";
        return Err(Failure::new(exit_code::CONFIG, message)
            .with_hint(format!(
                "name one of {known}, or say `--all` or `--tag TAG`"
            ))
            .into());
    }
    if all.is_empty() {
        return Err(
            Failure::new(exit_code::CONFIG, "the project has no pipeline")
                .with_hint("write one into `pipelines/NAME.yaml`")
                .into(),
        );
    }
    let specs = files.pipelines(&all)?;
    let specs = match choice.tags.as_slice() {
        [] => specs,
        tags => tagged(specs, tags)?,
    };
    Ok(Chosen {
        specs,
        is_one: false,
    })
}

/// Those that have any of the tags; each tag must be there.
fn tagged(specs: Vec<PipelineSpec>, tags: &[String]) -> Result<Vec<PipelineSpec>, Failure> {
    let known: BTreeSet<&str> = specs
        .iter()
        .flat_map(|spec| spec.tags.iter().map(String::as_str))
        .collect();
    if let Some(tag) = tags.iter().find(|tag| !known.contains(tag.as_str())) {
        let message = format!("no pipeline has the tag `{tag}`");
        let near = nearest(tag, known.iter().copied());
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "write `tags: [hourly]` into a pipeline file".to_owned(),
            None => format!("the tags are {}", listed(tag, known.iter().copied())),
        };
        return Err(Failure::new(exit_code::CONFIG, message).with_hint(hint));
    }
    let has_one = |spec: &PipelineSpec| spec.tags.iter().any(|tag| tags.contains(tag));
    Ok(specs.into_iter().filter(has_one).collect())
}
