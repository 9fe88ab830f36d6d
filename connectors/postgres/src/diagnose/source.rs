//! What a source lacks for the tables that would be read: rights, and a view of who writes.

use super::{listed, missing_right};
use crate::changes::{Activity, columns_named};
use crate::connect::{CATALOG_PATH, PgStore};
use crate::error;
use crate::sql::{qualified, quote_ident, quote_literal};
use crate::write::catalog::schema_of;
use arrow_schema::DataType;
use std::collections::BTreeSet;
use std::sync::Arc;
use syncset_connector::{Capture, Check, ErrorClass, Result, TableRead};

/// What the catalogue says about one table that would be read.
struct Rights {
    schema: bool,
    xmin: bool,
    hides_rows: bool,
}

/// Examines what would be read.
pub(super) async fn examine(store: &PgStore, reads: &[Arc<TableRead>]) -> Result<Vec<Check>> {
    let mut checks = rights(store, reads).await?;
    if store.facts().is_standby {
        checks.push(
            Check::warning(
                "standby",
                "the server is a standby: it shows what it has replayed so far",
            )
            .with_hint(
                "set `hot_standby_feedback = on` there, or raise `max_standby_streaming_delay`, \
                     if reads are cancelled",
            ),
        );
    }
    let activity = {
        let mut session = store.control().await?;
        Activity::observe(&mut session).await?
    };
    checks.extend(watching(store, reads, &activity));
    Ok(checks)
}

async fn rights(store: &PgStore, reads: &[Arc<TableRead>]) -> Result<Vec<Check>> {
    if reads.is_empty() {
        return Ok(Vec::new());
    }
    let user = &store.facts().user;
    let role = quote_ident(user);
    let all = ask(store, reads).await?;
    let (mut checks, mut schemas, mut columns) = (Vec::new(), BTreeSet::new(), 0);
    for (read, rights) in reads.iter().zip(&all) {
        let table = &read.description.name;
        let schema = schema_of(table);
        if !rights.schema && schemas.insert(schema) {
            checks.push(missing_right(
                "rights.schema",
                format!("user `{user}` may not use schema `{schema}`"),
                vec![format!(
                    "GRANT USAGE ON SCHEMA {} TO {role};",
                    quote_ident(schema)
                )],
            ));
        }
        let named = columns_named(read);
        columns += named.len();
        let is_hidden = |name: &&str| {
            let column = read.description.column(name);
            column.is_some_and(|column| !column.readable)
        };
        let hidden: Vec<&str> = named.into_iter().filter(is_hidden).collect();
        if !hidden.is_empty() {
            let quoted: Vec<_> = hidden.iter().map(|name| quote_ident(name)).collect();
            checks.push(missing_right(
                "rights.columns",
                format!("user `{user}` may not read {} of `{table}`", listed(hidden)),
                vec![format!(
                    "GRANT SELECT ({}) ON {} TO {role};",
                    quoted.join(", "),
                    qualified(table)
                )],
            ));
        }
        checks.extend(xmin(store, read, rights));
        if rights.hides_rows && !store.config.row_security {
            checks.push(
                missing_right(
                    "rights.rows",
                    format!("policies of row security hide rows of `{table}` from user `{user}`"),
                    vec![format!("ALTER ROLE {role} BYPASSRLS;")],
                )
                .with_hint(
                    "let an administrator run this, or set `row_security: on` for the connection \
                     to copy just what this user may see",
                ),
            );
        }
    }
    if checks.is_empty() {
        let message = format!("{columns} columns of {} tables may be read", reads.len());
        checks.push(Check::ok("rights", message));
    }
    Ok(checks)
}

/// `xmin` mode needs its column; a cursor without it reads a few rows twice.
fn xmin(store: &PgStore, read: &TableRead, rights: &Rights) -> Option<Check> {
    if rights.xmin || !read.capture.has_windows() {
        return None;
    }
    let user = &store.facts().user;
    let table = &read.description.name;
    let sql = format!(
        "GRANT SELECT (xmin, tableoid) ON {} TO {};",
        qualified(table),
        quote_ident(user)
    );
    let message = format!("user `{user}` may not read `xmin` and `tableoid` of `{table}`");
    if matches!(read.capture, Capture::Xmin) {
        return Some(missing_right("rights.xmin", message, vec![sql]));
    }
    let message = format!("{message}, so that each run reads some rows again");
    Some(
        Check::warning("rights.xmin", message)
            .with_hint("let an administrator run this")
            .with_sql(sql),
    )
}

