//! What setting up a pipeline wants to know of a table besides its description. No run asks this.

use crate::CaptureMode;
use serde::Serialize;

/// What a store knows of one table besides its description.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Survey {
    /// What its owner has to run before this user can read any of it; empty if nothing is missing.
    pub grants: Vec<String>,
    /// Capture modes that this user may use for it.
    pub modes: Vec<CaptureMode>,
    /// Columns that an index begins with which covers all rows.
    pub indexed: Vec<String>,
    /// Triggers that fire for updates of its rows, so that they may stamp them.
    pub update_triggers: Vec<String>,
}
