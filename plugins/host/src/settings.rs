//! Where a plugin is and what it may use.

use crate::interrupt::Interrupt;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A plugin as the project's file names it.
#[derive(Debug, Clone)]
pub struct PluginFile {
    /// Its name in the project.
    pub name: String,
    /// The component, the core module, or the text form of either.
    pub path: PathBuf,
    /// SHA-256 of the file in lower-case hexadecimal digits; `None` takes whatever is there.
    pub sha256: Option<String>,
    /// Whether it is given an empty WASI.
    pub wasi: Wasi,
    /// What it may use.
    pub limits: Limits,
    /// How its calls are ended before their time is up.
    pub interrupt: Interrupt,
}

/// What of WASI a plugin is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wasi {
    /// Nothing: a plugin that imports it is refused.
    #[default]
    None,
    /// No files, environment, arguments and sockets; a clock that stands still; the same random
    /// bytes each time. What is printed goes to the log.
    Sandbox,
}

/// What a plugin may use. A call that would use more is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory of one instance.
    pub memory_bytes: usize,
    /// How long one call may take.
    pub batch_timeout: Duration,
    /// Units of work of one call, about one for each instruction; `None`: not counted.
    pub fuel: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 * 1024 * 1024,
            batch_timeout: Duration::from_secs(30),
            fuel: None,
        }
    }
}

/// Text without the secrets that it may quote.
type Hide = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// The configuration of a plugin.
#[derive(Clone)]
pub struct Config {
    json: String,
    hide: Option<Hide>,
}

impl Config {
    /// A JSON object.
    pub fn new(json: impl Into<String>) -> Self {
        Self {
            json: json.into(),
            hide: None,
        }
    }

    /// What the plugin says passes through here before anybody sees it: it may quote a secret.
    #[must_use]
    pub fn hiding(mut self, hide: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        self.hide = Some(Arc::new(hide));
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.json == "{}"
    }

    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    pub(crate) fn hidden(&self, text: String) -> String {
        match &self.hide {
            Some(hide) => hide(&text),
            None => text,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new("{}")
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Config").finish_non_exhaustive()
    }
}

/// SHA-256 of a plugin's file as `sha256:` is written: lower-case hexadecimal digits.
pub fn sha256_of(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
