//! `capture:` against the table it is about.

use crate::capture_setting::mode_name;
use crate::nearest::{columns_of, listed};
use crate::planner::Planner;
use crate::problem::{Place, Problems};
use crate::spec::{Consistency, Name, OverlapSetting};
use crate::write_plan;
use arrow_schema::DataType;
use syncset_connector::{
    Capture, CaptureMode, Column, CursorSpec, NullCursor, Overlap, TableKind, TableRead, Windows,
    WriteMode, WrittenBy,
};

/// What a cursor column counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CursorKind {
    Integer,
    Instant,
    ZoneLess,
}

/// What kind of cursor a column can be; `None`: none.
fn cursor_kind(column: &Column) -> Option<CursorKind> {
    match &column.data_type {
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Decimal128(_, 0) => Some(CursorKind::Integer),
        DataType::Timestamp(_, Some(_)) => Some(CursorKind::Instant),
        DataType::Timestamp(_, None) | DataType::Date32 => Some(CursorKind::ZoneLess),
        _ => None,
    }
}

/// How the changes of the table are found; `None` after noting why they cannot be.
pub(crate) fn capture(planner: &Planner, problems: &mut Problems) -> Option<Capture> {
    let setting = &planner.settings.capture;
    let stream = &planner.selected.stream;
    let mode = mode_name(setting.mode);
    let offered = planner.spec.source.info.capabilities.capture_modes;
    if !offered.contains(&mode) {
        problems.hinted(
            setting.place,
            format!(
                "`capture: {mode}` is not offered by `{}`",
                planner.spec.source.kind
            ),
            format!("it offers {}", listed(mode, offered.iter().copied())),
        );
        return None;
    }
    check_search(planner, problems);
    match setting.mode {
        CaptureMode::Full => Some(Capture::Full),
        CaptureMode::Hash if planner.is_keyless() => {
            problems.hinted(
                setting.place,
                format!("`capture: hash` of `{stream}` finds rows by their key, and there is none"),
                format!(
                    "{}; or use `capture: full`, which replaces the table in place",
                    planner.key_advice()
                ),
            );
            None
        }
        CaptureMode::Hash => Some(Capture::Hash),
        CaptureMode::Xmin => {
            if !matches!(
                planner.table.kind,
                TableKind::Table | TableKind::Partitioned
            ) {
                problems.hinted(
                    setting.place,
                    format!("`{stream}` is a view or a foreign table and has no `xmin`"),
                    "use `capture: full`, or a cursor column",
                );
                return None;
            }
            Some(Capture::Xmin)
        }
        CaptureMode::Cursor => cursor(planner, setting.column.as_ref()?, problems),
        other => {
            problems.add(
                setting.place,
                format!("`capture: {}` has no plan", mode_name(other)),
            );
            None
        }
    }
}

/// The mode that a selection names. What `full` has left `hash` goes on with, and the other way
/// round, so going from one to the other loads nothing again.
pub(crate) fn loaded_by(capture: &Capture) -> CaptureMode {
    match capture.mode() {
        CaptureMode::Hash => CaptureMode::Full,
        mode => mode,
    }
}

/// What a user should know.
pub(crate) fn notes(planner: &Planner, read: &TableRead) -> Option<String> {
    let mode = mode_name(read.capture.mode());
    match planner.settings.capture.find_deletes {
        Some(search) if search.every.is_zero() => Some(format!(
            "each run looks for deleted rows, which `capture: {mode}` does not see"
        )),
        Some(search) => Some(format!(
            "deleted rows, which `capture: {mode}` does not see, are looked for every {}",
            humantime::format_duration(search.every)
        )),
        None if read.capture == Capture::Hash
            && planner.spec.consistency == Consistency::Pipeline =>
        {
            Some(
                "each run reads the whole table: with `consistency: pipeline`, `capture: hash` \
                 does what `full` does"
                    .to_owned(),
            )
        }
        None if read.capture.has_windows() && planner.write_mode() != WriteMode::Append => Some(
            format!("rows deleted at the source stay: `capture: {mode}` does not see deletes"),
        ),
        None => None,
    }
}

/// What `find_deletes` does not go with.
fn check_search(planner: &Planner, problems: &mut Problems) {
    let Some(search) = planner.settings.capture.find_deletes else {
        return;
    };
    let stream = &planner.selected.stream;
    if planner.write_mode() == WriteMode::Append {
        problems.hinted(
            search.place,
            format!("`find_deletes` of `{stream}` does not go with `mode: append`"),
            "rows that were appended stay: remove it",
        );
    } else if planner.spec.consistency == Consistency::Pipeline {
        problems.hinted(
            search.place,
            format!("`find_deletes` of `{stream}` does not go with `consistency: pipeline`"),
            "it searches after the changes of all tables are committed, and would delete apart \
             from them; use `capture: full` for this table, which sees deleted rows",
        );
    }
}

