//! From a pipeline and the described tables to what a run does.

use crate::Problem;
use crate::evolution::SourceChange;
use crate::guards::Guards;
use crate::lost::LostColumn;
use crate::order::by_source;
use crate::planner::Planner;
use crate::plugin::{Plugins, TransformStep};
use crate::plugin_columns::Unmatched;
use crate::problem::{Place, Problems};
use crate::schema_setting::SchemaSetting;
use crate::select::Selected;
use crate::spec::{CopySetting, PipelineSpec};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use syncset_connector::{
    Marks, Mask, OnDelete, OnLossy, Predicate, TableDescription, TableName, TableRead, WriteMode,
};

/// The source's say in what it can evaluate exactly. The runner passes the opened source.
pub trait PushDown {
    /// Whether the source evaluates the condition with exactly the meaning the contract gives it.
    ///
    /// # Errors
    /// A sentence that says why not.
    fn can_push(&self, table: &TableDescription, predicate: &Predicate) -> Result<(), String>;

    /// Whether a column of the type `after` holds every value of one of the type `before`.
    fn widens(&self, before: &str, after: &str) -> bool;
}

/// What a run does with one table.
#[derive(Debug, Clone)]
pub struct TablePlan {
    /// Name of the stream: the source table as displayed.
    pub stream: String,
    /// What is read.
    pub read: Arc<TableRead>,
    /// DataFusion SQL that decides, on our side, which of the read rows are selected; all its
    /// columns are quoted and among those that are read. Only with `where_pushdown: best_effort`.
    pub residual: Option<String>,
    /// The condition of a slice alone, over columns of the source, if it has a form that every store
    /// may evaluate.
    pub slice: Option<Predicate>,
    /// The columns of the target in order.
    pub outputs: Vec<Output>,
    /// Plugins that the rows go through, in their order, after `derive` and `mask`. What they
    /// return is not among `outputs` before [`TablePlan::with_plugin_columns`].
    pub transforms: Vec<TransformStep>,
    /// Columns of the source that are no outputs and that plugins are given: they are among those
    /// that are read.
    pub extras: Vec<String>,
    /// Names of the file that no column has which is known before the plugins are bound.
    pub unmatched: Vec<Unmatched>,
    /// What happens to values that the target cannot keep, for each of `outputs`.
    pub lossy: Vec<LossyChoice>,
    /// The target table.
    pub target: TableName,
    /// Target names of the key's columns, in key order; empty where rows are not found by one.
    pub key: Vec<String>,
    /// How rows are written.
    pub write: WriteMode,
    /// What happens at the target to rows that are gone; they are kept where rows are appended.
    pub on_delete: OnDelete,
    /// Columns that the target fills itself.
    pub marks: Marks,
    /// How long after a search for rows that are gone the next one is due; `None`: the capture sees
    /// them, or they stay.
    pub find_deletes: Option<Duration>,
    /// Rows of a table without a key that one run may delete and insert.
    pub max_rewrite_rows: u64,
    /// How many rows may be rejected before the table fails.
    pub max_rejects: u64,
    /// Exit code of a table that is done but has rejected rows: 0 or 3.
    pub rejects_exit: u8,
    /// What a run may delete without a person's word.
    pub guards: Guards,
    /// Canonical JSON of the selection: shown when it was edited. `read.selection` is its SHA-256,
    /// without `choice`, how the columns were chosen, and `source`, what they were at the source.
    pub selection_text: String,
    /// What became of the source's table since the stream was loaded, as far as rows or columns of
    /// the target depend on it.
    pub source_changes: Vec<SourceChange>,
    /// Columns that the file cannot do without and that are gone from the source: such a table is
    /// neither read nor written.
    pub lost: Vec<LostColumn>,
    /// What a run does about changes of the source's table.
    pub schema: SchemaSetting,
    /// What comes along with a table that is created.
    pub copy: CopySetting,
    /// What a user should know.
    pub notes: Vec<String>,
    /// Where the table's entry is in the pipeline file.
    pub place: Place,
}

/// What the files say about values of one column that the target cannot keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LossyChoice {
    /// What happens to them; always an error for columns of the key.
    pub policy: OnLossy,
    /// True if the column is named, false if it takes the table's default.
    pub is_named: bool,
}

