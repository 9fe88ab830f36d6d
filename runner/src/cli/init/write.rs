//! Writes the files. None is ever overwritten; lines are added to `.env` and `.gitignore` only.

use super::ends::Ends;
use crate::exit_code;
use crate::failure::Failure;
use crate::files::ProjectFiles;
use serde::Serialize;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

/// What a new `.env` begins with.
const DOTENV_HEAD: &str = "# Read by syncset; what is set in the environment wins. Holds passwords: \
    keep it out of version\n# control.\n";

/// A file that was written.
#[derive(Serialize)]
pub(super) struct Written {
    /// Its path, from the project folder.
    pub(super) path: String,
    /// `created`, or `extended` for one that existed.
    pub(super) action: &'static str,
    /// What a person should know of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) about: Option<String>,
}

/// Refuses the name of a pipeline that exists, before anything is written.
pub(super) fn refuse_existing(files: &ProjectFiles, name: &str) -> Result<(), Failure> {
    if !files.pipeline_path(name).exists() {
        return Ok(());
    }
    let message = format!("`pipelines/{name}.yaml` exists, and no file is ever overwritten");
    Err(Failure::new(exit_code::CONFIG, message)
        .with_hint("name the new pipeline with `--name NAME`, or move the old file away"))
}

/// Writes what is new, in an order in which a later file explains an earlier one.
pub(super) fn write(
    folder: &Path,
    ends: &Ends,
    name: &str,
    pipeline: &str,
) -> Result<Vec<Written>, Failure> {
    let pipelines = folder.join("pipelines");
    fs::create_dir_all(&pipelines).map_err(|error| failed(&pipelines, &error))?;
    let mut written = Vec::new();
    if !ends.dotenv.is_empty() {
        let lines: String = ends.dotenv.iter().map(|(line, _)| line.as_str()).collect();
        let names: Vec<_> = ends.dotenv.iter().map(|(_, name)| name.as_str()).collect();
        let about = format!("holds {}", names.join(" and "));
        let head = match folder.join(".env").exists() {
            true => "",
            false => DOTENV_HEAD,
        };
        written.push(add_lines(
            folder,
            ".env",
            &format!("{head}{lines}"),
            Some(about),
        )?);
        let gitignore = fs::read_to_string(folder.join(".gitignore")).unwrap_or_default();
        if !gitignore
            .lines()
            .any(|line| matches!(line.trim(), ".env" | "/.env"))
        {
            let about = "keeps .env out of version control".to_owned();
            written.push(add_lines(folder, ".gitignore", ".env\n", Some(about))?);
        }
    }
    if let Some(text) = &ends.project_text {
        create(&folder.join("syncset.yaml"), text)?;
        written.push(created("syncset.yaml"));
    }
    let path = format!("pipelines/{name}.yaml");
    create(&folder.join(&path), pipeline)?;
    written.push(created(&path));
    Ok(written)
}

fn created(path: &str) -> Written {
    Written {
        path: path.to_owned(),
        action: "created",
        about: None,
    }
}

fn create(path: &Path, text: &str) -> Result<(), Failure> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(|error| failed(path, &error))?;
    file.write_all(text.as_bytes())
        .map_err(|error| failed(path, &error))
}

/// Adds lines to the end of a file, which is made if it is missing. What it holds stays.
fn add_lines(
    folder: &Path,
    name: &str,
    lines: &str,
    about: Option<String>,
) -> Result<Written, Failure> {
    let path = folder.join(name);
    let existed = path.exists();
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    if name == ".env" {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let before = fs::read(&path).unwrap_or_default();
    let separator = match before.last() {
        None | Some(b'\n') => "",
        Some(_) => "\n",
    };
    let mut file = options.open(&path).map_err(|error| failed(&path, &error))?;
    file.write_all(format!("{separator}{lines}").as_bytes())
        .map_err(|error| failed(&path, &error))?;
    Ok(Written {
        path: name.to_owned(),
        action: if existed { "extended" } else { "created" },
        about,
    })
}

pub(super) fn failed(path: &Path, error: &std::io::Error) -> Failure {
    let message = format!("cannot write `{}`: {error}", path.display());
    let hint = match error.kind() {
        std::io::ErrorKind::AlreadyExists => "it appeared meanwhile; look at it, and run again",
        _ => "check the folder and its rights, or choose another one with `-C DIR`",
    };
    Failure::new(exit_code::FAILED, message).with_hint(hint)
}
