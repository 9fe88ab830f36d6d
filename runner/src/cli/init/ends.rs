//! The two databases: from what the user names to opened stores and the text of `syncset.yaml`.

use super::InitArgs;
use super::ask::Asker;
use crate::cli::render;
use crate::dotenv;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::files::ProjectFiles;
use crate::open::open_store;
use crate::registry;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use syncset_connector::{Connector, PipelineKey, Role, ServerInfo, Store};
use syncset_pipeline::ConnectionSpec;
use syncset_pipeline::scaffold::{
    ConnectionScaffold, connection_name, dotenv_line, plain_name, project_file,
};

/// How often a wrong answer is asked again.
const TRIES_MAX: u32 = 5;

/// The folder, and the project that is in it, if there is one.
pub(super) struct Wanted {
    folder: PathBuf,
    /// Variables of the command line.
    set: Vec<(String, String)>,
    existing: Option<ProjectFiles>,
    /// What `.env` holds.
    dotenv: HashMap<String, String>,
    project: String,
}

/// One database, opened.
pub(super) struct End {
    /// Name of its connection.
    pub(super) name: String,
    /// Its connector.
    pub(super) connector: &'static dyn Connector,
    /// Where it leads, without a password.
    pub(super) address: Option<String>,
    /// The store.
    pub(super) store: Box<dyn Store>,
    info: ServerInfo,
    /// How it is written; `None` for a connection that the project has already.
    scaffold: Option<ConnectionScaffold>,
    /// Its line of `.env`: name and URL.
    variable: Option<(String, String)>,
}

/// Both databases, opened, and the project as it is or will be.
pub(super) struct Ends {
    /// What is read.
    pub(super) source: End,
    /// What is written.
    pub(super) target: End,
    /// The project.
    pub(super) files: ProjectFiles,
    /// Text of `syncset.yaml`; `None` if there is one already.
    pub(super) project_text: Option<String>,
    /// Lines to add to `.env`, and the variables they set.
    pub(super) dotenv: Vec<(String, String)>,
    /// True if a person answered, so that the other questions are asked too.
    pub(super) asked: bool,
}

/// A connection that is written down but not opened.
struct Named {
    name: String,
    scaffold: Option<ConnectionScaffold>,
    variable: Option<(String, String)>,
}

impl Wanted {
    /// Looks at the folder. It need not exist.
    pub(super) fn of(
        folder: &Path,
        set: &[(String, String)],
        args: &InitArgs,
    ) -> Result<Self, Failures> {
        // A project in a folder above is another one.
        let existing = match folder.join("syncset.yaml").exists() {
            true => Some(ProjectFiles::open(folder, set)?),
            false => None,
        };
        if existing.is_some() && args.project.is_some() {
            let message = "`--project`: the folder holds a project already, with a name of its own";
            return Err(Failure::new(exit_code::CONFIG, message)
                .with_hint(
                    "leave `--project` out to add a pipeline, or name another folder with `-C DIR`",
                )
                .into());
        }
        let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let folder_name = absolute.file_name().and_then(|name| name.to_str());
        let default = folder_name.map(plain_name).filter(|name| !name.is_empty());
        Ok(Self {
            dotenv: dotenv::read(folder)?,
            set: set.to_vec(),
            project: args
                .project
                .clone()
                .or(default)
                .unwrap_or_else(|| "default".to_owned()),
            folder: folder.to_owned(),
            existing,
        })
    }

    /// The connection that a text means.
    fn named(&self, text: &str, taken: Option<&Named>) -> Result<Named, Failure> {
        let config = |message: String| Failure::new(exit_code::CONFIG, message);
        if let Some(files) = &self.existing {
            let known = &files.project.connections;
            if known.contains_key(text) {
                return Ok(Named {
                    name: text.to_owned(),
                    scaffold: None,
                    variable: None,
                });
            }
            let list = known.keys().cloned().collect::<Vec<_>>().join(", ");
            // The text may be a URL with a password, so it is not repeated.
            return Err(config(
                "the folder holds a project already, and this is none of its connections"
                    .to_owned(),
            )
            .with_hint(format!(
                "name two of its connections ({list}) to add a pipeline, add the new one to \
                 syncset.yaml, or choose another folder with `-C DIR`"
            )));
        }
        let is_variable = text.starts_with("${") && text.ends_with('}');
        let url = match is_variable {
            true => self.value_of(text.trim_start_matches("${").trim_end_matches('}'))?,
            false => text.to_owned(),
        };
        let kind = kind_of(&url)?;
        let taken_name = taken.map(|taken| taken.name.as_str());
        let name = connection_name(&url).unwrap_or_else(|| kind.to_owned());
        let name = match taken_name {
            Some(taken) if taken == name => format!("{name}_copy"),
            _ => name,
        };
        let taken_variable = taken.and_then(|taken| taken.variable.as_ref());
        let (written, variable) = match kind {
            _ if is_variable => (text.to_owned(), None),
            // A file has no password, and its path is no secret.
            "sqlite" => (url.replace("${", "$${"), None),
            _ => {
                let variable = self.variable(&name, &url, taken_variable);
                (format!("${{{variable}}}"), Some((variable, url)))
            }
        };
        Ok(Named {
            scaffold: Some(ConnectionScaffold {
                name: name.clone(),
                kind: kind.to_owned(),
                url: written,
                about: String::new(),
            }),
            name,
            variable,
        })
    }

