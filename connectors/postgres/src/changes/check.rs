//! The rules that a read must keep before anything runs.
//!
//! Pure, once the server has answered: every problem and note of one table at once.

use super::cursor::CursorKind;
use super::prepare::{Answers, Candidate, Function};
use super::relation::{Relation, columns_named};
use super::shape::Cursor;
use crate::connect::PgStore;
use crate::sql::{qualified, quote_ident};
use syncset_connector::{
    Capture, ConnectorError, ErrorClass, INTEGER_OVERLAP, NullCursor, Overlap, ReadPlan, TableKind,
    TableRead,
};

fn config(message: String) -> ConnectorError {
    ConnectorError::new(ErrorClass::Config, message)
}

/// Rights: every column that a statement names.
pub(crate) fn check_columns(store: &PgStore, read: &TableRead, plan: &mut ReadPlan) {
    let hidden: Vec<_> = columns_named(read)
        .into_iter()
        .filter(|name| {
            read.description
                .column(name)
                .is_some_and(|column| !column.readable)
        })
        .collect();
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
        .with_hint(grant(read, hidden.into_iter(), user)),
    );
}

fn grant<'a>(read: &TableRead, columns: impl Iterator<Item = &'a str>, user: &str) -> String {
    let columns: Vec<_> = columns.map(quote_ident).collect();
    format!(
        "GRANT SELECT ({}) ON {} TO {}",
        columns.join(", "),
        qualified(&read.description.name),
        quote_ident(user)
    )
}

