//! Tools that build plugins: installed by the scripts of the SDKs, once.

use crate::project::{Project, binary, workspace};
use std::path::PathBuf;
use tokio::process::Command;
use tokio::sync::OnceCell;

/// Languages with an SDK, as `plugin new --lang` takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginLanguage {
    /// Built by Cargo.
    Rust,
    /// Built by componentize-py.
    Python,
    /// Built by esbuild and componentize-qjs.
    Js,
}

impl PluginLanguage {
    /// As the command line takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::Js => "js",
        }
    }

    /// What the tools need in their environment.
    async fn variables(self) -> &'static [(String, String)] {
        static RUST: OnceCell<Vec<(String, String)>> = OnceCell::const_new();
        static PYTHON: OnceCell<Vec<(String, String)>> = OnceCell::const_new();
        static JS: OnceCell<Vec<(String, String)>> = OnceCell::const_new();
        let cell = match self {
            Self::Rust => &RUST,
            Self::Python => &PYTHON,
            Self::Js => &JS,
        };
        cell.get_or_init(|| self.install()).await
    }

    async fn install(self) -> Vec<(String, String)> {
        let script = format!("plugins/sdk-{}/toolchain", self.name());
        let output = Command::new(workspace().join(&script))
            .current_dir(workspace())
            .output()
            .await
            .unwrap_or_else(|error| panic!("cannot run {script}: {error}"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{script} failed: {said}");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        match self {
            Self::Rust => rust_variables(&printed),
            Self::Python | Self::Js => {
                let path = std::env::var("PATH").unwrap_or_default();
                vec![("PATH".to_owned(), format!("{}:{path}", printed.trim()))]
            }
        }
    }
}

/// The script prints what a shell would read, and nothing where Rust has the target.
fn rust_variables(printed: &str) -> Vec<(String, String)> {
    let exports = printed
        .lines()
        .filter_map(|line| line.strip_prefix("export "));
    let mut variables: Vec<_> = exports
        .filter_map(|export| export.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
        .collect();
    // Dependencies of guests are built once, not for each test run.
    let target = cache().join("guests").display().to_string();
    variables.push(("CARGO_TARGET_DIR".to_owned(), target));
    variables
}

fn cache() -> PathBuf {
    let folder = |name| std::env::var_os(name).map(PathBuf::from);
    let caches = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    caches.expect("there is a home folder").join("syncset")
}

/// Builds the plugin in a folder of a project by `plugin build`, however long its tools take, and
/// returns what it prints.
///
/// # Panics
/// If that fails.
pub async fn build_plugin(project: &Project, language: PluginLanguage, folder: &str) -> String {
    let variables = language.variables().await;
    let output = Command::new(binary())
        .args(["plugin", "build", folder, "--output", "json"])
        .current_dir(project.path())
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .output()
        .await
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "plugin build {folder}: {printed}{said}"
    );
    printed
}

/// Runs a tool of a language in a folder of a project.
///
/// # Panics
/// If it fails.
pub async fn run_plugin_tool(
    project: &Project,
    language: PluginLanguage,
    folder: &str,
    words: &[&str],
) {
    let variables = language.variables().await;
    let (tool, arguments) = words.split_first().expect("a tool is named");
    let output = Command::new(tool)
        .args(arguments)
        .current_dir(project.path().join(folder))
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .output()
        .await
        .unwrap_or_else(|error| panic!("cannot run {tool}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words:?}: {said}");
}