    fn value_of(&self, variable: &str) -> Result<String, Failure> {
        let set = self.set.iter().find(|(name, _)| name == variable);
        let set = set.map(|(_, value)| value.clone());
        set.or_else(|| std::env::var(variable).ok())
            .or_else(|| self.dotenv.get(variable).cloned())
            .ok_or_else(|| {
                Failure::new(exit_code::CONFIG, format!("`${{{variable}}}` is not set")).with_hint(
                    format!("export {variable}=..., or write it into .env, and run again"),
                )
            })
    }

    /// A variable that holds this URL or is free: neither the environment nor `.env` has another
    /// value for it.
    fn variable(&self, name: &str, url: &str, taken: Option<&(String, String)>) -> String {
        let stem = name.replace('-', "_").to_ascii_uppercase();
        let stem = match stem.starts_with(|first: char| first.is_ascii_digit()) {
            true => format!("DB_{stem}"),
            false => stem,
        };
        let is_free = |variable: &String| {
            let known = self.value_of(variable).ok();
            known.is_none_or(|known| known == url) && taken.is_none_or(|taken| taken.0 != *variable)
        };
        let numbered = (2..).map(|number| format!("{stem}_URL_{number}"));
        let mut candidates = std::iter::once(format!("{stem}_URL")).chain(numbered);
        candidates.find(is_free).expect("numbers do not end")
    }

    /// The project with these connections in it.
    fn files(&self, connections: &[&Named]) -> Result<ProjectFiles, Failures> {
        if self.existing.is_some() {
            return ProjectFiles::open(&self.folder, &self.set);
        }
        let scaffolds: Vec<_> = connections
            .iter()
            .filter_map(|named| named.scaffold.clone())
            .collect();
        let mut dotenv = self.dotenv.clone();
        dotenv.extend(
            connections
                .iter()
                .filter_map(|named| named.variable.clone()),
        );
        ProjectFiles::of_text(
            &self.folder,
            &project_file(&self.project, &scaffolds),
            &self.set,
            dotenv,
        )
    }

    fn connections(&self) -> String {
        let Some(files) = &self.existing else {
            return "postgres://user:password@host/database or sqlite:FILE".to_owned();
        };
        let names: Vec<_> = files.project.connections.keys().cloned().collect();
        format!("a connection of syncset.yaml: {}", names.join(", "))
    }
}

impl Ends {
    /// Opens both databases; asks for what the command line leaves out.
    pub(super) async fn open(
        wanted: Wanted,
        args: &InitArgs,
        asker: &mut Asker,
    ) -> Result<Self, Failures> {
        let is_given = args.from.is_some() && args.to.is_some();
        if !is_given && !asker.answers() {
            let missing = if args.from.is_none() {
                "--from"
            } else {
                "--to"
            };
            let message =
                format!("`{missing}` is missing, and nobody can be asked: this is no terminal");
            return Err(Failure::new(exit_code::CONFIG, message)
                .with_hint("syncset init --from postgres://user:password@host/crm --to sqlite:copy.db --tables 'public.*'")
                .into());
        }
        let source = Side {
            role: Role::Source,
            given: args.from.as_deref(),
            taken: None,
        };
        let (source_name, source) = source.open(&wanted, asker).await?;
        let target = Side {
            role: Role::Target,
            given: args.to.as_deref(),
            taken: Some(&source_name),
        };
        let (_, target) = target.open(&wanted, asker).await?;
        let scaffolds: Vec<_> = [&source, &target]
            .into_iter()
            .filter_map(|end| end.scaffold.clone())
            .collect();
        let dotenv: Vec<_> = [&source, &target]
            .into_iter()
            .filter_map(|end| end.variable.clone())
            .collect();
        let (files, project_text) = match wanted.existing {
            Some(files) => (files, None),
            None => {
                let text = project_file(&wanted.project, &scaffolds);
                let mut known = wanted.dotenv.clone();
                known.extend(dotenv.iter().cloned());
                let files = ProjectFiles::of_text(&wanted.folder, &text, &wanted.set, known)?;
                (files, Some(text))
            }
        };
        let is_new = |(name, _): &(String, String)| !wanted.dotenv.contains_key(name);
        Ok(Self {
            source,
            target,
            files,
            project_text,
            dotenv: dotenv
                .into_iter()
                .filter(is_new)
                .map(|(name, url)| (dotenv_line(&name, &url), name))
                .collect(),
            asked: !is_given,
        })
    }

