//! What the pages say is so: links lead somewhere, YAML is what the program and the schemas read,
//! scripts run.

use boon::{Compiler, SchemaIndex, Schemas};
use kit::{Project, SqliteFile};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All pages for readers, with their texts.
fn pages() -> Vec<(PathBuf, String)> {
    let mut paths = vec![
        kit::workspace().join("README.md"),
        kit::workspace().join("ARCHITECTURE.md"),
        kit::workspace().join("CHANGELOG.md"),
        kit::workspace().join("benches/README.md"),
    ];
    for folder in ["docs", "pipelines/examples/shop"] {
        let entries =
            std::fs::read_dir(kit::workspace().join(folder)).expect("the folder is there");
        let files = entries.map(|entry| entry.expect("it can be read").path());
        paths.extend(files.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.clone(), read(&path)))
        .collect()
}

/// Lines outside of fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_inside = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_inside ^= is_fence;
        !is_inside && !is_fence
    })
}

/// Texts of the fenced blocks in a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(name), None) => open = Some((name == language, String::new())),
            (Some(_), Some(_)) => {
                blocks.extend(open.take().filter(|block| block.0).map(|block| block.1));
            }
            (None, Some((_, block))) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

/// The anchors that forges make of a page's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|character| {
                character.is_alphanumeric() || matches!(character, ' ' | '-' | '_')
            });
            kept.collect::<String>().replace(' ', "-")
        })
        .collect()
}

#[test]
fn relative_links_and_anchors_lead_somewhere() {
    let link = regex::Regex::new(r"\]\(([^)\s]+)\)").expect("the pattern is valid");
    let mut broken = Vec::new();
    let mut count = 0;

    for (path, text) in pages() {
        let targets = prose(&text).flat_map(|line| link.captures_iter(line));
        for target in targets.map(|found| found[1].to_owned()) {
            if target.starts_with("https://") {
                continue;
            }
            count += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let folder = path.parent().expect("a page is in a folder");
            let file = if file.is_empty() {
                path.clone()
            } else {
                folder.join(file)
            };
            let leads =
                file.exists() && (anchor.is_empty() || anchors(&read(&file)).contains(anchor));
            if !leads {
                broken.push(format!("{}: {target}", path.display()));
            }
        }
    }

    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(count > 50, "{count} links");
}

#[test]
fn every_page_is_reached_from_the_index() {
    let index = read(&kit::workspace().join("docs/README.md"));
    let site = read(&kit::workspace().join("mkdocs.yml"));

    for (path, _) in pages() {
        let folder = path.parent().expect("a page is in a folder");
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if folder.ends_with("docs") && name != "README.md" {
            assert!(
                index.contains(&format!("]({name})")),
                "docs/README.md lacks {name}"
            );
            assert!(
                site.contains(&format!(": {name}\n")),
                "mkdocs.yml lacks {name}"
            );
        }
    }
}

/// Both committed schemas, compiled.
struct JsonSchemas {
    schemas: Schemas,
    project: SchemaIndex,
    pipeline: SchemaIndex,
}

