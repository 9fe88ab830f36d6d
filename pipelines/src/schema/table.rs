//! Keys of a table and of the mappings inside it.

use super::{Choice, Key, Section, Takes};

/// One table, or `defaults:`.
pub(super) const TABLE: &[Key] = &[
    Key::optional("columns", &[Takes::Names, Takes::Section(Section::Columns)])
        .about(
            "Which columns: a list of names and globs, in this order, or all but some. Absent: \
             all.",
        )
        .example("columns: [id, name, \"addr_*\"]"),
    Key::optional("where", &[Takes::Text, Takes::Section(Section::Where)])
        .about(
            "Which rows: SQL over the table's own columns. A row for which it is not true is not \
             selected, and leaves the target.",
        )
        .example("where: \"country in ('DE', 'FR')\""),
    Key::optional(
        "where_pushdown",
        &[Takes::Choice(&[
            ("exact", "the plan is refused"),
            ("best_effort", "more rows are read, and dropped by syncset"),
        ])],
    )
    .default("exact")
    .about("What happens where the source cannot evaluate `where` with the same meaning.")
    .example("where_pushdown: best_effort"),
    Key::optional("derive", &[Takes::TextMap])
        .about("Computed columns: name to SQL over the table's columns.")
        .example("derive: { initials: \"upper(left(name, 1))\" }"),
    Key::optional("mask", &[Takes::Masks(super::masks::WORDS, Section::Mask)])
        .about(
            "What is written instead of private values, by columns: names of the source or of \
             `derive`, and globs.",
        )
        .example("mask: { email: { hmac_sha256: \"${MASK_KEY}\" }, \"*_note\": redact }"),
    Key::optional("transform", &[Takes::Steps(Section::Step)])
        .about(
            "Plugins of `syncset.yaml` that the rows go through, in this order, after `derive` and \
             `mask`: a column that a plugin returns replaces the one of its name, or is added.",
        )
        .example("transform: [ { plugin: normalise_phone, config: { column: phone } } ]"),
    Key::optional("rename", &[Takes::TextMap])
        .about(
            "New names: name at the source, or of a computed column, or of one that a plugin adds, \
             to name at the target.",
        )
        .example("rename: { name: full_name }"),
    Key::optional("to", &[Takes::Text])
        .about(
            "The target table, with `{schema}` and `{table}` of the source. Absent: the same name.",
        )
        .example("to: \"crm.{table}\""),
    Key::optional("key", &[Takes::Names])
        .about("The columns that identify a row: unique and never NULL. Absent: the primary key.")
        .example("key: [tenant, id]"),
    Key::optional("capture", CAPTURE_TAKES)
        .about(
            "How changes are found: a mode, or a mapping. Absent: `hash` where both servers hash \
             rows alike and the table has a key, else `full`; `pipeline plan` says which, and why.",
        )
        .example("capture: { mode: cursor, column: updated_at, written_by: database }"),
    Key::optional("write", &[Takes::Section(Section::Write)])
        .about("What happens at the target.")
        .example("write: { mode: upsert, on_delete: hard }"),
    Key::optional("max_rewrite_rows", &[Takes::Count])
        .default("1000000")
        .about(
            "Rows of a table without a key that one run may delete and insert. With more it stops \
             and has written nothing.",
        )
        .example("max_rewrite_rows: 5000000"),
    Key::optional("rejects", &[Takes::Section(Section::Rejects)])
        .about("Rows that the target refuses.")
        .example("rejects: { max_rows: 100 }"),
    Key::optional("guards", &[Takes::Section(Section::Guards)])
        .about("What a run may delete before a person is asked.")
        .example("guards: { max_delete_percent: 5, max_delete_rows_always_allowed: 50 }"),
    Key::optional("copy", &[Takes::Section(Section::Copy)])
        .about("What comes along with a table that syncset creates, besides its keys.")
        .example("copy: { indexes: true }"),
    Key::optional(
        "schema",
        &[Takes::Choice(PRESETS), Takes::Section(Section::Schema)],
    )
    .default("additive")
    .about(
        "What happens when the source's table changes: a word for all kinds of changes, or a \
         mapping.",
    )
    .example("schema: { new_column: ignore }"),
    Key::optional(
        "on_lossy",
        &[Takes::Choice(POLICIES), Takes::Section(Section::OnLossy)],
    )
    .default("error")
    .about(
        "What happens to values that the target cannot keep, such as `NaN` in MySQL: a word for \
         all columns, or a mapping. Columns of the key always take `error`.",
    )
    .example("on_lossy: warn"),
];

