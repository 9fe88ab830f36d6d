//! The stores of a check, and where each look reads the source's rows.

use super::RUNS_ASKED;
use super::replica::Replica;
use crate::failure::Failure;
use crate::open::Ends;
use syncset_connector::{PipelineState, Source, Store};

/// The stores of a check.
pub(super) struct Stores<'a> {
    pub(super) ends: &'a Ends,
    /// The target's, opened to be read.
    pub(super) target: &'a dyn Store,
    /// Its reading side.
    pub(super) reader: &'a dyn Source,
    /// Where the first look reads the source's rows, if not at the source.
    pub(super) replica: Option<&'a Replica>,
}

/// Which look at the source's rows it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// At all of them, to find what may differ.
    First,
    /// At those that differed, which decides.
    Second,
}

impl Stores<'_> {
    /// Where a look reads the source's rows.
    pub(super) fn source(&self, look: Look) -> Result<&dyn Source, Failure> {
        match (look, self.replica) {
            (Look::First, Some(replica)) => replica.source(),
            _ => Ok(self.ends.source()),
        }
    }

    pub(super) async fn state(&self) -> Result<PipelineState, Failure> {
        Ok(self.ends.state().load(&self.ends.key, RUNS_ASKED).await?)
    }
}
