//! All keys of both files, as data: what a reader accepts, what an editor is told and what the
//! reference lists come from these rows. Whoever adds a key adds its row; readers ask for no key
//! that has none.

mod hooks;
mod json;
mod key;
mod masks;
mod pipeline;
mod plugins;
mod project;
mod reference;
mod section;
mod table;

pub(crate) use json::to_json;
pub(crate) use key::{Choice, Key, Takes};
pub(crate) use section::Section;

pub use json::{pipeline_schema, project_schema};
pub use reference::config_reference;
