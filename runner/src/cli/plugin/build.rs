//! `plugin build`: from the folder of a plugin to its component, by the tools of its language.

use crate::cli::args::{Cli, Language};
use crate::cli::plugin::{is_text, list};
use crate::cli::render;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use syncset_plugin_host::{Interrupt, Limits, Plugin, PluginFile, Wasi, to_component};

/// What Rust builds for.
const RUST_TARGET: &str = "wasm32-unknown-unknown";

/// Builds it; the tools say on stderr what they do.
pub(super) fn build(cli: &Cli, folder: &Path) -> Result<i32, Failures> {
    let folder = cli.directory.join(folder);
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    let language = language_of(&folder).ok_or_else(|| {
        let message = format!("`{}` is not the folder of a plugin", folder.display());
        Failure::new(exit_code::CONFIG, message).with_hint(
            "it has Cargo.toml, plugin.py or plugin.js; `syncset plugin new --lang rust|python|js \
             NAME` makes one",
        )
    })?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let component = folder.join(format!("{name}.wasm"));
    match language {
        Language::Rust => rust(&folder, &component)?,
        Language::Python => python(&folder, &component)?,
        Language::Js => js(&folder, &component)?,
    }
    let file = PluginFile {
        name: name.clone().into_owned(),
        path: component.clone(),
        sha256: None,
        wasi: Wasi::None,
        limits: Limits::default(),
        interrupt: Interrupt::default(),
    };
    let plugin = Plugin::load(&file).map_err(Failure::from)?;
    if is_text(cli.output) {
        let shown = component.strip_prefix(std::path::absolute(&cli.directory).unwrap_or_default());
        let shown = shown.unwrap_or(&component).display();
        render::text_out(&format!(
            "{shown}  {}  sha256 {}\n",
            list::size(plugin.byte_count()),
            plugin.sha256()
        ));
    } else {
        render::json(&json!({
            "exit_code": 0,
            "path": component,
            "bytes": plugin.byte_count(),
            "sha256": plugin.sha256(),
        }));
    }
    Ok(exit_code::DONE)
}

fn language_of(folder: &Path) -> Option<Language> {
    let has = |name: &str| folder.join(name).is_file();
    if has("Cargo.toml") {
        Some(Language::Rust)
    } else if has("plugin.py") {
        Some(Language::Python)
    } else if has("plugin.js") || has("plugin.ts") {
        Some(Language::Js)
    } else {
        None
    }
}

/// Cargo says which file it has built.
fn rust(folder: &Path, component: &Path) -> Result<(), Failure> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--release", "--target", RUST_TARGET])
        .arg("--message-format=json-render-diagnostics");
    let hint = "`rustup target add wasm32-unknown-unknown` adds what Rust needs for it";
    let output = run(cargo, folder, hint).map_err(|failure| match has_target(folder) {
        true => failure,
        false => failure.with_hint(hint),
    })?;
    let lines = output
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let mut modules = lines.filter_map(|message: Value| {
        let names = message["filenames"].as_array()?.iter();
        let mut names = names.filter_map(Value::as_str);
        names
            .find(|name| name.ends_with(".wasm"))
            .map(PathBuf::from)
    });
    let module = modules.next_back().ok_or_else(|| {
        Failure::new(exit_code::FAILED, "cargo built no `.wasm` file".to_owned())
            .with_hint("Cargo.toml needs `crate-type = [\"cdylib\"]`")
    })?;
    let bytes = std::fs::read(&module).map_err(|error| unreadable(&module, &error))?;
    let bytes = to_component(&bytes).map_err(|reason| Failure::new(exit_code::FAILED, reason))?;
    std::fs::write(component, bytes).map_err(|error| {
        let message = format!("cannot write `{}`: {error}", component.display());
        Failure::new(exit_code::FAILED, message)
    })
}

/// Whether the toolchain of a folder can build for WASM.
fn has_target(folder: &Path) -> bool {
    let asked = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", RUST_TARGET])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output();
    asked.is_ok_and(|output| {
        let libraries = String::from_utf8_lossy(&output.stdout);
        output.status.success() && Path::new(libraries.trim()).is_dir()
    })
}

/// componentize-py puts the interpreter, the SDK and the plugin into one component.
fn python(folder: &Path, component: &Path) -> Result<(), Failure> {
    let environment = folder.join(".venv");
    let own = environment.join("bin/componentize-py");
    let mut tool = Command::new(if own.is_file() {
        own.as_path()
    } else {
        Path::new("componentize-py")
    });
    if own.is_file() {
        // Packages of the plugin's own environment, not those of whoever calls it.
        tool.env("VIRTUAL_ENV", &environment);
    }
    tool.args([
        "-d",
        "sdk/wit",
        "-w",
        "batch-plugin",
        "componentize",
        "--stub-wasi",
    ])
    .args(["-p", ".", "-p", "sdk", "syncset_plugin.guest", "-o"])
    .arg(component);
    run(
        tool,
        folder,
        "`python3 -m venv .venv` and `.venv/bin/pip install -r requirements.txt` in its folder \
         install what Python needs for it",
    )?;
    Ok(())
}

/// esbuild makes one file of the modules, componentize-qjs puts it beside its engine.
fn js(folder: &Path, component: &Path) -> Result<(), Failure> {
    let hint = "`npm install` in its folder installs what JavaScript needs for it";
    let tool = |name: &str| {
        let own = folder.join("node_modules/.bin").join(name);
        Command::new(if own.is_file() {
            own
        } else {
            PathBuf::from(name)
        })
    };
    let mut bundle = tool("esbuild");
    bundle
        .args([
            "sdk/entry.js",
            "--bundle",
            "--format=esm",
            "--platform=neutral",
        ])
        .args([
            "--main-fields=module,main",
            "--target=es2022",
            "--external:syncset:*",
        ])
        .args(["--outfile=build/plugin.js", "--log-level=warning"]);
    run(bundle, folder, hint)?;
    let mut componentize = tool("componentize-qjs");
    componentize
        .args([
            "--wit",
            "sdk/wit",
            "--world",
            "batch-plugin",
            "--js",
            "build/plugin.js",
        ])
        .args(["--stub-wasi", "--sync", "-o"])
        .arg(component);
    run(componentize, folder, hint)?;
    Ok(())
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let message = format!("cannot read `{}`: {error}", path.display());
    Failure::new(exit_code::FAILED, message)
}

/// Runs a tool in a folder; what it prints on stdout.
fn run(mut command: Command, folder: &Path, hint: &str) -> Result<String, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    let output = child.map_err(|error| {
        let message = format!("cannot run `{program}`: {error}");
        Failure::new(exit_code::FAILED, message).with_hint(hint)
    })?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            // The tool is there: what it says is what is wrong.
            let message = format!("`{program}` failed ({}): see above", output.status);
            Err(Failure::new(exit_code::FAILED, message))
        }
    }
}
