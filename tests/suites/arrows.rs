//! Which crate may see which: the arrows of the architecture, read from what Cargo resolves.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Crates of a workspace member's `[dependencies]`; what tests depend on is not counted.
type Dependencies = BTreeMap<String, BTreeSet<String>>;

const API: &str = "syncset-connector";
const RUNNER: &str = "syncset";
const TRANSFORM: &str = "syncset-transform";
const HOST: &str = "syncset-plugin-host";
const PIPELINE: &str = "syncset-pipeline";

fn dependencies() -> Dependencies {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(kit::workspace())
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    packages
        .iter()
        .map(|package| (text(&package["name"]), dependencies_of(package)))
        .collect()
}

fn dependencies_of(package: &Value) -> BTreeSet<String> {
    let listed = package["dependencies"].as_array();
    listed
        .expect("a package lists its dependencies")
        .iter()
        .filter(|dependency| dependency["kind"].is_null())
        .map(|dependency| text(&dependency["name"]))
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("names are text").to_owned()
}

/// Names of the crates in `connectors/`, without the contract.
fn connectors() -> BTreeSet<String> {
    std::fs::read_dir(kit::workspace().join("connectors"))
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").file_name())
        .map(|folder| format!("syncset-{}", folder.to_string_lossy()))
        .filter(|name| name != "syncset-api")
        .collect()
}

/// Crates of this workspace among the dependencies of `name`.
fn ours(dependencies: &Dependencies, name: &str) -> BTreeSet<String> {
    let members: BTreeSet<String> = dependencies.keys().cloned().collect();
    dependencies[name].intersection(&members).cloned().collect()
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[test]
fn contract_knows_no_crate_of_ours_and_no_driver() {
    let dependencies = dependencies();

    assert_eq!(ours(&dependencies, API), set([]));
    for heavy in ["datafusion", "sqlx", "tokio"] {
        assert!(!dependencies[API].contains(heavy), "{heavy}");
    }
}

#[test]
fn connectors_see_the_contract_and_never_each_other() {
    let dependencies = dependencies();

    for connector in connectors() {
        assert_eq!(ours(&dependencies, &connector), set([API]), "{connector}");
    }
}

#[test]
fn pipelines_and_transform_see_only_what_they_may() {
    let dependencies = dependencies();

    assert_eq!(ours(&dependencies, PIPELINE), set([API]));
    let transform = ours(&dependencies, TRANSFORM);
    assert!(transform.is_subset(&set([API, HOST])));
    for io in ["sqlx", "tokio"] {
        assert!(!dependencies[PIPELINE].contains(io), "{io}");
    }
}

#[test]
fn only_the_host_of_plugins_runs_wasm_and_it_sees_no_crate_of_ours() {
    let dependencies = dependencies();

    let runs_wasm = |names: &BTreeSet<String>| names.iter().any(|it| it.starts_with("wasmtime"));
    let users: Vec<_> = dependencies
        .iter()
        .filter(|(_, names)| runs_wasm(names))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(users, [HOST]);
    assert_eq!(ours(&dependencies, HOST), set([]));
}

#[test]
fn only_transform_depends_on_datafusion() {
    let dependencies = dependencies();

    let users: Vec<_> = dependencies
        .iter()
        .filter(|(_, names)| names.iter().any(|name| name.starts_with("datafusion")))
        .map(|(name, _)| name.as_str())
        .collect();

    assert_eq!(users, [TRANSFORM]);
}

#[test]
fn only_the_registry_of_the_runner_names_connectors() {
    let crates: Vec<String> = connectors()
        .iter()
        .map(|name| name.replace('-', "_"))
        .collect();
    let mut namers = BTreeSet::new();

    for file in rust_files(&kit::workspace().join("runner/src")) {
        let source = std::fs::read_to_string(&file).expect("sources are text");
        if crates.iter().any(|name| source.contains(name)) {
            namers.insert(file);
        }
    }

    assert_eq!(
        namers,
        [kit::workspace().join("runner/src/registry.rs")].into()
    );
}

#[test]
fn runner_names_each_connector_by_a_feature_of_its_own() {
    let manifest = std::fs::read_to_string(kit::workspace().join("runner/Cargo.toml")).unwrap();
    let dependencies = dependencies();

    for connector in connectors().intersection(&dependencies[RUNNER]) {
        let feature = connector.trim_start_matches("syncset-");
        let line = format!("{feature} = [\"dep:{connector}\"]");
        assert!(manifest.contains(&line), "{line}");
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