/// A column of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its name at the target.
    pub name: String,
    /// Where its value comes from.
    pub value: OutputValue,
}

/// Where the value of a target column comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputValue {
    /// This column of the source.
    Column(String),
    /// An expression over columns of the source.
    Derived {
        /// Its name before `rename`.
        name: String,
        /// DataFusion SQL. All its columns are quoted and among those that are read.
        sql: String,
    },
    /// Values of either kind, hidden.
    Masked(Box<OutputValue>, Mask),
    /// What a plugin returns, in place of the column of its name or beside the others.
    Plugin {
        /// Its name before `rename`.
        name: String,
        /// The last plugin that returns it.
        plugin: String,
    },
}

impl OutputValue {
    /// The name that the files know it by.
    pub fn source_name(&self) -> &str {
        match self {
            Self::Column(name) | Self::Derived { name, .. } | Self::Plugin { name, .. } => name,
            Self::Masked(value, _) => value.source_name(),
        }
    }

    /// The column of the source whose values, and whose type, it has.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Column(name) => Some(name),
            Self::Derived { .. } | Self::Plugin { .. } => None,
            Self::Masked(value, mask) => value.column().filter(|_| mask.keeps_type()),
        }
    }

    /// Where it comes from, as JSON that can be stored: part of a selection.
    pub fn origin(&self) -> serde_json::Value {
        match self {
            Self::Column(column) => json!({ "column": column }),
            Self::Derived { sql, .. } => json!({ "derive": sql }),
            Self::Masked(value, mask) => {
                let mut origin = value.origin();
                origin["mask"] = json!(mask.summary());
                origin
            }
            Self::Plugin { name, plugin } => json!({ "name": name, "plugin": plugin }),
        }
    }
}

/// Decides what a run does with each table. Parents by foreign keys come before their children.
///
/// `plugins`: what the plugins say about themselves; [`NoPlugins`](crate::NoPlugins) where no table
/// has any.
///
/// `slice`: a condition by which only some of the selected rows are read, under the rules of
/// `where`. It is no part of the selection, so watermarks do not know of it.
///
/// # Errors
/// All problems of all tables, in the order of the file.
pub fn plan_tables(
    spec: &PipelineSpec,
    described: &[(Selected, TableDescription)],
    push: &dyn PushDown,
    plugins: &dyn Plugins,
    slice: Option<&str>,
) -> Result<Vec<TablePlan>, Vec<Problem>> {
    let mut problems = Problems::of(&spec.path);
    let mut plans = Vec::new();
    for (selected, table) in described {
        let Some(settings) = spec
            .tables
            .get(selected.rule)
            .and_then(|rule| rule.settings.as_ref())
        else {
            continue;
        };
        let planner = Planner {
            spec,
            selected,
            settings,
            table,
            push,
            plugins,
            slice,
        };
        plans.extend(planner.plan(&mut problems));
    }
    refuse_shared_targets(spec, &plans, &mut problems);
    problems.finish(Some(by_source(plans)))
}

/// Two tables that would write one target delete each other's rows.
fn refuse_shared_targets(spec: &PipelineSpec, plans: &[TablePlan], problems: &mut Problems) {
    let mut taken: BTreeMap<String, &TablePlan> = BTreeMap::new();
    for plan in plans {
        let target = plan.target.to_string();
        match taken.get(&folded(spec, &target)) {
            Some(first) => problems.hinted(
                plan.place,
                format!(
                    "`{}` ({}:{}:{}) and `{}` both go to `{target}`",
                    first.stream, spec.path, first.place.line, first.place.column, plan.stream
                ),
                "give one of them another `to:`, such as `to: \"{schema}_{table}\"`",
            ),
            None => {
                taken.insert(folded(spec, &target), plan);
            }
        }
    }
}

/// A name as the target compares names. Stores without schemas ignore case.
pub(crate) fn folded(spec: &PipelineSpec, name: &str) -> String {
    if spec.target.info.capabilities.schemas {
        name.to_owned()
    } else {
        name.to_ascii_lowercase()
    }
}
