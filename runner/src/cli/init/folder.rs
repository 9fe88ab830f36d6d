//! The folder of a new project: relative paths of its databases lead somewhere only once it is
//! there.

use super::write::failed;
use crate::failure::Failure;
use std::fs;
use std::path::Path;

/// A folder that was made if it was missing. It goes again with this value if it is empty.
pub(super) struct ProjectFolder<'a> {
    /// The folder, if it was made.
    made: Option<&'a Path>,
}

impl<'a> ProjectFolder<'a> {
    /// Makes the folder if it is missing.
    pub(super) fn ensure(folder: &'a Path) -> Result<Self, Failure> {
        if folder.exists() {
            return Ok(Self { made: None });
        }
        fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        Ok(Self { made: Some(folder) })
    }
}

impl Drop for ProjectFolder<'_> {
    fn drop(&mut self) {
        if let Some(folder) = self.made {
            // Fails where files were written into it, which is what it was made for.
            let _ = fs::remove_dir(folder);
        }
    }
}