/// The key must be unique and without NULLs.
pub(crate) fn check_key(read: &TableRead, plan: &mut ReadPlan) {
    let description = &read.description;
    if read.key.is_empty() {
        return;
    }
    let covers = |columns: &[String]| {
        !columns.is_empty() && columns.iter().all(|column| read.key.contains(column))
    };
    let unique = covers(&description.primary_key)
        || description
            .unique_keys
            .iter()
            .any(|key| key.total && covers(&key.columns));
    let is_table = matches!(description.kind, TableKind::Table | TableKind::Partitioned);
    if is_table {
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
    if !unique {
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
    pub(crate) store: &'a PgStore,
    /// The read.
    pub(crate) candidate: &'a Candidate<'a>,
    /// The table.
    pub(crate) relation: &'a Relation,
    /// All answers.
    pub(crate) answers: &'a Answers,
    /// True if policies would hide rows from this user.
    pub(crate) hides_rows: bool,
    /// True if an index begins with the cursor.
    pub(crate) has_index: bool,
}

impl TableCheck<'_> {
    /// Checks row security and the rules of the capture mode.
    pub(crate) fn run(&self, plan: &mut ReadPlan) {
        let read = self.candidate.read;
        let name = &read.description.name;
        if self.hides_rows && self.store.config.row_security {
            plan.notes.push(format!(
                "rows that the policies of `{name}` hide are not read"
            ));
        } else if self.hides_rows {
            plan.problems.push(
                ConnectorError::new(
                    ErrorClass::Privilege,
                    format!("the policies of `{name}` would hide rows from this user"),
                )
                .with_hint(
                    "use a user with BYPASSRLS, or set `row_security: on` for the connection to \
                     read only the rows it may see",
                ),
            );
        }
        match (&read.capture, &self.candidate.shape.cursor) {
            (Capture::Full | Capture::Hash, _) => {}
            (Capture::Xmin, _) => self.xmin(plan),
            (Capture::Cursor(_), Some(cursor)) => self.cursor(cursor, plan),
            _ => plan
                .problems
                .push(config(format!("`{name}` has an unknown capture mode"))),
        }
    }

    fn grant_xmin(&self) -> String {
        format!(
            "GRANT SELECT (xmin, tableoid) ON {} TO {}",
            qualified(&self.candidate.read.description.name),
            quote_ident(&self.store.facts().user)
        )
    }

    fn xmin(&self, plan: &mut ReadPlan) {
        let name = &self.candidate.read.description.name;
        if !self.relation.keeps_versions {
            plan.problems.push(
                config(format!(
                    "`{name}` is no plain or partitioned table, so it has no `xmin`"
                ))
                .with_hint("use `capture: { mode: full }`, or a cursor column"),
            );
        } else if !self.relation.has_xmin || !self.relation.has_tableoid {
            let user = &self.store.facts().user;
            plan.problems.push(
                ConnectorError::new(
                    ErrorClass::Privilege,
                    format!("user `{user}` may not read `xmin` and `tableoid` of `{name}`"),
                )
                .with_hint(self.grant_xmin()),
            );
        }
    }

    fn cursor(&self, cursor: &Cursor, plan: &mut ReadPlan) {
        let name = self.candidate.read.description.name.to_string();
        let column = &cursor.spec.column;
        if cursor.nullable && cursor.spec.null_cursor == NullCursor::Error {
            plan.problems.push(
                config(format!("cursor column `{column}` of `{name}` may be NULL")).with_hint(
                    "make it NOT NULL, or say what happens to such rows: `null_cursor: read` \
                     reads them in each run, `null_cursor: ignore` never",
                ),
            );
        }
        let user = &self.store.facts().user;
        if cursor.kind.is_time() {
            let outcome = self.answers.activity.check(&name, &cursor.spec, user);
            plan.problems.extend(outcome.err());
        }
        self.kind_of_table(cursor, plan);
        if !self.has_index && self.relation.keeps_versions {
            plan.notes.push(format!(
                "no index of `{name}` begins with `{column}`: each run scans the table"
            ));
        }
        if cursor.is_disjoint() {
            plan.notes.extend(cursor.disjoint_notes(&name));
            return;
        }
        if self.relation.keeps_versions && !self.relation.has_xmin {
            plan.notes.push(format!(
                "rows of the last run's end are read twice, because user `{user}` may not read \
                 `xmin`: {}",
                self.grant_xmin()
            ));
        }
        if cursor.kind == CursorKind::Integer && cursor.spec.overlap.is_none() {
            plan.notes.push(format!(
                "`{column}` is a number: a row of `{name}` that is committed after \
                 {INTEGER_OVERLAP} greater numbers is not found; `overlap:` sets another limit"
            ));
        }
        if let Some(Overlap::Time(overlap)) = cursor.spec.overlap {
            plan.notes.push(format!(
                "each run reads the last {} s of `{name}` again; a clock that is further behind, \
                 or a transaction that this user cannot see and that takes longer, loses rows",
                overlap.as_secs()
            ));
        }
    }

    fn kind_of_table(&self, cursor: &Cursor, plan: &mut ReadPlan) {
        let description = &self.candidate.read.description;
        let name = &description.name;
        match description.kind {
            TableKind::MaterializedView => plan.problems.push(
                config(format!(
                    "`{name}` is a materialised view: its rows appear with stamps of the past"
                ))
                .with_hint("use `capture: { mode: full }`"),
            ),
            TableKind::Foreign if cursor.spec.overlap.is_none() => plan.problems.push(
                config(format!(
                    "`{name}` is a foreign table: the transactions that write it cannot be seen"
                ))
                .with_hint("set `overlap:` to more than the longest transaction of its server"),
            ),
            TableKind::View => plan.notes.push(format!(
                "`{name}` is a view: a row that enters it without a new `{}` is not found",
                cursor.spec.column
            )),
            _ => {}
        }
    }
}

/// Membership that changes without a change of the row is not seen by windows.
pub(crate) fn check_condition(candidate: &Candidate<'_>, answers: &Answers, plan: &mut ReadPlan) {
    let Some(condition) = &candidate.condition else {
        return;
    };
    let place = format!("`where` of `{}`", candidate.read.description.name);
    if let Some(why) = condition.malformed {
        plan.problems
            .push(config(format!("{place} {why}")).with_hint("write one condition of SQL"));
        return;
    }
    let called = |schema: &str, name: &str, visible: bool| {
        condition.functions.iter().any(|(wanted_schema, wanted)| {
            wanted == name
                && wanted_schema
                    .as_ref()
                    .map_or(visible, |wanted| wanted == schema)
        })
    };
    let clock = condition.clock.as_deref();
    for function in &answers.functions {
        let Function {
            schema,
            name,
            visible,
            volatile,
            foreign,
        } = function;
        if !called(schema, name, *visible) {
            continue;
        }
        if *volatile && clock.is_none_or(|clock| clock != format!("{name}()")) {
            plan.problems.push(
                config(format!(
                    "{place} calls `{name}`, whose answer is never the same twice"
                ))
                .with_hint("use columns and functions that are STABLE or IMMUTABLE"),
            );
        } else if *foreign && candidate.read.capture.has_windows() {
            plan.notes.push(format!(
                "{place} calls `{schema}.{name}`: if its answer changes without a change of the \
                 row, only a reload finds out"
            ));
        }
    }
    if !candidate.read.capture.has_windows() {
        return;
    }
    if let Some(clock) = clock {
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
