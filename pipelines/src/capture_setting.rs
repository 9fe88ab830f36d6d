//! Reads `capture:`.

use crate::fields::{Fields, choice, duration, text, wrong_type};
use crate::nearest::nearest;
use crate::problem::{Place, Problems};
use crate::schema::Section;
use crate::spec::{CaptureSetting, FindDeletes, Name, OverlapSetting};
use crate::yaml::{Entry, Node, Value};
use std::time::Duration;
use syncset_connector::{CaptureMode, NullCursor, WrittenBy};

const MODES: [(&str, CaptureMode); 4] = [
    ("full", CaptureMode::Full),
    ("hash", CaptureMode::Hash),
    ("cursor", CaptureMode::Cursor),
    ("xmin", CaptureMode::Xmin),
];

const WRITERS: [(&str, WrittenBy); 2] = [
    ("database", WrittenBy::Database),
    ("application", WrittenBy::Application),
];

const NULL_CURSORS: [(&str, NullCursor); 3] = [
    ("read", NullCursor::Read),
    ("ignore", NullCursor::Ignore),
    ("error", NullCursor::Error),
];

/// How deleted rows are looked for beside a mode that does not see them.
const SEARCHES: [(&str, ()); 1] = [("hash", ())];

/// Keys that only `mode: cursor` has.
const CURSOR_KEYS: [&str; 5] = ["column", "written_by", "overlap", "zone", "null_cursor"];

/// How long after a search for deleted rows the next one is due, where nobody says.
const FIND_DELETES_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

const FIND_DELETES_EXAMPLE: &str = "find_deletes: { mode: hash, every: 24h }";

const EXAMPLE: &str = "capture: { mode: cursor, column: updated_at, written_by: database }";

/// The name of a mode in the files.
pub(crate) fn mode_name(mode: CaptureMode) -> &'static str {
    MODES
        .iter()
        .find(|(_, known)| *known == mode)
        .map_or("", |(name, _)| *name)
}

/// What `capture` is where nobody says: every run reads the whole table, which is never wrong. Where
/// hashes save that, the plan takes them instead.
pub(crate) fn by_default(place: Place) -> CaptureSetting {
    CaptureSetting {
        mode: CaptureMode::Full,
        by_default: true,
        place,
        column: None,
        written_by: None,
        overlap: None,
        zone: None,
        null_cursor: None,
        find_deletes: None,
    }
}

/// The shorthand `capture: full` as `capture: { mode: full }`, so that both merge alike.
pub(crate) fn in_full(node: &Node) -> Node {
    let Value::Scalar { .. } = node.value else {
        return node.clone();
    };
    Node {
        place: node.place,
        value: Value::Map(vec![Entry {
            key: "mode".into(),
            key_place: node.place,
            node: node.clone(),
        }]),
    }
}

/// Reads `capture:`.
pub(crate) fn read(node: &Node, problems: &mut Problems) -> Option<CaptureSetting> {
    let node = in_full(node);
    if !matches!(node.value, Value::Map(_)) {
        wrong_type(&node, "`capture`", "a mode or a mapping", EXAMPLE, problems);
        return None;
    }
    let fields = Fields::of(&node, Section::Capture, ("`capture`", EXAMPLE), problems)?;
    let Some(mode_node) = fields.value("mode") else {
        problems.hinted(
            node.place,
            "`capture` has no `mode`",
            format!("for example `{EXAMPLE}`"),
        );
        return None;
    };
    let mode = choice(mode_node, Section::Capture, "mode", &MODES, problems)?;
    let mut setting = CaptureSetting {
        mode,
        by_default: false,
        ..by_default(node.place)
    };
    if let Some(node) = fields.value("find_deletes") {
        setting.find_deletes = find_deletes(node, mode, problems);
    }
    if mode == CaptureMode::Cursor {
        read_cursor(&fields, &mut setting, problems);
        return Some(setting);
    }
    for key in CURSOR_KEYS {
        if let Some(value) = fields.value(key) {
            problems.hinted(
                value.place,
                format!("`{key}` means nothing with `mode: {}`", mode_name(mode)),
                "remove it, or use `mode: cursor`",
            );
        }
    }
    Some(setting)
}

fn read_cursor(fields: &Fields, setting: &mut CaptureSetting, problems: &mut Problems) {
    match fields.value("column") {
        Some(node) => setting.column = text(node, "`column`", "column: updated_at", problems),
        None => problems.hinted(
            setting.place,
            "`mode: cursor` needs its `column`",
            format!("for example `{EXAMPLE}`"),
        ),
    }
    if let Some(node) = fields.value("written_by") {
        setting.written_by = choice(node, Section::Capture, "written_by", &WRITERS, problems)
            .map(|writer| (writer, node.place));
    }
    if let Some(node) = fields.value("overlap") {
        setting.overlap = overlap(node, problems).map(|overlap| (overlap, node.place));
    }
    if let Some(node) = fields.value("zone") {
        setting.zone = zone(node, problems);
    }
    if let Some(node) = fields.value("null_cursor") {
        setting.null_cursor = choice(
            node,
            Section::Capture,
            "null_cursor",
            &NULL_CURSORS,
            problems,
        );
    }
}

/// Reads `find_deletes:`; the shorthand `find_deletes: hash` takes the default for the rest.
fn find_deletes(node: &Node, mode: CaptureMode, problems: &mut Problems) -> Option<FindDeletes> {
    let node = &in_full(node);
    if matches!(mode, CaptureMode::Full | CaptureMode::Hash) {
        problems.hinted(
            node.place,
            format!(
                "`find_deletes` means nothing with `mode: {}`",
                mode_name(mode)
            ),
            "remove it: each run finds deleted rows",
        );
        return None;
    }
    let what = ("`find_deletes`", FIND_DELETES_EXAMPLE);
    let fields = Fields::of(node, Section::FindDeletes, what, problems)?;
    if let Some(node) = fields.value("mode") {
        choice(node, Section::FindDeletes, "mode", &SEARCHES, problems)?;
    }
    let every = match fields.value("every") {
        Some(node) => duration(node, "`every`", "every: 24h", problems)?,
        None => FIND_DELETES_EVERY,
    };
    Some(FindDeletes {
        every,
        place: node.place,
    })
}

fn overlap(node: &Node, problems: &mut Problems) -> Option<OverlapSetting> {
    if let Value::Scalar { text, .. } = &node.value
        && let Ok(units) = text.parse()
    {
        return Some(OverlapSetting::Units(units));
    }
    duration(node, "`overlap`", "overlap: 10m", problems).map(OverlapSetting::Time)
}

fn zone(node: &Node, problems: &mut Problems) -> Option<Name> {
    let example = "zone: Europe/Berlin";
    let name = text(node, "`zone`", example, problems)?;
    if name.text.parse::<chrono_tz::Tz>().is_ok() {
        return Some(name);
    }
    let hint = match nearest(
        &name.text,
        chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()),
    ) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write an IANA name, for example `{example}`"),
    };
    problems.hinted(
        name.place,
        format!("unknown time zone `{}`", name.text),
        hint,
    );
    None
}
