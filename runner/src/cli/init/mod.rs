//! `init`: from two databases to the files of a project.
//!
//! What is written has been planned before: a table that a plan would refuse stands in the file as
//! a comment with the reason. No file is ever overwritten, and nothing is written unless all of it
//! can be.

mod ask;
mod ends;
mod find;
mod folder;
mod trial;
mod write;

use crate::cli::args::Output;
use crate::cli::render;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use ask::Asker;
use clap::Args;
use ends::{Ends, Wanted};
use folder::ProjectFolder;
use serde::Serialize;
use std::path::Path;
use syncset_pipeline::scaffold::{Choice, PipelineScaffold, plain_name};
use write::Written;

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Database to read: a URL, '${VARIABLE}' that holds one, or a connection that exists
    #[arg(long, value_name = "URL")]
    pub(crate) from: Option<String>,
    /// Database to write: likewise
    #[arg(long, value_name = "URL")]
    pub(crate) to: Option<String>,
    /// Tables to copy: names and globs such as 'public.*', in quotes; default: all
    #[arg(long, value_delimiter = ',', value_name = "GLOB")]
    pub(crate) tables: Vec<String>,
    /// Name of the pipeline; default: made of both databases' names
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Name of the project; default: the folder's name
    #[arg(long)]
    pub(crate) project: Option<String>,
}

/// What was done, as it is printed.
#[derive(Serialize)]
struct Done {
    exit_code: i32,
    project: String,
    pipeline: String,
    files: Vec<Written>,
    tables: Vec<Choice>,
    /// Where rows go, if tables of the same name would not do.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Renamed>,
    warnings: Vec<String>,
    next: Vec<String>,
}

#[derive(Serialize)]
struct Renamed {
    /// As `to:` of the pipeline has it.
    to: String,
    reason: String,
}

/// Writes the files of a project, or one more pipeline into a project that exists.
///
/// `set`: variables of the command line.
pub(crate) async fn init(
    folder: &Path,
    set: &[(String, String)],
    output: Output,
    args: &InitArgs,
) -> Result<i32, Failures> {
    let mut asker = Asker::of_terminal();
    let _folder = ProjectFolder::ensure(folder)?;
    let wanted = Wanted::of(folder, set, args)?;
    let ends = Ends::open(wanted, args, &mut asker).await?;
    let found = find::find(&ends, args, &mut asker).await?;
    let name = pipeline_name(&ends, args, &mut asker)?;
    write::refuse_existing(&ends.files, &name)?;
    let scaffold = PipelineScaffold {
        name: name.clone(),
        source: ends.source.name.clone(),
        target: ends.target.name.clone(),
        to: found.to,
        tables: found.tables,
    };
    let tried = trial::try_out(&ends, scaffold).await?;
    let files = write::write(folder, &ends, &name, &tried.text)?;
    let done = Done {
        exit_code: exit_code::DONE,
        project: ends.files.project.name.clone(),
        next: next_steps(folder, &name),
        pipeline: name,
        files,
        tables: tried.choices,
        to: tried.to.map(|(to, reason)| Renamed { to, reason }),
        warnings: tried.warnings,
    };
    ends.close().await;
    match output {
        Output::Text => render::text_out(&text(&done)),
        _ => render::json(&done),
    }
    Ok(exit_code::DONE)
}

/// As it was given, else as it is answered, else made of both connections' names.
fn pipeline_name(ends: &Ends, args: &InitArgs, asker: &mut Asker) -> Result<String, Failure> {
    let (source, target) = (&ends.source.name, &ends.target.name);
    let default = plain_name(&format!("{source}_{target}"));
    let name = match &args.name {
        Some(name) => name.clone(),
        None if ends.asked => asker.ask("Name of the pipeline", Some(&default))?,
        None => default,
    };
    if name == plain_name(&name) && !name.is_empty() {
        return Ok(name);
    }
    let message = format!("`{name}` cannot be the name of a pipeline");
    Err(Failure::new(exit_code::CONFIG, message)
        .with_hint("use letters, digits, `_` and `-`: it becomes the name of a file in pipelines/"))
}

fn next_steps(folder: &Path, name: &str) -> Vec<String> {
    let syncset = match folder.to_str() {
        Some(".") => "syncset".to_owned(),
        _ => format!("syncset -C {}", folder.display()),
    };
    vec![
        format!("{syncset} doctor {name}"),
        format!("{syncset} pipeline plan {name}"),
        format!("{syncset} pipeline run {name}"),
    ]
}

/// What each of the next steps is good for.
const STEPS: [&str; 3] = [
    "is anything missing, such as a right?",
    "what would a run do? changes nothing",
    "sync",
];

fn text(done: &Done) -> String {
    let mut text = String::new();
    for file in &done.files {
        let about = file.about.as_ref().map(|about| format!(": {about}"));
        text.push_str(&format!(
            "{} {}{}\n",
            file.action,
            file.path,
            about.unwrap_or_default()
        ));
    }
    let (mut count, mut notes) = (0, Vec::new());
    for choice in &done.tables {
        match choice {
            Choice::Selected(chosen) => {
                count += 1;
                let table = &chosen.table;
                for one in &chosen.excluded {
                    notes.push(format!(
                        "{table}: `{}` is left out: it {}",
                        one.column, one.reason
                    ));
                }
                if !chosen.personal.is_empty() {
                    let columns = chosen.personal.join(", ");
                    notes.push(format!(
                        "{table}: copied, though likely personal: {columns}"
                    ));
                }
            }
            Choice::LeftOut(one) => {
                notes.push(format!("{}: not copied: {}", one.table, one.reason))
            }
        }
    }
    let tables = if count == 1 { "table" } else { "tables" };
    text.push_str(&format!("\n{count} {tables} will be copied"));
    text.push_str(if notes.is_empty() {
        ".\n"
    } else {
        ". To be looked at:\n"
    });
    for note in notes {
        text.push_str(&format!("  {note}\n"));
    }
    if let Some(renamed) = &done.to {
        text.push_str(&format!("note: `to: {}`: {}\n", renamed.to, renamed.reason));
    }
    for warning in &done.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text.push_str("\nNext:\n");
    let width = done
        .next
        .iter()
        .map(|step| step.chars().count())
        .max()
        .unwrap_or(0);
    for (step, about) in done.next.iter().zip(STEPS) {
        text.push_str(&format!("  {step:width$}  # {about}\n"));
    }
    text
}
