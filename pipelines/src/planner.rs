//! The plan of one table.

use crate::capture_default;
use crate::capture_plan;
use crate::capture_setting::mode_name;
use crate::condition::{conjuncts, predicate};
use crate::evolution::Evolved;
use crate::marks;
use crate::outputs::Derivation;
use crate::plan::{Output, OutputValue, PushDown, TablePlan};
use crate::plugin::Plugins;
use crate::problem::{Place, Problems};
use crate::select::Selected;
use crate::spec::{Condition, Name, PipelineSpec, TableSettings, WherePushdown};
use crate::sql::{Resolved, SqlProblem, movement, resolve};
use crate::write_plan;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use syncset_connector::{
    Capture, CaptureMode, Filter, Marks, OnDelete, Predicate, TableDescription, TableKind,
    TableName, TableRead, WriteMode,
};

/// Bytes of one batch, about: large enough that the cost per batch vanishes, small enough that
/// several are in flight in the default memory of 64 MiB.
const BATCH_BYTES: usize = 1024 * 1024;

/// One table and what the pipeline says about it.
pub(crate) struct Planner<'a> {
    pub(crate) spec: &'a PipelineSpec,
    pub(crate) selected: &'a Selected,
    pub(crate) settings: &'a TableSettings,
    pub(crate) table: &'a TableDescription,
    pub(crate) push: &'a dyn PushDown,
    pub(crate) plugins: &'a dyn Plugins,
    /// Which of the selected rows are read: `--where`.
    pub(crate) slice: Option<&'a str>,
}

/// Which rows are read, and which of those are selected.
pub(crate) struct Rows {
    pub(crate) filter: Filter,
    pub(crate) residual: Option<Resolved>,
    /// The condition of a slice, if it has a form that every store may evaluate.
    pub(crate) slice: Option<Predicate>,
}

