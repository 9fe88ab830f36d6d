//! Columns that a table cannot be read without and that are gone from the source. Such a table
//! stops until the file says what to do instead; the other tables of the pipeline go on.

use crate::plan::TablePlan;
use crate::planner::Planner;
use crate::problem::Problems;
use crate::spec::{ColumnChoice, Condition, TableSettings};
use crate::sql::resolve;
use arrow_schema::DataType;
use serde::Serialize;
use syncset_connector::{CaptureMode, Column, NativeType, OnDelete, TableDescription, WriteMode};

/// A column that is gone and that the file needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LostColumn {
    /// The column, as the source named it.
    pub column: String,
    /// What needs it.
    pub use_of: Use,
}

/// What a column is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// Rows are found by it.
    Key,
    /// Changes are found by it.
    Cursor,
    /// Rows are selected by it.
    Where,
    /// A column is computed from it.
    Derive,
}

impl LostColumn {
    /// What the file needs it for.
    pub fn sentence(&self) -> &'static str {
        match self.use_of {
            Use::Key => "the key needs it",
            Use::Cursor => "`capture` finds changes by it",
            Use::Where => "`where` names it",
            Use::Derive => "`derive` computes from it",
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> &'static str {
        match self.use_of {
            Use::Key => {
                "name columns that are unique and never NULL with `key: [..]`, or add the column \
                 again at the source"
            }
            Use::Cursor => {
                "name another cursor with `capture: { mode: cursor, column: .. }`, use \
                 `capture: full`, or add the column again at the source"
            }
            Use::Where => {
                "write a `where` over columns that are there, or add the column again at the source"
            }
            Use::Derive => {
                "compute the column from others or take it out of `derive`, or add the column \
                 again at the source"
            }
        }
    }
}

impl Planner<'_> {
    /// The columns that are gone and needed, once for each use.
    pub(crate) fn lost(&self) -> Vec<LostColumn> {
        let Some(stored) = self.stored() else {
            return Vec::new();
        };
        let then = stored.columns.keys().chain(&stored.key);
        let gone: Vec<&String> = then
            .filter(|name| self.table.column(name).is_none())
            .collect();
        if gone.is_empty() {
            return Vec::new();
        }
        let mut lost: Vec<LostColumn> = Vec::new();
        let mut need = |name: &str, use_of: Use| {
            let entry = LostColumn {
                column: name.to_owned(),
                use_of,
            };
            if gone.iter().any(|it| *it == name) && !lost.contains(&entry) {
                lost.push(entry);
            }
        };
        match &self.settings.key {
            Some((names, _)) => names.iter().for_each(|name| need(&name.text, Use::Key)),
            None => stored.key.iter().for_each(|name| need(name, Use::Key)),
        }
        if let Some(cursor) = &self.settings.capture.column {
            need(&cursor.text, Use::Cursor);
        }
        let before = with_columns(self.table, &gone);
        let named = |text: &str| match resolve(text, &before) {
            Ok(resolved) => resolved.columns,
            Err(_) => Vec::new(),
        };
        if let Some(Condition::Sql(text)) = &self.settings.condition {
            let names = named(&text.text);
            names.iter().for_each(|name| need(name, Use::Where));
        }
        for (_, sql) in &self.settings.derive {
            let names = named(&sql.text);
            names.iter().for_each(|name| need(name, Use::Derive));
        }
        lost
    }

    /// A plan of what is left of the table, so that every verb can show it. Nobody runs it.
    pub(crate) fn stopped(
        &self,
        lost: Vec<LostColumn>,
        problems: &mut Problems,
    ) -> Option<TablePlan> {
        let settings = self.settings_left();
        let left = Planner {
            settings: &settings,
            slice: None,
            ..*self
        };
        let plan = left.plan_whole(problems)?;
        Some(TablePlan {
            lost,
            source_changes: Vec::new(),
            notes: Vec::new(),
            ..plan
        })
    }

    fn settings_left(&self) -> TableSettings {
        let mut settings = self.settings.clone();
        settings.columns = ColumnChoice::All;
        settings.condition = None;
        settings.derive.clear();
        settings.mask.clear();
        settings.rename.clear();
        settings.key = None;
        settings.capture.mode = CaptureMode::Full;
        settings.capture.column = None;
        settings.write.mode = Some(WriteMode::Replace);
        settings.write.synced_at = None;
        settings.on_delete = OnDelete::Keep;
        settings.max_rejects = 0;
        settings
    }
}

/// The table as it was when it had these columns too. Their types are not asked for.
fn with_columns(table: &TableDescription, names: &[&String]) -> TableDescription {
    let mut before = table.clone();
    let columns = names.iter().map(|name| Column {
        name: (*name).clone(),
        data_type: DataType::Utf8,
        native: NativeType {
            engine: String::new(),
            name: String::new(),
            as_text: false,
            definition: None,
        },
        nullable: true,
        default: None,
        generated: None,
        stable_id: None,
        readable: true,
    });
    before.columns.extend(columns);
    before
}
