//! The files that a project starts with, written from what two stores say about themselves.
//!
//! Pure: descriptions in, texts and decisions out. Whoever calls it asks the stores and writes the
//! files. What is written is valid as it stands; whatever only a person can decide is a comment.

mod choose;
mod evidence;
mod personal;
mod pipeline_file;
mod project_file;
mod text;

pub use choose::{Choice, Chosen, Excluded, LeftOut};
pub use evidence::Cursor;
pub use personal::{Sensitivity, sensitivity};
pub use pipeline_file::{PipelineScaffold, pipeline_file};
pub use project_file::{
    ConnectionScaffold, connection_name, dotenv_line, plain_name, project_file,
};
pub use text::display_size;

use syncset_connector::{Survey, TableDescription, TypeMapping};

/// A table or view of the source, with everything that decides what is written about it.
#[derive(Debug, Clone)]
pub struct ScaffoldTable {
    /// What the source says.
    pub description: TableDescription,
    /// What it says besides.
    pub survey: Survey,
    /// What each column becomes at the target, in the order of the columns.
    pub mappings: Vec<TypeMapping>,
    /// Why a plan refused it, if one did.
    pub refused: Option<String>,
}

/// Tables from this size on are put apart, because reading them in each run is worth a thought:
/// some seconds at the speed of one connection.
const LARGE_BYTES: u64 = 256 << 20;

impl ScaffoldTable {
    fn is_large(&self) -> bool {
        self.description
            .byte_estimate
            .is_some_and(|bytes| bytes >= LARGE_BYTES)
    }
}