    /// Closes both.
    pub(super) async fn close(self) {
        self.source.store.close().await;
        self.target.store.close().await;
    }
}

/// One side that is to be opened.
struct Side<'a> {
    role: Role,
    given: Option<&'a str>,
    /// The connection of the other side.
    taken: Option<&'a Named>,
}

impl Side<'_> {
    async fn open(self, wanted: &Wanted, asker: &mut Asker) -> Result<(Named, End), Failures> {
        let what = match self.role {
            Role::Source => "Copy from",
            Role::Target => "Copy to",
        };
        if let Some(text) = self.given {
            let named = wanted.named(text, self.taken)?;
            let end = self.connect(wanted, &named).await?;
            return Ok((named, end));
        }
        let question = format!("{what} ({})", wanted.connections());
        for _ in 1..TRIES_MAX {
            let tried = self.answered(wanted, &asker.ask(&question, None)?).await;
            match tried {
                Ok((named, end)) => {
                    render::talk(&format!("  {}\n", end.about()));
                    return Ok((named, end));
                }
                Err(failures) => failures.0.iter().for_each(render::failure),
            }
        }
        self.answered(wanted, &asker.ask(&question, None)?).await
    }

    async fn answered(&self, wanted: &Wanted, text: &str) -> Result<(Named, End), Failures> {
        let named = wanted.named(text, self.taken)?;
        let end = self.connect(wanted, &named).await?;
        Ok((named, end))
    }

    async fn connect(&self, wanted: &Wanted, named: &Named) -> Result<End, Failures> {
        let connections: Vec<&Named> = self.taken.into_iter().chain([named]).collect();
        let files = wanted.files(&connections)?;
        let spec = spec(&files, &named.name)?;
        let key = PipelineKey {
            project: files.project.name.clone(),
            pipeline: "init".into(),
        };
        let store = open_store(spec, self.role, &key, 1).await?;
        let info = store.server_info().await?;
        let connector = registry::connector(&spec.kind).ok_or_else(|| {
            Failure::new(
                exit_code::CONFIG,
                format!("this build has no connector `{}`", spec.kind),
            )
        })?;
        let mut end = End {
            name: named.name.clone(),
            connector,
            address: connector.address(&spec.settings),
            store,
            info,
            scaffold: named.scaffold.clone(),
            variable: named.variable.clone(),
        };
        let about = end.about();
        if let Some(scaffold) = &mut end.scaffold {
            scaffold.about = about;
        }
        Ok(end)
    }
}

impl End {
    /// `PostgreSQL 15.18, database crm, user sync`.
    fn about(&self) -> String {
        match &self.info.user {
            Some(user) => {
                format!(
                    "{}, database `{}`, user `{user}`.",
                    self.info.product, self.info.database
                )
            }
            None => format!("{}.", self.info.product),
        }
    }
}

fn spec<'a>(files: &'a ProjectFiles, name: &str) -> Result<&'a ConnectionSpec, Failure> {
    files.project.connections.get(name).ok_or_else(|| {
        Failure::new(
            exit_code::CONFIG,
            format!("there is no connection `{name}`"),
        )
    })
}

fn kind_of(url: &str) -> Result<&'static str, Failure> {
    let catalog = registry::catalog();
    let scheme = url
        .split_once(':')
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    let known = scheme.and_then(|scheme| {
        catalog
            .iter()
            .find(|info| info.schemes.contains(&scheme.as_str()))
            .map(|info| info.kind)
    });
    known.ok_or_else(|| {
        let schemes: Vec<_> = catalog
            .iter()
            .flat_map(|info| info.schemes)
            .copied()
            .collect();
        // The text may hold a password, so it is not repeated.
        Failure::new(
            exit_code::CONFIG,
            "this is no URL of a database that syncset knows",
        )
        .with_hint(format!(
            "for example `postgres://user:password@host/database` or `sqlite:shop.db`; the \
                 schemes are {}",
            schemes.join(", ")
        ))
    })
}
