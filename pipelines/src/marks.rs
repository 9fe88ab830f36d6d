//! Columns that the target fills itself: since when a row is gone (`on_delete: soft`), and when it
//! was last written (`synced_at`).

use crate::plan::{Output, OutputValue, folded};
use crate::planner::Planner;
use crate::problem::{Place, Problems};
use syncset_connector::{Marks, OnDelete, WriteMode};

/// The column of `on_delete: soft`.
pub const DELETED_AT: &str = "_deleted_at";

impl Planner<'_> {
    /// What happens at the target to rows that are gone.
    pub(crate) fn on_delete(&self) -> OnDelete {
        match self.write_mode() {
            WriteMode::Append => OnDelete::Keep,
            WriteMode::Upsert | WriteMode::Replace => self.settings.on_delete,
        }
    }
}

/// The columns, after noting what keeps them from working. `key`: how rows are found at the target.
pub(crate) fn marks(
    planner: &Planner,
    outputs: &[Output],
    key: &[String],
    problems: &mut Problems,
) -> Marks {
    let (stream, write) = (&planner.selected.stream, &planner.settings.write);
    let mut marks = Marks::default();
    if planner.settings.on_delete == OnDelete::Soft {
        check_soft(planner, key, problems);
        check_filled(
            planner,
            "on_delete: soft",
            write.on_delete_place,
            "write `on_delete: hard`, which deletes such rows, or `keep`, which leaves them as they are",
            problems,
        );
        let filled_by = "`on_delete: soft` fills";
        check_free(
            planner,
            (DELETED_AT, write.on_delete_place),
            filled_by,
            outputs,
            problems,
        );
        marks.deleted_at = Some(DELETED_AT.to_owned());
    }
    if let Some(name) = &write.synced_at {
        check_filled(planner, "synced_at", name.place, "leave it out", problems);
        let is_deleted_at = folded(planner.spec, &name.text) == folded(planner.spec, DELETED_AT);
        if is_deleted_at && marks.deleted_at.is_some() {
            problems.hinted(
                name.place,
                format!("`synced_at` of `{stream}` is called `{DELETED_AT}`, which `on_delete: soft` fills"),
                "give it another name, such as `write: { synced_at: _synced_at }`",
            );
        }
        let filled_by = "`synced_at` fills";
        check_free(
            planner,
            (&name.text, name.place),
            filled_by,
            outputs,
            problems,
        );
        marks.synced_at = Some(name.text.clone());
    }
    marks
}

fn check_soft(planner: &Planner, key: &[String], problems: &mut Problems) {
    let (stream, place) = (
        &planner.selected.stream,
        planner.settings.write.on_delete_place,
    );
    match planner.write_mode() {
        WriteMode::Append => problems.hinted(
            place,
            format!("`on_delete: soft` of `{stream}` does not go with `mode: append`: rows that were appended are never taken away"),
            "write `on_delete: keep` for this table",
        ),
        // A table that has to have a key and has none says so already.
        WriteMode::Replace if key.is_empty() => problems.hinted(
            place,
            format!("`on_delete: soft` of `{stream}` needs a key: without one a row that changed is one that is gone and one that came"),
            format!(
                "{}; or write `on_delete: hard`, or `keep`, for this table",
                planner.key_advice()
            ),
        ),
        WriteMode::Replace | WriteMode::Upsert => {}
    }
}

/// Notes that the target does not fill columns itself.
fn check_filled(
    planner: &Planner,
    setting: &str,
    place: Place,
    hint: &str,
    problems: &mut Problems,
) {
    let info = planner.spec.target.info;
    if !info.capabilities.marks {
        let (stream, kind) = (&planner.selected.stream, info.kind);
        let message = format!(
            "`{setting}` of `{stream}` is not supported by this version where the target is `{kind}`"
        );
        problems.hinted(place, message, hint);
    }
}

/// Notes that a column of the pipeline has a name that the target fills.
fn check_free(
    planner: &Planner,
    (mark, place): (&str, Place),
    filled_by: &str,
    outputs: &[Output],
    problems: &mut Problems,
) {
    let is_taken =
        |output: &&Output| folded(planner.spec, &output.name) == folded(planner.spec, mark);
    let Some(output) = outputs.iter().find(is_taken) else {
        return;
    };
    let stream = &planner.selected.stream;
    let other = mark.trim_start_matches('_');
    let own = output.value.source_name();
    let hint = match &output.value {
        OutputValue::Column(column) => {
            format!(
                "give it another name with `rename: {{ {column}: source_{other} }}`, or leave it \
                 out with `columns: {{ exclude: [{column}] }}`"
            )
        }
        _ => format!("give it another name with `rename: {{ {own}: own_{other} }}`"),
    };
    problems.hinted(
        planner.rename_place(own).unwrap_or(place),
        format!(
            "column `{own}` of `{stream}` is called `{}` at the target, as the column that \
             {filled_by}",
            output.name
        ),
        hint,
    );
}

/// What a user should know.
pub(crate) fn notes(planner: &Planner) -> Vec<String> {
    let mut notes = Vec::new();
    if planner.on_delete() == OnDelete::Soft {
        notes.push(format!(
            "rows that are gone stay at the target, with the time in `{DELETED_AT}`: readers want \
             `WHERE {DELETED_AT} IS NULL`"
        ));
    }
    notes
}
