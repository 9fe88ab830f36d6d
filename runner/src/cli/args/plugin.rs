//! Arguments of `plugin`.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum PluginVerb {
    /// Make the folder of a plugin: a function and a transform to begin with, their SDK, and cases
    /// to test them with
    New(PluginNewArgs),
    /// Build a plugin by the tools of its language, and check what comes out
    Build {
        /// Folder of the plugin, as `plugin new` makes it; the file is put into it
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Name the plugins of the project, whether each is the file that was pinned, and the pipelines
    /// that use it
    List,
    /// Show what a plugin says of itself: version, imports, functions, configuration, size, hash
    Inspect {
        /// Name of a plugin of syncset.yaml, or the path of a `.wasm` or `.wat` file
        plugin: String,
    },
    /// Show what a plugin makes of a few rows, before and after side by side; writes nothing
    Test(PluginTestArgs),
    /// Check plugins and write the hashes of their files into syncset.yaml; all if none is named
    Pin {
        /// Names from syncset.yaml
        names: Vec<String>,
    },
}

/// Languages with an SDK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// The fastest: some 18 million rows a second
    Rust,
    /// Built by componentize-py; about a million rows a second
    Python,
    /// JavaScript or TypeScript, built by componentize-qjs; about half a million rows a second
    Js,
}

#[derive(Debug, Args)]
pub(crate) struct PluginNewArgs {
    /// The language
    #[arg(long, value_enum)]
    pub(crate) lang: Language,
    /// Folder to make; its last part is the plugin's name
    #[arg(value_name = "NAME")]
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct PluginTestArgs {
    /// Name of a plugin of syncset.yaml, or the path of a `.wasm` or `.wat` file
    pub(crate) plugin: String,
    /// Rows: a file of JSON objects, one a line, a `.csv` file, or `pipeline:NAME[/TABLE]` for rows
    /// of that pipeline's source
    #[arg(long, value_name = "INPUT")]
    pub(crate) input: String,
    /// First rows of the input to take at most
    #[arg(long, default_value_t = 20, value_parser = parse_limit, value_name = "ROWS")]
    pub(crate) limit: usize,
    /// Configuration as JSON, in place of the one in syncset.yaml or the pipeline
    #[arg(long, value_name = "JSON")]
    pub(crate) config: Option<String>,
    /// Compute this expression for each row, such as `normalise_phone(phone, country)`, instead of
    /// transforming the rows
    #[arg(long, value_name = "SQL")]
    pub(crate) call: Option<String>,
    /// Rows that must come out, as JSON objects, one a line; columns that they leave out may be
    /// anything. Exit with 4 if they differ
    #[arg(long, value_name = "FILE")]
    pub(crate) expect: Option<PathBuf>,
}

/// Rows of a sample.
fn parse_limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit @ 1..=100_000) => Ok(limit),
        _ => Err("a number from 1 to 100000".to_owned()),
    }
}
