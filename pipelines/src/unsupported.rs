//! What the file format has and this version does not do yet. Recognised, so that nobody takes
//! it for a typing mistake, and refused, so that nobody believes it works. When something is
//! built, its row is deleted here.

/// A part of a file, with its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// The top of `syncset.yaml`.
    Project,
    /// The top of a pipeline file.
    Pipeline,
    /// One table, or `defaults:`.
    Table,
    /// `capture:`
    Capture,
    /// `write:`
    Write,
    /// `rejects:`
    Rejects,
    /// `lease:`
    Lease,
    /// `where:`
    Where,
    /// `columns:`
    Columns,
}

/// Keys that are refused wherever they appear in their section.
const KEYS: &[(Section, &str)] = &[
    (Section::Project, "plugins"),
    (Section::Project, "defaults"),
    (Section::Project, "state"),
    (Section::Pipeline, "left"),
    (Section::Pipeline, "right"),
    (Section::Pipeline, "key"),
    (Section::Pipeline, "columns"),
    (Section::Pipeline, "conflicts"),
    (Section::Pipeline, "deletes"),
    (Section::Pipeline, "guards"),
    (Section::Pipeline, "hooks"),
    (Section::Pipeline, "state"),
    (Section::Pipeline, "schema"),
    (Section::Table, "mask"),
    (Section::Table, "transform"),
    (Section::Table, "schema"),
    (Section::Table, "hooks"),
    (Section::Table, "guards"),
    (Section::Table, "max_rewrite_rows"),
    (Section::Capture, "find_deletes"),
    (Section::Rejects, "exit"),
];

/// Values that are refused: section, key, value.
const VALUES: &[(Section, &str, &str)] = &[
    (Section::Pipeline, "mode", "two_way"),
    (Section::Pipeline, "consistency", "pipeline"),
    (Section::Pipeline, "on_selection_change", "reload"),
    (Section::Pipeline, "on_selection_change", "approve"),
    (Section::Table, "on_lossy", "warn"),
    (Section::Table, "on_lossy", "text"),
    (Section::Table, "on_lossy", "null"),
    (Section::Capture, "mode", "hash"),
    (Section::Capture, "mode", "log"),
    (Section::Capture, "mode", "triggers"),
    (Section::Write, "mode", "append"),
    (Section::Write, "mode", "replace"),
    (Section::Write, "on_delete", "soft"),
];

/// Whether the key belongs to a later version.
pub(crate) fn is_unsupported_key(section: Section, key: &str) -> bool {
    KEYS.contains(&(section, key))
}

/// Whether the value of the key belongs to a later version.
pub(crate) fn is_unsupported_value(section: Section, key: &str, value: &str) -> bool {
    VALUES.contains(&(section, key, value))
}

/// The sentence for a key or a `key: value`.
pub(crate) fn sentence(what: &str) -> String {
    format!("`{what}` is not supported by this version")
}

/// Every refused key and value, to compare them with the documentation.
#[cfg(test)]
pub(crate) fn words() -> impl Iterator<Item = &'static str> {
    let keys = KEYS.iter().map(|(_, key)| *key);
    keys.chain(VALUES.iter().map(|(_, _, value)| *value))
}