fn cursor(planner: &Planner, name: &Name, problems: &mut Problems) -> Option<Capture> {
    let setting = &planner.settings.capture;
    let stream = &planner.selected.stream;
    let before = problems.count();
    let Some(column) = planner.table.column(&name.text) else {
        problems.hinted(
            name.place,
            format!("`{stream}` has no column `{}` for the cursor", name.text),
            columns_of(planner.table, &name.text),
        );
        return None;
    };
    let Some(kind) = cursor_kind(column) else {
        problems.hinted(
            name.place,
            format!(
                "`{}` of `{stream}` is `{}`, which is no cursor",
                name.text, column.native.name
            ),
            "a cursor is a time or an integer that grows with every change; without one use \
             `capture: full`",
        );
        return None;
    };
    if column.nullable && setting.null_cursor.is_none() {
        problems.hinted(
            name.place,
            format!("the cursor `{}` of `{stream}` may be NULL", name.text),
            "make the column NOT NULL, or say what happens to such rows with `null_cursor: read`, \
             `ignore` or `error`",
        );
    }
    let written_by = writer(planner, kind, name, problems);
    let overlap = overlap(planner, kind, name, written_by, problems);
    let zone = zone(planner, kind, name, problems);
    write_plan::check_cursor(planner, kind == CursorKind::Integer, name, problems);
    (problems.count() == before).then(|| {
        Capture::Cursor(CursorSpec {
            column: column.name.clone(),
            written_by,
            overlap,
            zone,
            null_cursor: setting.null_cursor.unwrap_or(NullCursor::Error),
            windows: match planner.write_mode() {
                WriteMode::Append => Windows::Disjoint,
                WriteMode::Upsert | WriteMode::Replace => Windows::Overlapping,
            },
        })
    })
}

fn writer(
    planner: &Planner,
    kind: CursorKind,
    name: &Name,
    problems: &mut Problems,
) -> Option<WrittenBy> {
    let setting = &planner.settings.capture;
    // A store without sessions that could be asked has no bound but a clock.
    let is_server = planner.spec.source.info.capabilities.shows_writers;
    match setting.written_by {
        Some((WrittenBy::Database, place)) if !is_server && kind != CursorKind::Integer => {
            problems.hinted(
                place,
                format!(
                    "`written_by: database` cannot be relied on with `{}`",
                    planner.spec.source.kind
                ),
                "write `written_by: application` and an `overlap` longer than the longest \
                 transaction, such as `overlap: 10m`",
            );
            None
        }
        Some((written_by, _)) => Some(written_by),
        None if kind == CursorKind::Integer => None,
        None if !is_server => Some(WrittenBy::Application),
        None => {
            problems.hinted(
                name.place,
                format!(
                    "who stamps the cursor `{}`? `written_by` is missing",
                    name.text
                ),
                "write `written_by: database` if a default or trigger of the database sets it, \
                 else `written_by: application` with an `overlap`, such as `10m`",
            );
            None
        }
    }
}

fn overlap(
    planner: &Planner,
    kind: CursorKind,
    name: &Name,
    written_by: Option<WrittenBy>,
    problems: &mut Problems,
) -> Option<Overlap> {
    let wrong = |place: Place, problems: &mut Problems| {
        let (what, example) = match kind {
            CursorKind::Integer => ("an integer: `overlap` counts its units", "overlap: 1000"),
            _ => ("a time: `overlap` is a duration", "overlap: 10m"),
        };
        problems.hinted(
            place,
            format!("the cursor `{}` is {what}", name.text),
            format!("for example `{example}`"),
        );
        None
    };
    match (planner.settings.capture.overlap, kind) {
        (Some((OverlapSetting::Units(units), _)), CursorKind::Integer) => {
            Some(Overlap::Units(units))
        }
        (Some((OverlapSetting::Time(_), place)), CursorKind::Integer) => wrong(place, problems),
        (Some((OverlapSetting::Time(time), _)), _) => Some(Overlap::Time(time)),
        // Nothing is nothing in every unit.
        (Some((OverlapSetting::Units(0), _)), _) => Some(Overlap::Time(Default::default())),
        (Some((OverlapSetting::Units(_), place)), _) => wrong(place, problems),
        (None, _) if written_by == Some(WrittenBy::Application) => {
            needs_overlap(name, problems);
            None
        }
        (None, _) => None,
    }
}

/// Notes that nothing tells how long a stamp may come late.
pub(crate) fn needs_overlap(cursor: &Name, problems: &mut Problems) {
    problems.hinted(
        cursor.place,
        format!(
            "the cursor `{}` is stamped by the application and needs an `overlap`",
            cursor.text
        ),
        "make it longer than the longest transaction and the difference of the clocks, such as \
         `overlap: 10m`",
    );
}

fn zone(
    planner: &Planner,
    kind: CursorKind,
    name: &Name,
    problems: &mut Problems,
) -> Option<String> {
    match (&planner.settings.capture.zone, kind) {
        (Some(zone), CursorKind::ZoneLess) => Some(zone.text.clone()),
        // Defaults may name a zone for the tables that need one.
        (_, CursorKind::Integer | CursorKind::Instant) => None,
        (None, CursorKind::ZoneLess) => {
            problems.hinted(
                name.place,
                format!("the cursor `{}` has no time zone", name.text),
                "say in which zone it is written, such as `zone: UTC` or `zone: Europe/Berlin`",
            );
            None
        }
    }
}
