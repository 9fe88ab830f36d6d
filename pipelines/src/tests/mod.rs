//! What a user writes and what is made of it.

mod conditions;
mod documentation;
mod evolution;
mod lab;
mod masks;
mod mistakes;
mod plans;
mod plugins;
mod presets;
mod renames;
mod scaffolds;
mod schema;
mod table_mistakes;
