//! Puts the SDKs and templates of plugins into the program, for `plugin new`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Folders that builds leave behind, and what authors do not need.
const LEFT_OUT: [&str; 7] = [
    ".ruff_cache",
    "target",
    "node_modules",
    "__pycache__",
    "tests",
    ".venv",
    "toolchain",
];

/// Languages, and the folders of their SDKs.
const SDKS: [(&str, &str); 3] = [
    ("rust", "sdk-rust"),
    ("python", "sdk-python"),
    ("js", "sdk-js"),
];

fn main() {
    let plugins = PathBuf::from(env("CARGO_MANIFEST_DIR")).join("../plugins");
    let mut text = String::from("[\n");
    for (language, folder) in SDKS {
        let root = plugins.join(folder);
        println!("cargo:rerun-if-changed={}", root.display());
        let template = root.join("template");
        for file in files(&template) {
            add(&mut text, language, "", &template, &file);
        }
        for file in files(&root) {
            // What an author installs is in the template.
            let is_own = file == root.join("package.json") || file == root.join(".gitignore");
            if !file.starts_with(&template) && !is_own {
                add(&mut text, language, "sdk/", &root, &file);
            }
        }
        let wit = plugins.join("wit");
        add(
            &mut text,
            language,
            "sdk/wit/",
            &wit,
            &wit.join("plugin.wit"),
        );
    }
    text.push_str("]\n");
    let path = Path::new(&env("OUT_DIR")).join("plugin_files.rs");
    std::fs::write(path, text).expect("the build folder can be written");
}

fn env(name: &str) -> String {
    std::env::var(name).expect("cargo sets it")
}

fn add(text: &mut String, language: &str, prefix: &str, root: &Path, file: &Path) {
    let name = file.strip_prefix(root).expect("it was found there");
    let name = name.to_str().expect("our own names are UTF-8");
    println!("cargo:rerun-if-changed={}", file.display());
    let line = format!("({language:?}, \"{prefix}{name}\", include_bytes!({file:?})),\n");
    text.write_str(&line).expect("a string takes everything");
}

/// All files below a folder, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| LEFT_OUT.contains(&name)) {
            continue;
        }
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}
