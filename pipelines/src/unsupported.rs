//! What the file format has and this version does not do yet. Recognised, so that nobody takes
//! it for a typing mistake, and refused, so that nobody believes it works. When something is
//! built, its row is deleted here.

use crate::schema::Section;

/// What to do about a key that is refused wherever it appears in its section.
const KEYS: &[(Section, &str, &str)] = &[
    (
        Section::Project,
        "defaults",
        "write `defaults:` into each pipeline file",
    ),
    (Section::Project, "state", STATE_INSTEAD),
    (Section::Pipeline, "left", ONE_WAY_INSTEAD),
    (Section::Pipeline, "right", ONE_WAY_INSTEAD),
    (
        Section::Pipeline,
        "key",
        "name the key of each table: `tables: { NAME: { key: [id] } }`",
    ),
    (
        Section::Pipeline,
        "columns",
        "name the columns of each table: `tables: { NAME: { columns: [id, name] } }`",
    ),
    (
        Section::Pipeline,
        "conflicts",
        "take it out: pipelines go one way, so the source always wins",
    ),
    (
        Section::Pipeline,
        "deletes",
        "say it per table or in `defaults:`: `write: { on_delete: keep }`",
    ),
    (Section::Pipeline, "state", STATE_INSTEAD),
    (
        Section::Pipeline,
        "schema",
        "write it into `defaults:` or into a table: `defaults: { schema: { new_column: add } }`",
    ),
    (Section::Table, "hooks", HOOKS_INSTEAD),
];

/// What to do about a value that is refused: section, key, value.
const VALUES: &[(Section, &str, &str, &str)] = &[
    (Section::Pipeline, "mode", "two_way", ONE_WAY_INSTEAD),
    (Section::Capture, "mode", "log", CAPTURE_INSTEAD),
    (Section::Capture, "mode", "triggers", CAPTURE_INSTEAD),
];

const ONE_WAY_INSTEAD: &str = "name a `source` and a `target`: this version copies one way";
const STATE_INSTEAD: &str = "take it out: the state is kept at the target, in `_syncset`";
const HOOKS_INSTEAD: &str = "write `hooks:` at the top of the pipeline: the report that a command is given names each table";
const CAPTURE_INSTEAD: &str =
    "use `hash`, `cursor` with a column that grows with every change, or `xmin` in PostgreSQL";

/// What to do instead of a key of a later version; `None` if it is no such key.
pub(crate) fn instead_of_key(section: Section, key: &str) -> Option<&'static str> {
    let mut known = KEYS.iter().filter(|row| (row.0, row.1) == (section, key));
    known.next().map(|row| row.2)
}

/// What to do instead of a value of a later version; `None` if it is no such value.
pub(crate) fn instead_of_value(section: Section, key: &str, value: &str) -> Option<&'static str> {
    let mut known = VALUES
        .iter()
        .filter(|row| (row.0, row.1, row.2) == (section, key, value));
    known.next().map(|row| row.3)
}

/// The sentence for a key or a `key: value`.
pub(crate) fn sentence(what: &str) -> String {
    format!("`{what}` is not supported by this version")
}

/// Every refused key and value, to compare them with the documentation.
#[cfg(test)]
pub(crate) fn words() -> impl Iterator<Item = &'static str> {
    let keys = KEYS.iter().map(|row| row.1);
    keys.chain(VALUES.iter().map(|row| row.2))
}

/// Every refused key, with the section that would have it.
#[cfg(test)]
pub(crate) fn keys() -> impl Iterator<Item = (Section, &'static str)> {
    KEYS.iter().map(|row| (row.0, row.1))
}

/// Every refused value: section, key, value.
#[cfg(test)]
pub(crate) fn values() -> impl Iterator<Item = (Section, &'static str, &'static str)> {
    VALUES.iter().map(|row| (row.0, row.1, row.2))
}
