//! `write:` against the table and the capture it is about.

use crate::capture_setting::mode_name;
use crate::planner::Planner;
use crate::problem::{Place, Problems};
use crate::spec::{Consistency, Name};
use syncset_connector::{CaptureMode, NullCursor, TableRead, WriteMode};

impl Planner<'_> {
    /// How rows are written: as the file says; else by key, and without a key by replacing what
    /// differs.
    pub(crate) fn write_mode(&self) -> WriteMode {
        let reads_all = self.settings.capture.mode == CaptureMode::Full;
        match self.settings.write.mode {
            Some(mode) => mode,
            None if self.is_keyless() && reads_all => WriteMode::Replace,
            None => WriteMode::Upsert,
        }
    }

    pub(crate) fn is_keyless(&self) -> bool {
        self.settings.key.is_none() && self.table.primary_key.is_empty()
    }

    /// The key by which rows are found at the target. Versions of one row that are appended have
    /// one key, so it is unique there only if somebody asks for it.
    pub(crate) fn target_key(&self, key: &[String]) -> Vec<String> {
        if self.write_mode() == WriteMode::Append && self.settings.key.is_none() {
            return Vec::new();
        }
        key.to_vec()
    }

    /// What would make the table's rows be found by a key.
    pub(crate) fn key_advice(&self) -> String {
        match self.table.unique_keys.iter().find(|unique| unique.total) {
            Some(unique) => format!("use its unique key: `key: [{}]`", unique.columns.join(", ")),
            None => "name columns that are unique and never NULL: `key: [..]`".into(),
        }
    }
}

/// The mode, after noting what keeps it from working.
pub(crate) fn write(planner: &Planner, problems: &mut Problems) -> WriteMode {
    let (stream, capture) = (&planner.selected.stream, &planner.settings.capture);
    let (mode, place) = (planner.write_mode(), planner.settings.write.place);
    match (mode, capture.mode) {
        // Its capture says so.
        (WriteMode::Upsert, CaptureMode::Hash) if planner.is_keyless() => {}
        (WriteMode::Upsert, _) if planner.is_keyless() => {
            let advice = planner.key_advice();
            let advice = match (planner.settings.write.mode, capture.mode) {
                (Some(_), CaptureMode::Full) => {
                    format!("{advice}; or leave `mode` out: such a table is replaced in place")
                }
                (_, CaptureMode::Full) => advice,
                _ => format!(
                    "{advice}; or `capture: full`, which replaces the table in place; or \
                     `write: {{ mode: append }}`, which only adds rows"
                ),
            };
            problems.hinted(place, format!("`{stream}` has no primary key"), advice);
        }
        _ => check_mode(stream, (mode, place), capture.mode, problems),
    }
    if mode == WriteMode::Append && planner.spec.consistency == Consistency::Pipeline {
        problems.hinted(
            place,
            format!("`mode: append` of `{stream}` does not go with `consistency: pipeline`"),
            "its rows come later than those of the other tables; put it into a pipeline of its own",
        );
    }
    check_rejects(planner, mode, problems);
    mode
}

/// Notes that a way to write does not go with a way to capture. `stream`: what the mode is of.
pub(crate) fn check_mode(
    stream: &str,
    (mode, place): (WriteMode, Place),
    capture: CaptureMode,
    problems: &mut Problems,
) {
    let hint = match (mode, capture) {
        (WriteMode::Upsert, _)
        | (WriteMode::Replace, CaptureMode::Full)
        | (WriteMode::Append, CaptureMode::Cursor) => return,
        (WriteMode::Replace, _) => {
            "it replaces the whole table, so it has to read it whole: add `capture: full` to this \
             table"
        }
        (WriteMode::Append, CaptureMode::Full) => {
            "every run would add the whole table once more; say which rows are new: `capture: { \
             mode: cursor, column: .. }`"
        }
        (WriteMode::Append, _) => {
            "it may read a row twice, and would add it twice; use `capture: { mode: cursor, \
             column: .. }`"
        }
    };
    let (mode, captured) = (mode.name(), mode_name(capture));
    let message = format!("`mode: {mode}` of `{stream}` does not go with `capture: {captured}`");
    problems.hinted(place, message, hint);
}

/// Rows that were refused are found again by their key, and written over what is there.
fn check_rejects(planner: &Planner, mode: WriteMode, problems: &mut Problems) {
    if planner.settings.max_rejects == 0 {
        return;
    }
    let reason = match mode {
        WriteMode::Append => "a row that is tried again could be added twice",
        WriteMode::Replace if planner.is_keyless() => "a row without a key cannot be tried again",
        WriteMode::Upsert | WriteMode::Replace => return,
    };
    problems.hinted(
        planner.selected.place,
        format!(
            "`rejects: {{ max_rows: {} }}` does not go with `mode: {}` of `{}`: {reason}",
            planner.settings.max_rejects,
            mode.name(),
            planner.selected.stream
        ),
        "write `rejects: { max_rows: 0 }` for this table",
    );
}

/// What a cursor needs besides so that no row is appended twice.
pub(crate) fn check_cursor(
    planner: &Planner,
    is_integer: bool,
    column: &Name,
    problems: &mut Problems,
) {
    if planner.write_mode() != WriteMode::Append {
        return;
    }
    let (stream, capture) = (&planner.selected.stream, &planner.settings.capture);
    if capture.null_cursor == Some(NullCursor::Read) {
        problems.hinted(
            column.place,
            format!("`null_cursor: read` would append such rows of `{stream}` in every run"),
            "write `null_cursor: ignore`, or `error`",
        );
    }
    if is_integer && capture.overlap.is_none() {
        problems.hinted(
            column.place,
            format!("`mode: append` of `{stream}` needs an `overlap` for its cursor"),
            "rows wait until the greatest number is that far above theirs, since numbers are not \
             committed in their order: `overlap: 1000`; `overlap: 0` if one writer counts them",
        );
    }
}

/// What a user should know.
pub(crate) fn notes(planner: &Planner, read: &TableRead) -> Vec<String> {
    let stream = &planner.selected.stream;
    let mut notes = Vec::new();
    match planner.write_mode() {
        WriteMode::Upsert => {}
        WriteMode::Replace if read.key.is_empty() => {
            notes.push(format!(
                "`{stream}` has no key: every run compares it whole and deletes and inserts the \
                 rows that differ, {} at most (`max_rewrite_rows`)",
                planner.settings.max_rewrite_rows
            ));
            if planner.table.unique_keys.iter().any(|unique| unique.total) {
                notes.push(format!(
                    "its rows could be updated: {}",
                    planner.key_advice()
                ));
            }
        }
        WriteMode::Replace => notes.push(format!(
            "`{stream}` is replaced in place: readers see it before or after a run, never between"
        )),
        WriteMode::Append => {
            notes.push(format!(
                "rows of `{stream}` are added once each; a row that is changed is added again with \
                 its new cursor, changes between two runs are one, and nothing is deleted"
            ));
            if planner.settings.key.is_some() {
                notes.push(format!(
                    "`{}` is unique at the target: of rows with one key the first one stays",
                    read.key.join(", ")
                ));
            }
        }
    }
    notes
}