const PRESETS: &[Choice] = &[
    (
        "additive",
        "the target follows whatever takes no values away: `new_column: add`, `dropped_column: \
         keep`, `type_change: widen`",
    ),
    (
        "evolve",
        "the target becomes what the source is: `new_column: add`, `dropped_column: drop`, \
         `type_change: widen`",
    ),
    (
        "frozen",
        "a table that changes stops with exit code 5: `fail` for every kind of change",
    ),
];

const POLICIES: &[Choice] = &[
    (
        "error",
        "the row is refused, as `rejects` says; a column without any type at the target stops the \
         plan",
    ),
    (
        "warn",
        "the nearest value is written where there is one, else NULL; the run warns and counts",
    ),
    (
        "text",
        "a column that may lose values becomes a text with the source's text form",
    ),
    ("null", "NULL is written; the run warns and counts"),
];

/// `on_lossy:` as a mapping.
pub(super) const ON_LOSSY: &[Key] = &[
    Key::optional("default", &[Takes::Choice(POLICIES)])
        .default("error")
        .about("For all columns that are not named.")
        .example("on_lossy: { default: warn }"),
    Key::optional("columns", &[Takes::Choices(POLICIES)])
        .about("For single columns, by their names at the source or in `derive`.")
        .example("on_lossy: { columns: { price: text, seen_at: \"null\" } }"),
];

/// `columns:` as a mapping.
pub(super) const COLUMNS: &[Key] = &[Key::optional("exclude", &[Takes::Texts])
    .about("Names and globs of the columns that are left out; all others are selected.")
    .example("columns: { exclude: [ssn, \"tmp_*\"] }")];

/// `where:` as a mapping.
pub(super) const WHERE: &[Key] = &[Key::required("source_sql", &[Takes::Text])
    .about("A condition in the source's own dialect, passed on as it is.")
    .example("where: { source_sql: \"total > 100\" }")];

const MODES: &[Choice] = &[
    ("full", "the whole table in each run; sees deleted rows"),
    (
        "hash",
        "rows whose hashes differ between source and target; sees deleted rows, and needs a key",
    ),
    ("cursor", "rows whose `column` has grown"),
    ("xmin", "rows of newer transactions (PostgreSQL)"),
];

/// What `capture:` takes wherever it is written.
pub(super) const CAPTURE_TAKES: &[Takes] =
    &[Takes::Choice(MODES), Takes::Section(Section::Capture)];

/// `capture:` as a mapping.
pub(super) const CAPTURE: &[Key] = &[
    Key::optional("mode", &[Takes::Choice(MODES)])
        .about("How changes are found. It has to be said here or in what this merges with.")
        .example("capture: { mode: xmin }"),
    Key::optional("column", &[Takes::Text])
        .about(
            "The cursor: an integer, date or timestamp that grows with every change. Required \
             with `cursor`; this and the keys below belong to that mode.",
        )
        .example("capture: { mode: cursor, column: id, overlap: 1000 }"),
    Key::optional(
        "written_by",
        &[Takes::Choice(&[
            (
                "database",
                "a default or trigger of the source stamps the column",
            ),
            ("application", "anything else; `overlap` is required"),
        ])],
    )
    .about(
        "Who stamps the cursor. Required for times, except in SQLite, where it is always \
         `application`.",
    )
    .example("capture: { mode: cursor, column: updated_at, written_by: database }"),
    Key::optional("overlap", &[Takes::Count, Takes::Duration])
        .about(
            "How far below the watermark a window starts: a duration for times, units for \
             integers. Longer than the longest transaction at the source.",
        )
        .example(
            "capture: { mode: cursor, column: updated_at, written_by: application, overlap: 10m }",
        ),
    Key::optional("zone", &[Takes::Text])
        .about("Time zone of a cursor that has none, as an IANA name. Required there.")
        .example(
            "capture: { mode: cursor, column: changed, written_by: database, zone: Europe/Berlin }",
        ),
    Key::optional(
        "null_cursor",
        &[Takes::Choice(&[
            ("read", "they are read in each run"),
            ("ignore", "they are not copied"),
            ("error", "the run fails"),
        ])],
    )
    .about("What happens to rows whose cursor is NULL. Required if the column may be NULL.")
    .example(
        "capture: { mode: cursor, column: updated_at, written_by: database, null_cursor: read }",
    ),
    Key::optional(
        "find_deletes",
        &[
            Takes::Choice(SEARCHES),
            Takes::Section(Section::FindDeletes),
        ],
    )
    .about(
        "With `cursor` and `xmin`, which do not see deleted rows: the keys of both sides are \
         compared now and then, after the changes are written. Absent: they are not.",
    )
    .example("capture: { mode: xmin, find_deletes: { mode: hash, every: 24h } }"),
];

