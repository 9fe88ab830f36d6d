//! Finds and reads the project's files. The only place that touches them.

use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::registry;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use syncset_pipeline::{Lookup, PipelineSpec, Project, Source, parse_pipeline, parse_project};

/// A project folder with its environment.
pub(crate) struct ProjectFiles {
    folder: PathBuf,
    dotenv: HashMap<String, String>,
    /// What `syncset.yaml` says.
    pub(crate) project: Project,
}

impl ProjectFiles {
    /// Reads `syncset.yaml` and `.env` of a folder.
    pub(crate) fn open(folder: &Path) -> Result<Self, Failures> {
        let path = folder.join("syncset.yaml");
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Failure::new(
                exit_code::CONFIG,
                format!("cannot read `{}`: {error}", path.display()),
            )
            .with_hint("run in a folder that holds syncset.yaml, or name it with `-C DIR`")
        })?;
        let dotenv = read_dotenv(folder)?;
        let display = path.display().to_string();
        let display = display.strip_prefix("./").unwrap_or(&display);
        let base = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let project = with_lookup(&dotenv, folder, |lookup| {
            let source = Source {
                path: display,
                text: &text,
            };
            parse_project(source, &base, &registry::catalog(), lookup)
        })?;
        Ok(Self {
            folder: folder.to_owned(),
            dotenv,
            project,
        })
    }

    /// Reads one pipeline.
    pub(crate) fn pipeline(&self, name: &str) -> Result<PipelineSpec, Failures> {
        let path = self.pipelines_folder().join(format!("{name}.yaml"));
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let failure = Failure::new(
                exit_code::CONFIG,
                format!(
                    "cannot read pipeline `{name}`: `{}`: {error}",
                    path.display()
                ),
            );
            match self.pipeline_names() {
                names if names.is_empty() => {
                    failure.with_hint("write it into the folder pipelines/")
                }
                names => failure.with_hint(format!("pipelines here: {}", names.join(", "))),
            }
        })?;
        let display = path.display().to_string();
        let display = display.strip_prefix("./").unwrap_or(&display);
        let spec = with_lookup(&self.dotenv, &self.folder, |lookup| {
            let source = Source {
                path: display,
                text: &text,
            };
            parse_pipeline(name, source, &self.project, &registry::catalog(), lookup)
        })?;
        Ok(spec)
    }

    /// Names of all pipelines, sorted.
    pub(crate) fn pipeline_names(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.pipelines_folder()) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "yaml")
            })
            .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
            .collect();
        names.sort();
        names
    }

    fn pipelines_folder(&self) -> PathBuf {
        self.folder.join("pipelines")
    }
}

/// `.env` beside `syncset.yaml`; an absent file is an empty one.
fn read_dotenv(folder: &Path) -> Result<HashMap<String, String>, Failure> {
    let path = folder.join(".env");
    if !path.exists() {
        return Ok(HashMap::new());
    }
    let unreadable = |error: dotenvy::Error| {
        // The error of a malformed line holds the line, which may hold a secret.
        let reason = match error {
            dotenvy::Error::Io(error) => error.to_string(),
            dotenvy::Error::LineParse(_, index) => {
                format!("malformed at character {index} of a line")
            }
            _ => "malformed".to_owned(),
        };
        Failure::new(
            exit_code::CONFIG,
            format!("cannot read `{}`: {reason}", path.display()),
        )
        .with_hint("write one `NAME=value` a line; quote values with spaces or `#`")
    };
    let entries = dotenvy::from_path_iter(&path).map_err(unreadable)?;
    entries.collect::<Result<_, _>>().map_err(unreadable)
}

/// Calls `read` with the environment (the process wins over `.env`) and the project's files.
fn with_lookup<T>(
    dotenv: &HashMap<String, String>,
    folder: &Path,
    read: impl FnOnce(&Lookup<'_>) -> T,
) -> T {
    let env = |name: &str| {
        std::env::var(name)
            .ok()
            .or_else(|| dotenv.get(name).cloned())
    };
    let file = |path: &str| std::fs::read_to_string(folder.join(path));
    read(&Lookup {
        env: &env,
        file: &file,
    })
}