impl Planner<'_> {
    /// The plan; `None` after noting why there is none.
    pub(crate) fn plan(&self, problems: &mut Problems) -> Option<TablePlan> {
        if self.refuses_hidden(problems) {
            return None;
        }
        match self.lost() {
            lost if lost.is_empty() => self.plan_whole(problems),
            lost => self.stopped(lost, problems),
        }
    }

    /// The plan of a table that has every column that the file needs.
    pub(crate) fn plan_whole(&self, problems: &mut Problems) -> Option<TablePlan> {
        let before = problems.count();
        let chosen = self.selected_columns(problems);
        let Evolved {
            columns,
            changes: source_changes,
            ignored,
        } = self.evolved(chosen);
        let derivations = self.derivations(&columns, problems);
        let masks = self.masks(&columns, &derivations, problems);
        let outputs = self.outputs(&columns, &derivations, &masks, problems);
        let transforms = self.transforms(&outputs, problems);
        let write = write_plan::write(self, problems);
        let key = self.key(&columns, problems);
        let capture = capture_plan::capture(self, problems);
        let rows = self.rows(problems);
        let calls = self.plugin_calls(&derivations, problems);
        let target = self.target(problems);
        let target_key = self.target_key(&key);
        self.refuse_masked_key(&key, &masks, problems);
        let marks = marks::marks(self, &outputs, &target_key, problems);
        let lossy = self.lossy_choices(&outputs, &target_key, problems);
        if problems.count() > before {
            return None;
        }
        let (capture, rows) = (capture?, rows?);
        let (capture, why_whole) = match self.settings.capture.by_default {
            true => capture_default::chosen(self, &outputs, rows.residual.is_some()),
            false => (capture, None),
        };
        let mut needed: Vec<String> = key.clone();
        if let Capture::Cursor(cursor) = &capture {
            needed.push(cursor.column.clone());
        }
        if let Filter::Predicate(predicate) = &rows.filter {
            needed.extend(predicate.columns().iter().map(|name| (*name).to_owned()));
        }
        let mut selection = self.selection(&outputs, &target_key, &target, &capture, &marks);
        self.add_plugins(&mut selection, &transforms.steps, calls);
        let unread = |name: &String| masks.get(name).is_some_and(|mask| !mask.reads_values());
        let columns = columns.into_iter().filter(|name| !unread(name)).collect();
        let mut columns = read_columns(columns, &derivations, rows.residual.as_ref());
        let extras = transforms.extras.iter();
        let unread: Vec<_> = extras.filter(|name| !columns.contains(name)).collect();
        columns.extend(unread.into_iter().cloned());
        let read = TableRead {
            description: Arc::new(self.table.clone()),
            all_written: rows.residual.is_none()
                && transforms.steps.is_empty()
                && columns.iter().all(|column| is_written(column, &outputs)),
            columns,
            key: key.clone(),
            filter: rows.filter,
            selection: hex(&Sha256::digest(selection.to_string())),
            batch_bytes: BATCH_BYTES,
            capture,
        };
        Some(TablePlan {
            stream: self.selected.stream.clone(),
            notes: self
                .notes(&read, (rows.residual.is_some(), why_whole), &ignored)
                .into_iter()
                .chain(transforms.notes())
                .collect(),
            selection_text: self.with_source(selection, read.columns.iter().chain(&needed)),
            read: Arc::new(read),
            residual: rows.residual.map(|residual| residual.sql),
            slice: rows.slice,
            unmatched: self.unmatched(&outputs),
            outputs,
            transforms: transforms.steps,
            extras: transforms.extras,
            lossy,
            target,
            key: target_key
                .iter()
                .map(|name| self.target_name(name))
                .collect(),
            write,
            on_delete: self.on_delete(),
            find_deletes: self
                .settings
                .capture
                .find_deletes
                .map(|search| search.every),
            marks,
            max_rewrite_rows: self.settings.max_rewrite_rows,
            max_rejects: self.settings.max_rejects,
            rejects_exit: self.settings.rejects_exit,
            guards: self.settings.guards,
            source_changes,
            lost: Vec::new(),
            schema: self.settings.schema,
            copy: self.settings.copy,
            place: self.selected.place,
        })
    }

    /// The key's columns. An upsert needs one that is unique, never NULL and selected.
    fn key(&self, columns: &[String], problems: &mut Problems) -> Vec<String> {
        let stream = &self.selected.stream;
        let (key, place) = match &self.settings.key {
            Some((names, place)) => (self.named_key(names, *place, problems), *place),
            None => (self.table.primary_key.clone(), self.selected.place),
        };
        if self.settings.key.is_none() && self.write_mode() == WriteMode::Append {
            // Nothing is found by it: it only orders what is read.
            let is_selected = key.iter().all(|name| columns.contains(name));
            return if is_selected { key } else { Vec::new() };
        }
        for name in &key {
            if !columns.contains(name) && self.table.column(name).is_some() {
                problems.hinted(
                    place,
                    format!("the key column `{name}` of `{stream}` is not selected"),
                    format!("add `{name}` to `columns`, or name another key with `key: [..]`"),
                );
            }
        }
        key
    }

    fn named_key(&self, names: &[Name], place: Place, problems: &mut Problems) -> Vec<String> {
        let stream = &self.selected.stream;
        let before = problems.count();
        for name in names {
            if self.table.column(&name.text).is_none() {
                self.no_column(name, problems);
            }
        }
        let key: Vec<_> = names.iter().map(|name| name.text.clone()).collect();
        // Nothing is known of the rows of a view: a note says so.
        if problems.count() > before || !self.has_constraints() {
            return key;
        }
        if !self.is_unique(&key) {
            problems.hinted(
                place,
                format!("nothing makes `{}` unique in `{stream}`", key.join(", ")),
                "add a unique constraint over NOT NULL columns at the source, or name the columns \
                 of one",
            );
        }
        for name in names {
            if self.may_be_null(&name.text) {
                problems.hinted(
                    name.place,
                    format!("the key column `{}` of `{stream}` may be NULL", name.text),
                    "a key needs NOT NULL columns",
                );
            }
        }
        key
    }

    /// Whether the source lets no two rows have the same values in these columns.
    pub(crate) fn is_unique(&self, key: &[String]) -> bool {
        let covers = |columns: &[String]| {
            !columns.is_empty() && columns.iter().all(|column| key.contains(column))
        };
        let mut unique = self.table.unique_keys.iter();
        covers(&self.table.primary_key)
            || unique.any(|unique| unique.total && covers(&unique.columns))
    }

    /// Whether the source lets a column of a key hold NULL.
    pub(crate) fn may_be_null(&self, name: &str) -> bool {
        let column = self.table.column(name);
        column
            .is_some_and(|column| column.nullable && !self.table.primary_key.contains(&column.name))
    }

    pub(crate) fn has_constraints(&self) -> bool {
        matches!(self.table.kind, TableKind::Table | TableKind::Partitioned)
    }

    /// Which rows are read and selected, and which of those belong to the slice.
    fn rows(&self, problems: &mut Problems) -> Option<Rows> {
        let rows = self.selected_rows(problems);
        match self.slice {
            None => rows,
            Some(text) => self.sliced(rows, text, problems),
        }
    }

    fn selected_rows(&self, problems: &mut Problems) -> Option<Rows> {
        let all = Rows {
            filter: Filter::All,
            residual: None,
            slice: None,
        };
        let (text, is_source_sql) = match &self.settings.condition {
            None => return Some(all),
            Some(Condition::Sql(text)) => (text, false),
            Some(Condition::SourceSql(text)) => (text, true),
        };
        if self.refuse_movement(text, is_source_sql, problems) {
            return None;
        }
        if is_source_sql {
            return Some(Rows {
                filter: Filter::SourceSql(text.text.clone()),
                residual: None,
                slice: None,
            });
        }
        match resolve(&text.text, self.table) {
            Ok(resolved) => self.pushed(text, resolved, problems),
            Err(errors) => {
                for error in errors {
                    self.sql_problem("`where`", text, error, problems);
                }
                None
            }
        }
    }

    /// Refuses what changes the selection while no row changes. True if it did. A run that reads
    /// everything sees that, but expressions on our side never read a clock.
    fn refuse_movement(&self, text: &Name, is_source_sql: bool, problems: &mut Problems) -> bool {
        let stream = &self.selected.stream;
        let moves = movement(&text.text);
        if let Some(function) = &moves.volatile {
            problems.hinted(
                text.place,
                format!(
                    "`where` of `{stream}` uses `{function}`, which answers differently each time"
                ),
                "select rows by their columns",
            );
            return true;
        }
        let mode = self.settings.capture.mode;
        let sees_movement = matches!(mode, CaptureMode::Full | CaptureMode::Hash);
        let reason = match (&moves.clock, moves.sub_query) {
            (Some(clock), _) if sees_movement && !is_source_sql => {
                problems.hinted(
                    text.place,
                    format!("`where` of `{stream}` reads the clock (`{clock}`)"),
                    "let the source read it: `where: { source_sql: \"...\" }`",
                );
                return true;
            }
            _ if sees_movement => return false,
            (Some(clock), _) => format!("reads the clock (`{clock}`)"),
            (None, true) => "has a sub-query".to_owned(),
            (None, false) => return false,
        };
        problems.hinted(
            text.place,
            format!(
                "`where` of `{stream}` {reason}: rows enter and leave the selection without being \
                 changed, and `capture: {}` does not see that",
                mode_name(mode)
            ),
            "use `capture: hash` or `full` for this table, or a condition over its columns only",
        );
        true
    }

    /// Asks the source which part of the condition it evaluates exactly.
    fn pushed(&self, text: &Name, resolved: Resolved, problems: &mut Problems) -> Option<Rows> {
        let ask = |tree| -> Result<Predicate, String> {
            let predicate = predicate(tree, self.table)?;
            self.push.can_push(self.table, &predicate)?;
            Ok(predicate)
        };
        let reason = match ask(&resolved.tree) {
            Ok(predicate) => {
                return Some(Rows {
                    filter: Filter::Predicate(predicate),
                    residual: None,
                    slice: None,
                });
            }
            Err(reason) => reason,
        };
        if self.settings.pushdown == WherePushdown::Exact {
            self.not_pushed("`where`", text.place, &reason, problems);
            return None;
        }
        let mut parts: Vec<_> = conjuncts(&resolved.tree)
            .into_iter()
            .filter_map(|part| ask(part).ok())
            .collect();
        let filter = match parts.len() {
            0 => Filter::All,
            1 => Filter::Predicate(parts.remove(0)),
            _ => Filter::Predicate(Predicate::And(parts)),
        };
        Some(Rows {
            filter,
            residual: Some(resolved),
            slice: None,
        })
    }

    /// Notes what is wrong with an SQL text.
    pub(crate) fn sql_problem(
        &self,
        what: &str,
        text: &Name,
        error: SqlProblem,
        problems: &mut Problems,
    ) {
        let message = format!("{what} in `{}`: {}", self.selected.stream, error.message);
        problems.hinted(text.place, message, error.hint);
    }

    /// Canonical JSON of what decides which values are where. The order in which columns are
    /// listed decides nothing.
    fn selection(
        &self,
        outputs: &[Output],
        key: &[String],
        target: &TableName,
        capture: &Capture,
        marks: &Marks,
    ) -> serde_json::Value {
        let mut columns: Vec<_> = outputs
            .iter()
            .map(|output| {
                let mut column = output.value.origin();
                column["to"] = json!(output.name);
                column
            })
            .collect();
        columns.sort_by_key(|column| column["to"].to_string());
        let condition = match &self.settings.condition {
            None => serde_json::Value::Null,
            Some(Condition::Sql(text)) => json!(text.text.trim()),
            Some(Condition::SourceSql(text)) => json!({ "source_sql": text.text.trim() }),
        };
        let cursor = match capture {
            Capture::Cursor(cursor) => Some(&cursor.column),
            _ => None,
        };
        let mut selection = json!({
            "capture": { "column": cursor, "mode": mode_name(capture_plan::loaded_by(capture)) },
            "columns": columns,
            "key": key,
            "to": target.to_string(),
            "where": condition,
        });
        // The other two modes leave the same rows.
        if self.write_mode() == WriteMode::Append {
            selection["write"] = json!(WriteMode::Append.name());
        }
        // Only where they are, so that selections that are stored already stay what they were.
        if marks.deleted_at.is_some() {
            selection["on_delete"] = json!(OnDelete::Soft);
        }
        if let Some(on_lossy) = self.settings.on_lossy.selection() {
            selection["on_lossy"] = on_lossy;
        }
        if let Some(name) = &marks.synced_at {
            selection["synced_at"] = json!(name);
        }
        selection
    }

    /// What a user should know. `why_whole`: why a table is read whole if nobody asked for that.
    fn notes(
        &self,
        read: &TableRead,
        (has_residual, why_whole): (bool, Option<&str>),
        ignored: &[String],
    ) -> Vec<String> {
        let mut notes = Vec::new();
        notes.extend(ignored.iter().map(|name| {
            format!("column `{name}` is new at the source and not copied (`new_column: ignore`)")
        }));
        if self.settings.capture.by_default {
            notes.push(why_whole.map_or_else(
                || capture_default::COMPARED.to_owned(),
                capture_default::told,
            ));
        }
        notes.extend(write_plan::notes(self, read));
        notes.extend(marks::notes(self));
        notes.extend(capture_plan::notes(self, read));
        if has_residual {
            notes.push(
                "`where` is evaluated here: rows that are not selected are read and dropped"
                    .to_owned(),
            );
        }
        if self.settings.key.is_some() && !self.has_constraints() {
            notes.push(format!(
                "no constraint says that `{}` is unique and never NULL: the pipeline relies on it",
                read.key.join(", ")
            ));
        }
        notes
    }
}

/// The selected columns and those that expressions on our side need besides.
fn read_columns(
    mut columns: Vec<String>,
    derivations: &[Derivation],
    residual: Option<&Resolved>,
) -> Vec<String> {
    let named = derivations
        .iter()
        .map(|derivation| &derivation.expression)
        .chain(residual)
        .flat_map(|expression| &expression.columns);
    for column in named {
        if !columns.contains(column) {
            columns.push(column.clone());
        }
    }
    columns
}

/// Whether a column reaches the target as it is.
fn is_written(column: &str, outputs: &[Output]) -> bool {
    let mut values = outputs.iter().map(|output| &output.value);
    values.any(|value| matches!(value, OutputValue::Column(name) if name == column))
}

/// Hexadecimal digits of some bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