const SEARCHES: &[Choice] = &[("hash", "by counts and hashes of the keys of both sides")];

/// `find_deletes:` as a mapping.
pub(super) const FIND_DELETES: &[Key] = &[
    Key::optional("mode", &[Takes::Choice(SEARCHES)])
        .default("hash")
        .about("How the keys are compared.")
        .example("capture: { mode: xmin, find_deletes: { mode: hash } }"),
    Key::optional("every", &[Takes::Duration])
        .default("24h")
        .about("How long after a search the next one is due; `0s`: each run searches.")
        .example("capture: { mode: xmin, find_deletes: { every: 6h } }"),
];

/// `write:`
pub(super) const WRITE: &[Key] = &[
    Key::optional(
        "mode",
        &[Takes::Choice(&[
            ("upsert", "rows are inserted, or updated by their key"),
            (
                "replace",
                "the table is made to hold the source's rows, in place; with `capture: full`",
            ),
            (
                "append",
                "each version of a row is inserted once; with `capture: cursor`",
            ),
        ])],
    )
    .about("How rows are written. Absent: `upsert`; for tables without a key `replace`.")
    .example("write: { mode: replace }"),
    Key::optional(
        "on_delete",
        &[Takes::Choice(&[
            ("hard", "they are deleted"),
            (
                "soft",
                "they stay, with the time in `_deleted_at`, until they come back; needs a key",
            ),
            ("keep", "they stay as they are"),
        ])],
    )
    .default("hard")
    .about("What happens at the target to rows that are gone or have left the selection.")
    .example("write: { on_delete: soft }"),
    Key::optional("synced_at", &[Takes::Text])
        .about(
            "A column of this name at the target says when a row was last inserted, changed or \
             marked as deleted. Absent: there is none.",
        )
        .example("write: { synced_at: _synced_at }"),
];

/// `copy:`
pub(super) const COPY: &[Key] = &[
    Key::optional("indexes", &[Takes::Flag])
        .default("false")
        .about(
            "Whether indexes of the source that are not unique come along, where their columns are \
             all copied as they are. They are built after the first load.",
        )
        .example("copy: { indexes: true }"),
    Key::optional("foreign_keys", &[Takes::Flag])
        .default("false")
        .about(
            "Whether foreign keys between tables of this pipeline come along, where the target \
             keeps to them at every commit (`consistency: pipeline`). They are built after the \
             first load.",
        )
        .example("copy: { foreign_keys: true }"),
    Key::optional("comments", &[Takes::Flag])
        .default("false")
        .about(
            "Whether comments of tables and columns come along and follow those of the source, \
             where both stores keep them.",
        )
        .example("copy: { comments: true }"),
];

/// `rejects:`
pub(super) const REJECTS: &[Key] = &[
    Key::optional("max_rows", &[Takes::Count])
        .default("0")
        .about(
            "How many rows the target may refuse before the table fails. Refused rows are kept \
             in the state, with key and reason.",
        )
        .example("rejects: { max_rows: 100 }"),
    Key::optional("exit", &[Takes::Exactly(0), Takes::Exactly(3)])
        .default("0")
        .about(
            "Exit code of a run whose tables are done but have rejected rows that wait: `0`, with \
             a warning, or `3`.",
        )
        .example("rejects: { max_rows: 100, exit: 3 }"),
];

/// `guards:`
pub(super) const GUARDS: &[Key] = &[
    Key::optional("max_delete_percent", &[Takes::Percent])
        .default("5")
        .about(
            "How many of a table's rows at the target one run may delete. With more the run stops \
             for the table with exit code 8 and deletes nothing. 100 lets every delete pass.",
        )
        .example("guards: { max_delete_percent: 0.5 }"),
    Key::optional("max_delete_rows_always_allowed", &[Takes::Count])
        .default("50")
        .about("How many rows of a table one run may delete whatever the table holds.")
        .example("guards: { max_delete_rows_always_allowed: 0 }"),
    Key::optional(
        "empty_source",
        &[Takes::Choice(&[
            (
                "stop",
                "the run stops for the table with exit code 8 and deletes nothing",
            ),
            ("allow", "its rows count as any others"),
        ])],
    )
    .default("stop")
    .about(
        "What becomes of a target table that holds rows when the source selects none. It is asked \
         where the whole table is read: by `full`, and when a table is loaded again.",
    )
    .example("guards: { empty_source: allow }"),
];

