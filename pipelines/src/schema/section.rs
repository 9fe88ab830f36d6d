//! The mappings that the files are made of.

use super::{Key, hooks, masks, pipeline, plugins, project, table};

/// A mapping of a file, with its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// The top of `syncset.yaml`.
    Project,
    /// `lease:`
    Lease,
    /// `retention:`
    Retention,
    /// One plugin.
    Plugin,
    /// `limits:` of a plugin.
    PluginLimits,
    /// The top of a pipeline file.
    Pipeline,
    /// One table, or `defaults:`.
    Table,
    /// `columns:`
    Columns,
    /// `where:`
    Where,
    /// `capture:`
    Capture,
    /// `find_deletes:`
    FindDeletes,
    /// `write:`
    Write,
    /// `rejects:`
    Rejects,
    /// `hooks:`
    Hooks,
    /// One hook.
    Hook,
    /// `guards:`
    Guards,
    /// `schema:`
    Schema,
    /// `copy:`
    Copy,
    /// `on_lossy:`
    OnLossy,
    /// One mask.
    Mask,
    /// `partial:`
    Partial,
    /// One entry of `transform:`.
    Step,
}

impl Section {
    /// Every section, each behind the one that holds it.
    pub(crate) const ALL: [Self; 22] = [
        Self::Project,
        Self::Lease,
        Self::Retention,
        Self::Plugin,
        Self::PluginLimits,
        Self::Pipeline,
        Self::Table,
        Self::Columns,
        Self::Where,
        Self::Capture,
        Self::FindDeletes,
        Self::Write,
        Self::Rejects,
        Self::Hooks,
        Self::Hook,
        Self::Guards,
        Self::Schema,
        Self::Copy,
        Self::OnLossy,
        Self::Mask,
        Self::Partial,
        Self::Step,
    ];

    /// Its keys, in the order they are listed in.
    pub(crate) const fn keys(self) -> &'static [Key] {
        match self {
            Self::Project => project::PROJECT,
            Self::Lease => project::LEASE,
            Self::Retention => project::RETENTION,
            Self::Plugin => plugins::PLUGIN,
            Self::PluginLimits => plugins::LIMITS,
            Self::Pipeline => pipeline::PIPELINE,
            Self::Table => table::TABLE,
            Self::Columns => table::COLUMNS,
            Self::Where => table::WHERE,
            Self::Capture => table::CAPTURE,
            Self::FindDeletes => table::FIND_DELETES,
            Self::Write => table::WRITE,
            Self::Rejects => table::REJECTS,
            Self::Hooks => hooks::HOOKS,
            Self::Hook => hooks::HOOK,
            Self::Guards => table::GUARDS,
            Self::Schema => table::SCHEMA,
            Self::Copy => table::COPY,
            Self::OnLossy => table::ON_LOSSY,
            Self::Mask => masks::MASK,
            Self::Partial => masks::PARTIAL,
            Self::Step => plugins::STEP,
        }
    }

    /// The row of a key.
    pub(crate) fn key(self, name: &str) -> Option<&'static Key> {
        self.keys().iter().find(|key| key.name == name)
    }

    /// Where it is: the section at the top of a file, or the table, that its examples are lines
    /// of, and the JSON pointer from such a line to it.
    pub(crate) const fn place(self) -> (Self, &'static str) {
        match self {
            Self::Project | Self::Pipeline | Self::Table => (self, ""),
            Self::Lease => (Self::Project, "/lease"),
            Self::Retention => (Self::Project, "/retention"),
            Self::Plugin => (Self::Project, "/plugins/normalise_phone"),
            Self::PluginLimits => (Self::Project, "/plugins/normalise_phone/limits"),
            Self::Columns => (Self::Table, "/columns"),
            Self::Where => (Self::Table, "/where"),
            Self::Capture => (Self::Table, "/capture"),
            Self::FindDeletes => (Self::Table, "/capture/find_deletes"),
            Self::Write => (Self::Table, "/write"),
            Self::Rejects => (Self::Table, "/rejects"),
            Self::Hooks => (Self::Pipeline, "/hooks"),
            Self::Hook => (Self::Pipeline, "/hooks/before/0"),
            Self::Guards => (Self::Table, "/guards"),
            Self::Schema => (Self::Table, "/schema"),
            Self::Copy => (Self::Table, "/copy"),
            Self::OnLossy => (Self::Table, "/on_lossy"),
            Self::Mask => (Self::Table, "/mask/email"),
            Self::Partial => (Self::Table, "/mask/email/partial"),
            Self::Step => (Self::Table, "/transform/0"),
        }
    }

    /// True if it is a mapping inside a table or inside the top of a file.
    pub(crate) fn is_nested(self) -> bool {
        self.place().0 != self
    }

    /// How it is called: the name of its definition in the JSON Schema.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Lease => "lease",
            Self::Retention => "retention",
            Self::Plugin => "plugin",
            Self::PluginLimits => "limits",
            Self::Pipeline => "pipeline",
            Self::Table => "table",
            Self::Columns => "columns",
            Self::Where => "where",
            Self::Capture => "capture",
            Self::FindDeletes => "find_deletes",
            Self::Write => "write",
            Self::Rejects => "rejects",
            Self::Hooks => "hooks",
            Self::Hook => "hook",
            Self::Guards => "guards",
            Self::Schema => "schema",
            Self::Copy => "copy",
            Self::OnLossy => "on_lossy",
            Self::Mask => "mask",
            Self::Partial => "partial",
            Self::Step => "transform",
        }
    }

    /// One sentence about it.
    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::Project => "The connections that pipelines share.",
            Self::Lease => "What keeps two runs of a pipeline apart.",
            Self::Retention => "How long the state remembers.",
            Self::Plugin => {
                "A WebAssembly component that transforms rows or gives functions to expressions."
            }
            Self::PluginLimits => "What a plugin may use.",
            Self::Pipeline => "What is copied from where to where.",
            Self::Table => "One table, or what all tables of the pipeline have in common.",
            Self::Columns => "All columns but some.",
            Self::Where => "A condition in the source's own SQL.",
            Self::Capture => "How changes are found.",
            Self::FindDeletes => "How deleted rows are found by a capture that does not see them.",
            Self::Write => "What happens at the target.",
            Self::Rejects => "Rows that the target refuses.",
            Self::Hooks => "Lists of what is run before and after a run, while it holds the lease.",
            Self::Hook => "One statement or command: `sql` with its `connection`, or `command`.",
            Self::Guards => "What a run may delete before a person is asked.",
            Self::Schema => "What happens when the source's table changes.",
            Self::Copy => "What comes along with a table that syncset creates, besides its keys.",
            Self::OnLossy => "What happens to values that the target cannot keep, by column.",
            Self::Mask => "What is written instead of a column's values: one of these.",
            Self::Partial => "How many characters stay.",
            Self::Step => "One plugin that the rows of a table go through.",
        }
    }
}
