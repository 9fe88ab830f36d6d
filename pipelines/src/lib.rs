//! What a syncset pipeline is: its files, their meaning and their plan.
//!
//! Everything here is pure: texts and descriptions in, values or problems out. Files are read,
//! stores are asked and problems are printed by the caller. Every function returns all problems
//! it can find, each with its file, line and column.
//!
//! The order: [`parse_project`], [`parse_pipeline`], [`select_tables`] with the tables the source
//! lists, [`plan_tables`] with those it describes.

#![allow(dead_code)]

mod nearest;
mod pipeline;
mod plan;
mod problem;
mod project;
mod select;
mod spec;
mod table_pattern;
mod template;

pub use pipeline::parse_pipeline;
pub use plan::{Output, OutputValue, PushDown, TablePlan, plan_tables};
pub use problem::{Lookup, Place, Problem, Source};
pub use project::parse_project;
pub use select::{Selected, select_tables};
pub use spec::{
    CaptureSetting, ColumnChoice, Condition, ConnectionSpec, LEASE_DEFAULT, Name, OverlapSetting,
    PipelineSpec, Project, TableRule, TableSettings, WherePushdown,
};
pub use table_pattern::TablePattern;
pub use template::Template;