impl JsonSchemas {
    fn load() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        let mut compile = |name: &str| {
            let path = kit::workspace().join("schemas").join(name);
            let schema = serde_json::from_str(&read(&path)).expect("a schema is JSON");
            compiler
                .add_resource(name, schema)
                .expect("it is added once");
            compiler
                .compile(name, &mut schemas)
                .expect("it is a schema")
        };
        let project = compile("syncset.schema.json");
        let pipeline = compile("pipeline.schema.json");
        Self {
            schemas,
            project,
            pipeline,
        }
    }

    #[track_caller]
    fn assert_fits(&self, file: &File) {
        let index = match file.kind {
            Kind::Project => self.project,
            Kind::Pipeline => self.pipeline,
        };
        if let Err(error) = self.schemas.validate(&parsed(&file.text), index) {
            panic!("{}\n{}\n{error:#}", file.origin, file.text);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Project,
    Pipeline,
}

/// A file that a page shows, or that an example is made of.
#[derive(Debug)]
struct File {
    origin: String,
    kind: Kind,
    text: String,
}

fn parsed(text: &str) -> Value {
    serde_yaml_ng::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Completes what a page shows to a whole file: a part of one, or lines of a table.
fn completed(origin: String, block: &str) -> File {
    let value = parsed(block);
    let has = |key: &str| value.get(key).is_some();
    let mut text = block.to_owned();
    let kind = if ["connections", "lease", "plugins", "project", "retention"]
        .iter()
        .any(|key| has(key))
    {
        Kind::Project
    } else {
        Kind::Pipeline
    };
    let of_pipeline = [
        "version", "source", "target", "tables", "defaults", "mode", "tags",
    ];
    if kind == Kind::Pipeline && !of_pipeline.iter().any(|key| has(key)) {
        let is_shared = PIPELINE_ONLY.iter().any(|key| has(key));
        if !is_shared {
            let indented = block.lines().map(|line| format!("    {line}\n"));
            text = format!("tables:\n  orders:\n{}", indented.collect::<String>());
        }
    }
    let mut missing = vec![("version", "1")];
    if kind == Kind::Pipeline {
        missing.extend([
            ("source", "crm"),
            ("target", "replica"),
            ("tables", "{ t: {} }"),
        ]);
    }
    for (key, example) in missing {
        if parsed(&text).get(key).is_none() {
            text.push_str(&format!("{key}: {example}\n"));
        }
    }
    File { origin, kind, text }
}

/// Plugins that `transform` names anywhere in a file.
fn plugins_of(value: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if let Some(steps) = value.get("transform").and_then(Value::as_array) {
        let named = steps.iter().map(|step| step.get("plugin").unwrap_or(step));
        names.extend(named.filter_map(Value::as_str).map(str::to_owned));
    }
    if let Some(fields) = value.as_object() {
        names.extend(fields.values().flat_map(plugins_of));
    }
    names
}

/// Keys that a pipeline has and a table has not.
const PIPELINE_ONLY: [&str; 4] = ["consistency", "on_selection_change", "hooks", "guards"];

/// Every YAML block of every page, and the files of the examples.
fn shown_files() -> Vec<File> {
    let mut files = Vec::new();
    for (path, text) in pages() {
        for block in blocks(&text, "yaml") {
            files.push(completed(path.display().to_string(), &block));
        }
    }
    files
}

#[test]
fn yaml_on_the_pages_fits_the_schemas() {
    let schemas = JsonSchemas::load();

    for file in shown_files() {
        schemas.assert_fits(&file);
    }
}

#[tokio::test]
async fn yaml_on_the_pages_is_read_by_the_program() {
    let files = shown_files();
    let variable = regex::Regex::new(r"\$\{([A-Z_]+)\}").expect("the pattern is valid");
    let name = regex::Regex::new(r"(?m)^(?:source|target): ([a-z_]+)\s*(?:#.*)?$")
        .expect("the pattern is valid");
    let (mut names, mut variables) = (BTreeSet::new(), BTreeSet::new());
    for file in &files {
        names.extend(
            name.captures_iter(&file.text)
                .map(|found| found[1].to_owned()),
        );
        variables.extend(
            variable
                .captures_iter(&file.text)
                .map(|found| found[1].to_owned()),
        );
    }
    let connections: String = names
        .iter()
        .map(|name| format!("  {name}: \"postgres://sync@db/{name}\"\n"))
        .collect();
    let plugins = files
        .iter()
        .flat_map(|file| plugins_of(&parsed(&file.text)));
    let plugins: BTreeSet<String> = plugins.collect();
    let plugins: String = plugins
        .iter()
        .map(|name| format!("  {name}: {{ path: plugins/{name}.wasm }}\n"))
        .collect();
    let mut all = Project::new(&format!(
        "version: 1\nconnections:\n{connections}plugins:\n{plugins}"
    ));
    let project_files = files.iter().filter(|file| file.kind == Kind::Project);
    let mut projects: Vec<_> = project_files
        .map(|file| {
            let secrets = regex::Regex::new(r"\$\{file:/*").expect("the pattern is valid");
            let text = secrets.replace_all(&file.text, "$${file:");
            let project = Project::new(&text);
            for path in text
                .split("${file:")
                .skip(1)
                .filter_map(|rest| rest.split('}').next())
            {
                project.file(path, "secret");
            }
            project.pipeline(
                "p",
                "version: 1\nsource: 'sqlite:a'\ntarget: 'sqlite:b'\ntables: { t: {} }\n",
            );
            project
        })
        .collect();
    for (number, file) in files
        .iter()
        .enumerate()
        .filter(|(_, file)| file.kind == Kind::Pipeline)
    {
        all.pipeline(
            &format!("p{number}"),
            &format!("{}# {}\n", file.text, file.origin),
        );
    }

    for project in projects.iter_mut().chain([&mut all]) {
        for variable in &variables {
            project.set(variable, "postgres://sync@db/crm");
        }
        project
            .syncset(["pipeline", "validate"])
            .await
            .expect_success();
    }
}

/// The scripts of the steps that run syncset, by job.
fn scripts(job: &str) -> Vec<String> {
    let workflow = parsed(&read(
        &kit::workspace().join("docs/github-actions/data-check.yml"),
    ));
    let steps = workflow["jobs"][job]["steps"]
        .as_array()
        .expect("a job has steps")
        .clone();
    steps
        .iter()
        .filter_map(|step| step["run"].as_str())
        .filter(|script| script.contains("syncset "))
        .map(str::to_owned)
        .collect()
}

/// Runs the scripts as a runner of GitHub does; exit code of the first that fails, and output.
fn run_scripts(project: &Project, job: &str) -> (i32, String) {
    let programs = tempfile::tempdir().expect("a temporary folder can be created");
    std::os::unix::fs::symlink(kit::binary(), programs.path().join("syncset"))
        .expect("a link can be made");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut printed = String::new();
    for script in scripts(job) {
        let output = Command::new("bash")
            .args(["-e", "-c", &script])
            .env("PATH", format!("{}:{path}", programs.path().display()))
            .current_dir(project.path())
            .output()
            .expect("bash is there");
        printed.push_str(&String::from_utf8_lossy(&output.stdout));
        printed.push_str(&String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            return (output.status.code().unwrap_or(-1), printed);
        }
    }
    (0, printed)
}

async fn checked_project() -> (Project, SqliteFile) {
    let project = Project::new("version: 1\nconnections: { a: 'sqlite:a.db', b: 'sqlite:b.db' }\n");
    project.pipeline(
        "orders",
        "version: 1\nsource: a\ntarget: b\ntables: { orders: {} }\n",
    );
    let source = project.sqlite("a.db");
    source
        .execute("CREATE TABLE orders (id INTEGER PRIMARY KEY); INSERT INTO orders VALUES (1)")
        .await;
    (project, source)
}

#[tokio::test]
async fn workflow_warns_of_a_load_and_fails_on_a_broken_plan() {
    let (project, _source) = checked_project().await;

    let (code, printed) = run_scripts(&project, "files");
    assert_eq!(code, 0, "{printed}");
    let warning = "::warning file=pipelines/orders.yaml::the next run of orders";
    assert!(printed.contains(warning), "{printed}");

    project
        .syncset(["pipeline", "run", "orders"])
        .await
        .expect_success();
    let (code, printed) = run_scripts(&project, "files");
    assert_eq!(code, 0, "{printed}");
    assert!(!printed.contains("::warning"), "{printed}");

    project.pipeline(
        "orders",
        "version: 1\nsource: a\ntarget: b\ntables: { gone: {} }\n",
    );
    let (code, printed) = run_scripts(&project, "files");
    assert_eq!(code, 2, "{printed}");
    assert!(
        printed.contains("::error file=pipelines/orders.yaml::"),
        "{printed}"
    );
}

#[tokio::test]
async fn workflow_fails_while_a_pipeline_is_stale() {
    let (project, _source) = checked_project().await;

    let (code, printed) = run_scripts(&project, "fresh");
    assert_eq!(code, 4, "{printed}");

    project
        .syncset(["pipeline", "run", "orders"])
        .await
        .expect_success();
    let (code, printed) = run_scripts(&project, "fresh");
    assert_eq!(code, 0, "{printed}");
}
