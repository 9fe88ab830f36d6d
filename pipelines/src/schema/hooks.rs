//! Keys of `hooks:`.

use super::{Key, Section, Takes};

const LIST: &[Takes] = &[Takes::Sections(Section::Hook)];

/// `hooks:`
pub(super) const HOOKS: &[Key] = &[
    Key::optional("before", LIST)
        .about("Before anything is written. The first one that fails ends the run.")
        .example("hooks: { before: [ { command: [./maintenance, \"on\"] } ] }"),
    Key::optional("on_success", LIST)
        .about("After a run with exit code 0.")
        .example("hooks: { on_success: [ { sql: \"ANALYZE\", connection: target } ] }"),
    Key::optional("on_failure", LIST)
        .about("After a run with any other exit code.")
        .example("hooks: { on_failure: [ { command: [./tell, ops] } ] }"),
    Key::optional("after", LIST)
        .about("After every run, last.")
        .example("hooks: { after: [ { command: [./maintenance, \"off\"] } ] }"),
];

/// One hook.
pub(super) const HOOK: &[Key] = &[
    Key::optional("sql", &[Takes::Text])
        .about("Statements in the dialect of `connection`, run in a session of their own.")
        .example(
            "hooks: { before: [ { sql: \"REFRESH MATERIALIZED VIEW v\", connection: source } ] }",
        ),
    Key::optional("connection", &[Takes::Text])
        .about(
            "Where `sql` is run: a connection of `syncset.yaml`, or `source` or `target` of the \
             pipeline. Required with `sql`.",
        )
        .example("hooks: { before: [ { sql: \"ANALYZE\", connection: target } ] }"),
    Key::optional("command", &[Takes::Words, Takes::Text])
        .about(
            "A program with its arguments, or one text for `sh -c`. It starts in the project \
             folder and reads the report of the run as JSON on its standard input.",
        )
        .example("hooks: { before: [ { command: [./tell, ops] } ] }"),
    Key::optional("timeout", &[Takes::Duration])
        .default("30s")
        .about(
            "How long it may take, from 100ms to 24h. A command is then ended with all processes \
             that it started.",
        )
        .example("hooks: { before: [ { command: [./tell, ops], timeout: 2m } ] }"),
    Key::optional(
        "on_error",
        &[Takes::Choice(&[
            ("fail", "the run fails; what it has committed stays"),
            ("warn", "the run goes on with a warning"),
        ])],
    )
    .about("What its failure means. Default: `fail` in `before`, `warn` in the other lists.")
    .example("hooks: { before: [ { command: [./tell, ops], on_error: warn } ] }"),
];
