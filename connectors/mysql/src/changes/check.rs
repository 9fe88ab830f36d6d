//! The rules that a read must keep before anything runs.
//!
//! Pure, once the server has answered: every problem and note of one table at once.

use super::bound::{account, time_overlap};
use super::cursor::CursorKind;
use super::prepare::{Answers, Candidate};
use super::shape::{Cursor, columns_named, is_unique};
use crate::connect::MysqlStore;
use crate::sql::identifier;
use syncset_connector::{
    Capture, ConnectorError, ErrorClass, INTEGER_OVERLAP, NullCursor, ReadPlan, TableKind,
    TableRead, integer_overlap,
};

fn config(message: String) -> ConnectorError {
    ConnectorError::new(ErrorClass::Config, message)
}

/// Names of columns that a read names and this user may not read.
pub(crate) fn hidden_columns(read: &TableRead) -> Vec<&str> {
    columns_named(read)
        .into_iter()
        .filter(|name| {
            read.description
                .column(name)
                .is_some_and(|column| !column.readable)
        })
        .collect()
}

/// The statement that lets this user read columns.
pub(crate) fn grant(store: &MysqlStore, read: &TableRead, columns: &[&str]) -> String {
    let columns: Vec<_> = columns.iter().map(|name| identifier(name)).collect();
    let facts = store.facts();
    format!(
        "GRANT SELECT ({}) ON {}.{} TO {}",
        columns.join(", "),
        identifier(&facts.database),
        identifier(&read.description.name.name),
        account(&facts.user)
    )
}

/// Rights: every column that a statement names.
pub(crate) fn check_columns(store: &MysqlStore, read: &TableRead, plan: &mut ReadPlan) {
    let hidden = hidden_columns(read);
    if hidden.is_empty() {
        return;
    }
    let user = &store.facts().user;
    let names: Vec<_> = hidden.iter().map(|name| format!("`{name}`")).collect();
    plan.problems.push(
        ConnectorError::new(
            ErrorClass::Privilege,
            format!(
                "user `{user}` may not read {} of `{}`",
                names.join(", "),
                read.description.name
            ),
        )
        .with_hint(grant(store, read, &hidden)),
    );
}

/// The key must be unique and without NULLs.
pub(crate) fn check_key(read: &TableRead, plan: &mut ReadPlan) {
    let description = &read.description;
    if read.key.is_empty() {
        return;
    }
    if matches!(description.kind, TableKind::Table | TableKind::Partitioned) {
        for column in read
            .key_columns()
            .into_iter()
            .filter(|column| column.nullable)
        {
            plan.problems.push(
                config(format!(
                    "key column `{}` of `{}` may be NULL",
                    column.name, description.name
                ))
                .with_hint("name NOT NULL columns in `key:`, or make the column NOT NULL"),
            );
        }
    }
    if !is_unique(read) {
        plan.notes.push(format!(
            "no unique index of `{}` proves that its key is unique; two rows with one key are \
             refused by the target's key",
            description.name
        ));
    }
}

/// One table and what the server said about it.
pub(crate) struct TableCheck<'a> {
    /// The database.
    pub(crate) store: &'a MysqlStore,
    /// The read.
    pub(crate) candidate: &'a Candidate<'a>,
    /// All answers.
    pub(crate) answers: &'a Answers,
}

