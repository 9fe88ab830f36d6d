//! The committed files that are made from the program: they must be what it makes.

use crate::registry;
use std::path::{Path, PathBuf};

/// Set to write the files instead of comparing them.
const RENEW: &str = "SYNCSET_RENEW";

/// What to do if they differ.
const COMMAND: &str = "SYNCSET_RENEW=1 cargo test --workspace --locked --lib -- cli::documents";

fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .expect("the package is in a workspace")
        .to_owned()
}

/// Compares a committed file with what it must be, or writes it.
fn assert_current(path: &str, wanted: &str) {
    let file = root().join(path);
    if std::env::var_os(RENEW).is_some() {
        std::fs::write(&file, wanted).expect("the file can be written");
        return;
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    let line = wanted
        .lines()
        .zip(found.lines())
        .position(|(wanted, found)| wanted != found);
    let line = line.unwrap_or_else(|| wanted.lines().count().min(found.lines().count())) + 1;
    assert!(
        found == wanted,
        "{path} differs from line {line} on; renew it and read what changed: {COMMAND}"
    );
}

fn pretty(schema: &serde_json::Value) -> String {
    serde_json::to_string_pretty(schema).expect("a value is JSON") + "\n"
}

#[test]
fn json_schemas_are_those_of_the_keys() {
    let catalog = registry::catalog();

    let project = pretty(&syncset_pipeline::project_schema(&catalog));
    assert_current("schemas/syncset.schema.json", &project);
    let pipeline = pretty(&syncset_pipeline::pipeline_schema(&catalog));
    assert_current("schemas/pipeline.schema.json", &pipeline);
}

#[test]
fn config_reference_is_that_of_the_keys() {
    let page = syncset_pipeline::config_reference(&registry::catalog());

    assert_current("docs/config-reference.md", &page);
}
