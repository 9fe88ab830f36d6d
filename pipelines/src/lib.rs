//! What a syncset pipeline is: its files, their meaning and their plan.
//!
//! Everything here is pure: texts and descriptions in, values or problems out. Files are read,
//! stores are asked and problems are printed by the caller. Every function returns all problems
//! it can find, each with its file, line and column.
//!
//! The order: [`parse_project`], [`parse_pipeline`], [`select_tables`] with the tables the source
//! lists, [`plan_tables`] with those it describes.

mod capture_default;
mod capture_plan;
mod capture_setting;
mod condition;
mod connection;
mod destination;
mod evolution;
mod fields;
mod guards;
mod hooks;
mod interpolate;
mod lossy_setting;
mod lost;
mod marks;
mod mask_plan;
mod mask_setting;
mod nearest;
mod order;
mod outputs;
mod pipeline;
mod plan;
mod planner;
mod plugin;
mod plugin_columns;
mod plugin_plan;
mod plugin_setting;
mod problem;
mod project;
mod read_replica;
mod renames;
pub mod scaffold;
mod schema;
mod schema_setting;
mod select;
mod selection;
mod settings;
mod slice;
mod spec;
mod sql;
mod stored;
mod table_pattern;
mod template;
mod unsupported;
mod write_plan;
mod yaml;

pub use evolution::{KeyChange, Kind as SourceChangeKind, SourceChange};
pub use guards::{EmptySource, Guards};
pub use interpolate::is_variable_name;
pub use lost::LostColumn;
pub use marks::DELETED_AT;
pub use nearest::{listed, nearest};
pub use order::parents_first;
pub use pipeline::parse_pipeline;
pub use plan::{LossyChoice, Output, OutputValue, PushDown, TablePlan, plan_tables};
pub use plugin::{
    NoPlugins, OnPluginError, PLUGIN_MEMORY_BYTES_DEFAULT, PLUGIN_TIMEOUT_DEFAULT, PluginConfig,
    PluginFunction, PluginLimits, PluginSpec, Plugins, TransformSetting, TransformStep, Wasi,
};
pub use plugin_columns::{PluginColumn, Unmatched, UnmatchedKey};
pub use plugin_setting::Pins;
pub use problem::{Lookup, Place, Problem, Source};
pub use project::{parse_project, read_project};
pub use renames::{Renames, column_identity, is_same_selection, is_table_of, under_new_names};
pub use schema::{config_reference, pipeline_schema, project_schema};
pub use schema_setting::{
    DroppedColumn, KeyChangeSetting, NewColumn, NullableColumn, Preset, RenamedColumn,
    SchemaSetting, TypeChange, UnmaskedColumns,
};
pub use select::{
    GoneTable, Selected, find_deletes, gone_tables, is_selected, named_stream, select_tables,
};
pub use selection::{SelectionChange, selection_changes};
pub use spec::{
    CaptureSetting, ColumnChoice, Condition, ConnectionSpec, Consistency, CopySetting, Hook,
    HookAction, HookError, HookWhen, KEEP_DEFAULT, Keep, LEASE_DEFAULT, LossySetting,
    MAX_REWRITE_ROWS_DEFAULT, Name, OnSelectionChange, OverlapSetting, PipelineSpec, Project,
    TableRule, TableSettings, WherePushdown, WriteSetting,
};
pub use sql::called_names;
pub use table_pattern::{TablePattern, display as display_table};
pub use template::Template;

#[cfg(test)]
mod tests;