/// `schema:`
pub(super) const SCHEMA: &[Key] = &[
    Key::optional("preset", &[Takes::Choice(PRESETS)])
        .default("additive")
        .about(
            "What counts for kinds of changes that have no key beside it. Written in a table, it \
             leaves nothing of what `defaults` say about `schema`.",
        )
        .example("schema: { preset: evolve, dropped_column: approve }"),
    Key::optional(
        "new_column",
        &[Takes::Choice(&[
            (
                "add",
                "the target gets it, and the rows that are there are filled, in the same run",
            ),
            ("ignore", "it is not copied"),
            (
                "approve",
                "the table stops with exit code 5 until `schema approve` agrees",
            ),
            ("fail", "the table stops with exit code 5"),
        ])],
    )
    .default("add")
    .about(
        "What happens when the source's table gets a column that `columns` takes without naming \
         it.",
    )
    .example("schema: { new_column: approve }"),
    Key::optional(
        "unmasked_columns",
        &[Takes::Choice(&[
            ("copy", "what `new_column` says"),
            (
                "fail",
                "the table stops with exit code 5 until `mask` covers the column, `columns` names \
                 it, or it is left out",
            ),
        ])],
    )
    .default("copy")
    .about(
        "What happens when the source's table gets a column that would be copied and that no \
         `mask` covers.",
    )
    .example("schema: { unmasked_columns: fail }"),
    Key::optional(
        "dropped_column",
        &[Takes::Choice(&[
            (
                "keep",
                "the target's column stays with its values, and later rows have NULL in it",
            ),
            ("null", "the target's column stays without values"),
            ("drop", "the target's column is dropped"),
            (
                "approve",
                "the table stops with exit code 5 until `schema approve` agrees that the \
                 target's column is dropped",
            ),
            ("fail", "the table stops with exit code 5"),
        ])],
    )
    .default("keep")
    .about("What becomes of the target's column when the source drops the one it carries.")
    .example("schema: { dropped_column: drop }"),
    Key::optional(
        "renamed_column",
        &[Takes::Choice(&[
            (
                "follow",
                "the target's column gets the new name too, and keeps its values; where the \
                 source does not tell, the table stops with exit code 5 until `schema \
                 approve` agrees",
            ),
            (
                "add",
                "the column of the old name counts as dropped, the one of the new name as new",
            ),
            (
                "approve",
                "the table stops with exit code 5 until `schema approve` agrees",
            ),
            ("fail", "the table stops with exit code 5"),
        ])],
    )
    .default("follow")
    .about("What happens when a column that is copied gets another name at the source.")
    .example("schema: { renamed_column: approve }"),
    Key::optional(
        "type_change",
        &[Takes::Choice(&[
            (
                "widen",
                "the target's column is widened where the new type holds every value of the old \
                 one; for any other type the table stops with exit code 5 until `schema \
                 approve` agrees",
            ),
            (
                "approve",
                "the table stops with exit code 5 until `schema approve` agrees",
            ),
            ("fail", "the table stops with exit code 5"),
        ])],
    )
    .default("widen")
    .about("What happens when a column that is copied gets another type at the source.")
    .example("schema: { type_change: approve }"),
    Key::optional(
        "nullable_column",
        &[Takes::Choice(&[
            ("follow", "the target's column may hold NULL too"),
            (
                "approve",
                "the table stops with exit code 5 until `schema approve` agrees",
            ),
            ("fail", "the table stops with exit code 5"),
        ])],
    )
    .default("follow")
    .about(
        "What happens when a column that is copied may hold NULL at the source, which it refused. \
         One that refuses NULL from some time on changes nothing.",
    )
    .example("schema: { nullable_column: approve }"),
    Key::optional(
        "key_change",
        &[Takes::Choice(&[
            (
                "approve",
                "the table stops with exit code 5 until `schema approve` agrees that the \
                 target's key is made anew and the rows are read again",
            ),
            ("fail", "the table stops with exit code 5"),
        ])],
    )
    .default("approve")
    .about("What happens when the primary key that rows are found by is another one at the source.")
    .example("schema: { key_change: fail }"),
];