impl TableCheck<'_> {
    /// Checks the engine and the rules of the capture mode.
    pub(crate) fn run(&self, plan: &mut ReadPlan) {
        let read = self.candidate.read;
        let name = &read.description.name;
        if let Some(engine) = self.answers.engines.get(&name.name)
            && !engine.eq_ignore_ascii_case("InnoDB")
        {
            plan.notes.push(format!(
                "`{name}` is stored by {engine}, which has no snapshots: rows that are changed \
                 while they are read may be seen in part"
            ));
        }
        match (&read.capture, &self.candidate.shape.cursor) {
            (Capture::Full | Capture::Hash, _) => {}
            (Capture::Cursor(_), Some(cursor)) => self.cursor(cursor, plan),
            (other, _) => plan.problems.push(
                config(
                    format!(
                        "MySQL and MariaDB have no capture mode `{:?}`",
                        other.mode()
                    )
                    .to_lowercase(),
                )
                .with_hint("use `cursor` or `full`"),
            ),
        }
    }

    fn cursor(&self, cursor: &Cursor, plan: &mut ReadPlan) {
        let read = self.candidate.read;
        let name = read.description.name.to_string();
        let column = &cursor.spec.column;
        if cursor.column.column.nullable && cursor.spec.null_cursor == NullCursor::Error {
            plan.problems.push(
                config(format!("cursor column `{column}` of `{name}` may be NULL")).with_hint(
                    "make it NOT NULL, or say what happens to such rows: `null_cursor: read` \
                     reads them in each run, `null_cursor: ignore` never",
                ),
            );
        }
        if cursor.kind.is_time() {
            let user = &self.store.facts().user;
            let outcome = self.answers.activity.check(&name, &cursor.spec, user);
            plan.problems.extend(outcome.err());
        }
        self.cascades(plan);
        if read.description.kind == TableKind::View {
            plan.notes.push(format!(
                "`{name}` is a view: a row that enters it without a new `{column}` is not found"
            ));
        } else if !self
            .answers
            .indexed
            .contains(&(read.description.name.name.clone(), column.clone()))
        {
            plan.notes.push(format!(
                "no index of `{name}` begins with `{column}`: each run scans the table"
            ));
        }
        self.overlap(cursor, plan);
    }

    /// A foreign key changes rows without a statement of anybody, and so without a new stamp.
    fn cascades(&self, plan: &mut ReadPlan) {
        let read = self.candidate.read;
        let table = &read.description.name;
        for column in columns_named(read) {
            let key = (table.name.clone(), column.to_owned());
            if let Some(foreign_key) = self.answers.cascades.get(&key) {
                plan.problems.push(
                    config(format!(
                        "the foreign key `{foreign_key}` of `{table}` may change `{column}` by \
                         itself (CASCADE or SET NULL), and such a change moves no stamp"
                    ))
                    .with_hint(format!(
                        "use `capture: hash` for this table, or leave `{column}` out"
                    )),
                );
            }
        }
    }

    fn overlap(&self, cursor: &Cursor, plan: &mut ReadPlan) {
        let name = &self.candidate.read.description.name;
        let column = &cursor.spec.column;
        if cursor.kind == CursorKind::Integer {
            let units = integer_overlap(cursor.spec.overlap);
            if cursor.is_disjoint() {
                plan.notes.push(format!(
                    "rows of `{name}` come once the greatest `{column}` is more than {units} \
                     (`overlap`) above theirs; a row that is committed later than that is not found"
                ));
            } else if cursor.spec.overlap.is_none() {
                plan.notes.push(format!(
                    "`{column}` is a number: a row of `{name}` that is committed after \
                     {INTEGER_OVERLAP} greater numbers is not found; `overlap:` sets another limit"
                ));
            }
            return;
        }
        let seconds = time_overlap(cursor.spec.overlap).as_secs();
        let exact = format!(
            "`{name}` is exact if no statement that writes it waits longer than {seconds} s \
             (`overlap`) before its first row"
        );
        if cursor.is_disjoint() {
            plan.notes.push(format!(
                "rows of `{name}` come {seconds} s after their `{column}` at the earliest, and \
                 not before transactions that are older have ended"
            ));
        }
        plan.notes.push(exact);
    }
}

/// Membership that changes without a change of the row is not seen by windows.
pub(crate) fn check_condition(candidate: &Candidate<'_>, plan: &mut ReadPlan) {
    let Some(condition) = &candidate.condition else {
        return;
    };
    let place = format!("`where` of `{}`", candidate.read.description.name);
    if let Some(why) = condition.malformed {
        plan.problems
            .push(config(format!("{place} {why}")).with_hint("write one condition of SQL"));
        return;
    }
    if let Some(name) = &condition.unstable {
        plan.problems.push(
            config(format!(
                "{place} uses `{name}`, whose answer depends on the session or is never the same \
                 twice"
            ))
            .with_hint("use columns, constants and functions of them"),
        );
    }
    if !candidate.read.capture.has_windows() {
        return;
    }
    if let Some(clock) = &condition.clock {
        plan.problems.push(
            config(format!(
                "{place} reads the clock (`{clock}`): rows would leave the selection without a \
                 change that could be seen"
            ))
            .with_hint("use a constant, or `capture: hash` for this table"),
        );
    }
    if condition.has_subquery {
        plan.notes.push(format!(
            "{place} reads other tables: a row that enters or leaves the selection without being \
             changed itself is found only by a reload"
        ));
    }
}