async fn ask(store: &PgStore, reads: &[Arc<TableRead>]) -> Result<Vec<Rights>> {
    let mut asked = Vec::with_capacity(reads.len());
    for (index, read) in reads.iter().enumerate() {
        let table = &read.description.name;
        let schema = quote_literal(schema_of(table))?;
        asked.push(format!(
            "({index}, {schema}, {})",
            quote_literal(&table.name)?
        ));
    }
    let sql = format!(
        "{CATALOG_PATH}
         SELECT has_schema_privilege(n.oid, 'USAGE'),
           c.relkind NOT IN ('r', 'p') OR has_column_privilege(c.oid, 'xmin', 'SELECT')
             AND has_column_privilege(c.oid, 'tableoid', 'SELECT'),
           row_security_active(c.oid)
         FROM (VALUES {}) v(i, s, t) JOIN pg_namespace n ON n.nspname = v.s
           JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = v.t
         ORDER BY v.i",
        asked.join(", ")
    );
    let rows = store.control().await?.rows(&sql).await?;
    if rows.len() != reads.len() {
        return Err(error::unexpected(
            "a table is gone from the source since it was described",
        ));
    }
    let rights = rows.iter().map(|row| Rights {
        schema: row.is_true(0),
        xmin: row.is_true(1),
        hides_rows: row.is_true(2),
    });
    Ok(rights.collect())
}

/// Whether a window can be bounded, and who holds it back.
fn watching(store: &PgStore, reads: &[Arc<TableRead>], activity: &Activity) -> Vec<Check> {
    let mut checks = Vec::new();
    let has_windows = reads.iter().any(|read| read.capture.has_windows());
    // Cursors whose exactness hangs on seeing who writes.
    let watched = reads.iter().find(|read| is_watched(read));
    let user = &store.facts().user;
    if let Some(read) = watched {
        let table = &read.description.name;
        let grant = format!("GRANT pg_read_all_stats TO {};", quote_ident(user));
        let hint = "let an administrator run this, or set `overlap:` to more than the longest \
             transaction";
        match (&activity.hidden, store.facts().reads_all_stats) {
            (Some(name), _) => checks.push(
                missing_right(
                    "writers.hidden",
                    format!(
                        "`{table}` cannot be followed exactly: the transactions of {name} are \
                         hidden from user `{user}`"
                    ),
                    vec![grant],
                )
                .with_hint(hint),
            ),
            (None, false) => checks.push(
                Check::warning(
                    "writers.hidden",
                    format!(
                        "user `{user}` sees no transactions of other users: a run stops as soon \
                         as another user is connected, because `{table}` could not be followed exactly"
                    ),
                )
                .with_hint(hint)
                .with_sql(grant),
            ),
            (None, true) => checks.push(Check::ok("writers.hidden", "all transactions can be seen")),
        }
        if let Some(name) = &activity.untracked {
            checks.push(
                Check::problem(
                    "writers.untracked",
                    ErrorClass::Config,
                    format!(
                        "`{table}` cannot be followed exactly: {name} has `track_activities` off"
                    ),
                )
                .with_hint("switch it on at the server, or set `overlap:`")
                .with_sql("ALTER SYSTEM SET track_activities = on;")
                .with_sql("SELECT pg_reload_conf();"),
            );
        }
    }
    if !has_windows {
        return checks;
    }
    if let Err(error) = activity.check_first_load("any table") {
        let mut check = Check::problem("transactions.prepared", error.class, error.message);
        check.hint = error.hint;
        checks.push(check);
    }
    let held = [activity.bound_warning(), activity.snapshot_warning()];
    let is_quiet = held.iter().all(Option::is_none);
    for message in held.into_iter().flatten().collect::<BTreeSet<_>>() {
        checks.push(Check::warning("transactions.old", message).with_hint(
            "end the transaction; its session can be ended with pg_terminate_backend(pid)",
        ));
    }
    if is_quiet {
        checks.push(Check::ok(
            "transactions.old",
            "no old transaction holds a window back",
        ));
    }
    checks
}

/// Whether exactness hangs on seeing every transaction: a time cursor without an overlap.
fn is_watched(read: &TableRead) -> bool {
    let Capture::Cursor(cursor) = &read.capture else {
        return false;
    };
    let column = read.description.column(&cursor.column);
    let is_time = column.is_some_and(|column| {
        matches!(column.data_type, DataType::Timestamp(..) | DataType::Date32)
    });
    is_time && cursor.overlap.is_none()
}
