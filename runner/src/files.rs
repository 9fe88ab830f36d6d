//! Finds and reads the project's files. The only place that touches them.

use crate::dotenv;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::registry;
use std::collections::{BTreeSet, HashMap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use syncset_pipeline::{
    ConnectionSpec, Lookup, Pins, PipelineSpec, Problem, Project, Source, listed, nearest,
    parse_pipeline, read_project,
};

/// The file that makes a folder a project.
const PROJECT_FILE: &str = "syncset.yaml";

/// What people call it by mistake.
const PROJECT_FILE_LIKE: [&str; 4] = [
    "syncset.yml",
    "Syncset.yaml",
    "syncset.yaml.txt",
    "sync.yaml",
];

/// A project folder with its environment.
pub(crate) struct ProjectFiles {
    folder: PathBuf,
    variables: Variables,
    /// What `syncset.yaml` says.
    pub(crate) project: Project,
}

/// Where `${NAME}` gets its value: the command line, the environment, `.env`, in this order.
struct Variables {
    set: HashMap<String, String>,
    dotenv: HashMap<String, String>,
    /// Every name that a file has asked for.
    asked: Mutex<BTreeSet<String>>,
}

impl Variables {
    fn value(&self, name: &str) -> Option<String> {
        if let Ok(mut asked) = self.asked.lock() {
            asked.insert(name.to_owned());
        }
        let set = self.set.get(name).cloned();
        set.or_else(|| std::env::var(name).ok())
            .or_else(|| self.dotenv.get(name).cloned())
    }
}

impl ProjectFiles {
    /// Finds the project in `start` or the nearest folder above it, and reads `syncset.yaml` and
    /// `.env`. `set`: variables of the command line.
    pub(crate) fn open(start: &Path, set: &[(String, String)]) -> Result<Self, Failures> {
        let folder = find(start)?;
        let text = read_text(&folder.join(PROJECT_FILE))?;
        let dotenv = dotenv::read(&folder)?;
        Self::of_text(&folder, &text, set, dotenv)
    }

    /// The same with whatever is written as pins of plugins.
    pub(crate) fn open_to_pin(start: &Path, set: &[(String, String)]) -> Result<Self, Failures> {
        let folder = find(start)?;
        let text = read_text(&folder.join(PROJECT_FILE))?;
        let dotenv = dotenv::read(&folder)?;
        Self::read(&folder, (&text, Pins::Any), set, dotenv)
    }

    /// A project whose `syncset.yaml` need not exist yet. `dotenv`: what `.env` holds, or will hold.
    pub(crate) fn of_text(
        folder: &Path,
        text: &str,
        set: &[(String, String)],
        dotenv: HashMap<String, String>,
    ) -> Result<Self, Failures> {
        Self::read(folder, (text, Pins::Checked), set, dotenv)
    }

    fn read(
        folder: &Path,
        (text, pins): (&str, Pins),
        set: &[(String, String)],
        dotenv: HashMap<String, String>,
    ) -> Result<Self, Failures> {
        let variables = Variables {
            set: set.iter().cloned().collect(),
            dotenv,
            asked: Mutex::default(),
        };
        let base = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let project = with_lookup(&variables, folder, |lookup| {
            let path = shown(&folder.join(PROJECT_FILE));
            let source = Source { path: &path, text };
            read_project(source, &base, (&registry::catalog(), lookup), pins)
        })?;
        Ok(Self {
            folder: folder.to_owned(),
            variables,
            project,
        })
    }

    /// Reads one pipeline.
    pub(crate) fn pipeline(&self, name: &str) -> Result<PipelineSpec, Failures> {
        let spec = self.read_pipeline(name)?;
        self.check_variables_used()?;
        Ok(spec)
    }

    fn read_pipeline(&self, name: &str) -> Result<PipelineSpec, Failures> {
        let path = self.pipeline_path(name);
        let is_name = !name.is_empty() && !name.contains(['/', '\\']);
        if !is_name || !path.exists() {
            return Err(self.no_pipeline(name).into());
        }
        self.pipeline_of_text(name, &read_text(&path)?)
    }

    /// A pipeline whose file need not exist yet.
    pub(crate) fn pipeline_of_text(
        &self,
        name: &str,
        text: &str,
    ) -> Result<PipelineSpec, Failures> {
        let spec = with_lookup(&self.variables, &self.folder, |lookup| {
            let path = shown(&self.pipeline_path(name));
            let source = Source { path: &path, text };
            parse_pipeline(name, source, &self.project, &registry::catalog(), lookup)
        })?;
        let mut problems = Vec::new();
        for connection in [&spec.source, &spec.target] {
            for problem in settings_problems(connection) {
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }
        }
        if problems.is_empty() {
            Ok(spec)
        } else {
            Err(problems.into())
        }
    }

    /// Reads pipelines; every problem of all of them at once.
    pub(crate) fn pipelines(&self, names: &[String]) -> Result<Vec<PipelineSpec>, Failures> {
        let mut specs = Vec::with_capacity(names.len());
        let mut failures = Vec::new();
        for name in names {
            match self.read_pipeline(name) {
                Ok(spec) => specs.push(spec),
                Err(found) => failures.extend(found.0),
            }
        }
        if !failures.is_empty() {
            return Err(Failures(failures));
        }
        self.check_variables_used()?;
        Ok(specs)
    }

    /// Refuses variables of the command line that no file has asked for so far: one that is
    /// misspelt would leave the value of the environment in force.
    pub(crate) fn check_variables_used(&self) -> Result<(), Failure> {
        let Ok(asked) = self.variables.asked.lock() else {
            return Ok(());
        };
        let mut unused = self
            .variables
            .set
            .keys()
            .filter(|name| !asked.contains(*name));
        let Some(name) = unused.next() else {
            return Ok(());
        };
        let message = format!("`--set {name}=...`: no file that was read has `${{{name}}}`");
        let hint = match nearest(name, asked.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if asked.is_empty() => "no file has a variable".to_owned(),
            None => {
                let known = listed(name, asked.iter().map(String::as_str));
                format!("the variables are {known}")
            }
        };
        Err(Failure::new(exit_code::CONFIG, message).with_hint(hint))
    }

    fn no_pipeline(&self, name: &str) -> Failure {
        let folder = self.pipelines_folder();
        let message = format!("no pipeline `{name}` in `{}`", shown(&folder));
        let failure = Failure::new(exit_code::CONFIG, message);
        let names = self.pipeline_names();
        if !folder.is_dir() {
            return failure.with_hint("write it into a folder `pipelines` beside syncset.yaml");
        }
        let as_typed = Path::new(name);
        let stem = as_typed.file_stem().and_then(|stem| stem.to_str());
        let other = format!("{name}.yml");
        if folder.join(&other).exists() {
            return failure.with_hint(format!("rename `pipelines/{other}` to `{name}.yaml`"));
        }
        if let Some(stem) = stem.filter(|stem| names.iter().any(|known| known == stem)) {
            return failure.with_hint(format!("name it without folder and ending: `{stem}`"));
        }
        let all = names.iter().map(String::as_str);
        match nearest(name, all.clone()) {
            Some(near) => failure.with_hint(format!("did you mean `{near}`?")),
            None if names.is_empty() => failure.with_hint(format!(
                "there is none yet: write `pipelines/{}.yaml`",
                if name.is_empty() { "NAME" } else { name }
            )),
            None => failure.with_hint(format!("the pipelines are {}", listed(name, all))),
        }
    }

    /// Names and values of `.env`.
    pub(crate) fn dotenv(&self) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.variables.dotenv.iter();
        entries.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What commands of the user's own get besides the environment of this process, so that
    /// `${NAME}` means in them what it means in the files.
    pub(crate) fn variables(&self) -> HashMap<String, String> {
        let dotenv = self.variables.dotenv.iter();
        let dotenv = dotenv.filter(|(name, _)| std::env::var_os(name).is_none());
        let all = dotenv.chain(&self.variables.set);
        all.map(|(name, value)| (name.clone(), value.clone()))
            .collect()
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

    /// The path of `.env`, if it is there and other users of the machine may read it.
    pub(crate) fn open_dotenv(&self) -> Option<String> {
        let path = self.folder.join(".env");
        let found = std::fs::metadata(&path).ok()?;
        #[cfg(unix)]
        let is_open = std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o077 != 0;
        #[cfg(not(unix))]
        let is_open = false;
        is_open.then(|| shown(&path))
    }

    /// Where the file of a pipeline is.
    pub(crate) fn pipeline_path(&self, name: &str) -> PathBuf {
        self.pipelines_folder().join(format!("{name}.yaml"))
    }

    fn pipelines_folder(&self) -> PathBuf {
        self.folder.join("pipelines")
    }
}

/// Whether a folder is in a project.
pub(crate) fn is_in_project(start: &Path) -> bool {
    find(start).is_ok()
}

/// The folder that holds `syncset.yaml`: this one or the nearest above it.
fn find(start: &Path) -> Result<PathBuf, Failure> {
    let wrong = |message: String| Failure::new(exit_code::CONFIG, message);
    if start.is_file() {
        let folder = start.parent().map(shown).unwrap_or_default();
        let folder = if folder.is_empty() { "." } else { &folder };
        return Err(wrong(format!("`-C {}` is a file", start.display()))
            .with_hint(format!("name its folder: `-C {folder}`")));
    }
    if !start.is_dir() {
        return Err(
            wrong(format!("`-C {}`: there is no such folder", start.display()))
                .with_hint("name the folder that holds syncset.yaml, or one in it"),
        );
    }
    if start.join(PROJECT_FILE).exists() {
        return Ok(start.to_owned());
    }
    let absolute = std::path::absolute(start).unwrap_or_else(|_| start.to_owned());
    let above = absolute.ancestors().skip(1);
    if let Some(found) = above
        .into_iter()
        .find(|folder| folder.join(PROJECT_FILE).is_file())
    {
        return Ok(found.to_owned());
    }
    let message = format!(
        "no {PROJECT_FILE} in `{}` or a folder above it",
        absolute.display()
    );
    let like = PROJECT_FILE_LIKE
        .into_iter()
        .find(|name| start.join(name).exists());
    Err(wrong(message).with_hint(match like {
        Some(like) => format!("rename `{like}` to `{PROJECT_FILE}`"),
        None => "run in a project folder, or name one with `-C DIR`".to_owned(),
    }))
}

/// What is wrong with the values of a connection, as far as it can be seen without opening it.
fn settings_problems(connection: &ConnectionSpec) -> Vec<Problem> {
    let Some(connector) = registry::connector(&connection.kind) else {
        return Vec::new();
    };
    let found = connector.check_settings(&connection.settings).into_iter();
    let place = |(key, sentence): (String, String)| {
        let name = &connection.name;
        connection
            .problem(&key, format!("connection `{name}`: {sentence}"))
            .with_hint("values come from this file, from `--set`, the environment or `.env`")
    };
    found.map(place).collect()
}

/// A path as people see it: without the folder they are in.
fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    text.strip_prefix("./").unwrap_or(&text).to_owned()
}

fn read_text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        let failure = Failure::new(
            exit_code::CONFIG,
            format!("cannot read `{}`: {error}", shown(path)),
        );
        match error.kind() {
            ErrorKind::InvalidData => failure.with_hint("save it as UTF-8 text"),
            ErrorKind::IsADirectory => failure.with_hint("it must be a file, not a folder"),
            _ => failure.with_hint("check the file and its rights"),
        }
    })
}

/// Calls `read` with the variables and the project's files.
fn with_lookup<T>(variables: &Variables, folder: &Path, read: impl FnOnce(&Lookup<'_>) -> T) -> T {
    let env = |name: &str| variables.value(name);
    let file = |path: &str| std::fs::read_to_string(folder.join(path));
    read(&Lookup {
        env: &env,
        file: &file,
    })
}
