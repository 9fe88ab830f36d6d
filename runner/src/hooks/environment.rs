//! What hooks of one process share: where they run, what they may know.

use super::redact::Redactor;
use crate::files::ProjectFiles;
use std::path::PathBuf;
use syncset_pipeline::PipelineSpec;

/// Where and with what commands are run.
pub(crate) struct HookEnvironment {
    /// False with `--no-hooks`.
    pub(crate) enabled: bool,
    /// The project folder: commands start there.
    pub(crate) folder: PathBuf,
    /// What commands get besides the environment of this process.
    pub(crate) variables: Vec<(String, String)>,
    /// Takes secrets out of what commands print.
    pub(crate) redactor: Redactor,
}

impl HookEnvironment {
    /// That of a project, for these pipelines.
    pub(crate) fn new(files: &ProjectFiles, specs: &[PipelineSpec], enabled: bool) -> Self {
        Self {
            enabled,
            folder: files.project.base.clone(),
            variables: files.variables().into_iter().collect(),
            redactor: Redactor::new(files, specs),
        }
    }
}
