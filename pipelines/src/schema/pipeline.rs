//! Keys at the top of a pipeline file.

use super::{Key, Section, Takes};

/// The top of the file.
pub(super) const PIPELINE: &[Key] = &[
    Key::required("version", &[Takes::Exactly(1)])
        .about("Version of the file format.")
        .example("version: 1"),
    Key::optional("mode", &[Takes::Choice(&[("one_way", "the source decides what the target holds")])])
        .default("one_way")
        .about("Which way rows go.")
        .example("mode: one_way"),
    Key::required("source", &[Takes::Endpoint])
        .about("Where rows come from: the name of a connection, a URL, or a mapping as in `connections`.")
        .example("source: crm"),
    Key::required("target", &[Takes::Endpoint])
        .about("Where rows go: the name of a connection, a URL, or a mapping as in `connections`.")
        .example("target: replica"),
    Key::optional("capture", super::table::CAPTURE_TAKES)
        .about("How changes are found, for all tables; `defaults` and the tables win over it.")
        .example("capture: { mode: cursor, column: updated_at, written_by: database }"),
    Key::optional("rejects", &[Takes::Section(Section::Rejects)])
        .about("Rows that the target refuses, for all tables; `defaults` and the tables win over it.")
        .example("rejects: { max_rows: 0 }"),
    Key::optional("guards", &[Takes::Section(Section::Guards)])
        .about("What a run may delete before a person is asked, for all tables; `defaults` and the tables win over it.")
        .example("guards: { max_delete_percent: 5 }"),
    Key::optional("copy", &[Takes::Section(Section::Copy)])
        .about("What comes along with tables that syncset creates, for all tables; `defaults` and the tables win over it.")
        .example("copy: { indexes: true }"),
    Key::optional(
        "consistency",
        &[Takes::Choice(&[
            ("table", "each table commits by itself"),
            ("pipeline", "the changes of all tables commit together"),
        ])],
    )
    .default("table")
    .about(
        "What becomes visible at once at the target. With `pipeline` a table that fails holds all \
         others back, and `rejects` is not allowed.",
    )
    .example("consistency: pipeline"),
    Key::optional(
        "on_selection_change",
        &[Takes::Choice(&[
            (
                "reload",
                "the table is loaded again under the edited selection; what no longer belongs \
                 is deleted",
            ),
            (
                "approve",
                "the run stops with exit code 5 until somebody agrees with `--approve TABLE`",
            ),
            (
                "fail",
                "the run stops with exit code 5 until the edit is undone",
            ),
        ])],
    )
    .default("reload")
    .about("What a run does when the columns, conditions or names of a loaded table were edited.")
    .example("on_selection_change: approve"),
    Key::optional("defaults", &[Takes::Section(Section::Table)])
        .about(
            "What every table has unless it says otherwise. Mappings merge by key, lists and \
             texts replace.",
        )
        .example("defaults: { to: \"crm.{table}\" }"),
    Key::required("tables", &[Takes::Tables])
        .about(
            "Which tables are copied: names (`public.customers`), globs (`\"public.ref_*\"`) and \
             their settings. `skip` leaves a table out; an exact name beats a glob.",
        )
        .example("tables: { public.customers: { columns: [id, name] }, \"public.ref_*\": skip }"),
    Key::optional("tags", &[Takes::Texts])
        .about("Words by which runs choose pipelines.")
        .example("tags: [hourly]"),
    Key::optional("hooks", &[Takes::Section(Section::Hooks)])
        .about("Statements and commands that are run before and after: see [Hooks](hooks.md).")
        .example("hooks: { on_failure: [ { command: [./tell, ops] } ] }"),
];
