//! What a target lacks for the tables that would be written, and for the state.

use super::missing_right;
use crate::connect::{CATALOG_PATH, PgStore, TextRow};
use crate::error;
use crate::sql::{quote_ident, quote_literal};
use crate::write::catalog::{schema_of, target_name};
use crate::write::status::RIGHTS_OF_CHANGES;
use std::collections::BTreeSet;
use syncset_connector::{Check, ErrorClass, Examination, Result, TargetTable};

/// Rights on a table that exists.
const TABLE_RIGHTS: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];

/// One row about the database and `_syncset`.
const STATE_SQL: &str = "SELECT has_database_privilege(current_database(), 'CREATE'),
    has_database_privilege(current_database(), 'TEMPORARY'),
    (SELECT p.reset_val FROM pg_settings p WHERE p.name = 'default_transaction_read_only'),
    n.oid IS NOT NULL, has_schema_privilege(n.oid, 'USAGE'), has_schema_privilege(n.oid, 'CREATE'),
    (SELECT count(*) FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind = 'r'),
    (SELECT bool_and(has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
       AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))
       FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind = 'r'),
    (SELECT bool_and(pg_has_role(c.relowner, 'USAGE')) FROM pg_class c
       WHERE c.relnamespace = n.oid AND c.relkind = 'r'),
    pg_has_role(current_user, 'pg_signal_backend', 'USAGE')
  FROM (SELECT) one LEFT JOIN pg_namespace n ON n.nspname = '_syncset'";

/// Examines what would be written.
pub(super) async fn examine(store: &PgStore, examination: &Examination) -> Result<Vec<Check>> {
    if store.facts().is_standby {
        return examine_database(store).await;
    }
    let (mut checks, may_create_schemas) = ask_database(store).await?;
    checks.extend(tables(store, examination, may_create_schemas).await?);
    Ok(checks)
}

/// Examines the database and its state, whatever tables are to be written.
pub(super) async fn examine_database(store: &PgStore) -> Result<Vec<Check>> {
    if store.facts().is_standby {
        let message = "the target is a standby, which nobody can write to";
        let check = Check::problem("standby", ErrorClass::Config, message);
        return Ok(vec![check.with_hint("connect to its primary")]);
    }
    Ok(ask_database(store).await?.0)
}

/// What is found, and whether schemas may be created.
async fn ask_database(store: &PgStore) -> Result<(Vec<Check>, bool)> {
    let sql = format!("{CATALOG_PATH}\n{STATE_SQL}");
    let rows = store.control().await?.rows(&sql).await?;
    let state = rows
        .first()
        .ok_or_else(|| error::unexpected("the server did not say what this user may do"))?;
    let mut checks = database(store, state)?;
    checks.push(state_schema(store, state)?);
    Ok((checks, state.is_true(0)))
}

fn database(store: &PgStore, row: &TextRow) -> Result<Vec<Check>> {
    let user = &store.facts().user;
    let (role, name) = (quote_ident(user), quote_ident(&store.facts().database));
    let mut checks = Vec::new();
    if row.required(2)? == "on" {
        let login = quote_ident(&store.facts().session_user);
        checks.push(missing_right(
            "read_only",
            format!("transactions of user `{user}` are read-only by default"),
            vec![format!(
                "ALTER ROLE {login} IN DATABASE {name} SET default_transaction_read_only = off;"
            )],
        ));
    }
    if !row.is_true(1) {
        checks.push(missing_right(
            "rights.temporary",
            format!("user `{user}` may not create temporary tables, which writing needs"),
            vec![format!("GRANT TEMPORARY ON DATABASE {name} TO {role};")],
        ));
    }
    // Somebody else made the state, so another user runs syncset too.
    if row.text(8) == Some("f") && !row.is_true(9) {
        checks.push(
            Check::warning(
                "rights.takeover",
                format!("user `{user}` cannot end a run of another user that hangs"),
            )
            .with_hint("let an administrator run this, or run all syncset processes as one user")
            .with_sql(format!("GRANT pg_signal_backend TO {role};")),
        );
    }
    Ok(checks)
}

fn state_schema(store: &PgStore, row: &TextRow) -> Result<Check> {
    let user = &store.facts().user;
    let role = quote_ident(user);
    let (may_create_schemas, exists) = (row.is_true(0), row.is_true(3));
    if !exists {
        return Ok(match may_create_schemas {
            true => Check::ok("state", "schema `_syncset` will be made by the first run"),
            false => missing_right(
                "state",
                format!("user `{user}` may not create schema `_syncset`, which keeps the progress"),
                vec![format!("CREATE SCHEMA _syncset AUTHORIZATION {role};")],
            ),
        });
    }
    let is_empty = row.parse::<u64>(6)? == 0;
    let mut grants = Vec::new();
    if !row.is_true(4) {
        grants.push(format!("GRANT USAGE ON SCHEMA _syncset TO {role};"));
    }
    if is_empty && !row.is_true(5) {
        grants.push(format!("GRANT CREATE ON SCHEMA _syncset TO {role};"));
    }
    if row.text(7) == Some("f") {
        grants.push(format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA _syncset TO {role};"
        ));
    }
    Ok(match grants.is_empty() {
        true => Check::ok("state", "schema `_syncset` can be used"),
        false => missing_right(
            "state",
            format!("user `{user}` may not use schema `_syncset`, which keeps the progress"),
            grants,
        ),
    })
}

async fn tables(
    store: &PgStore,
    examination: &Examination,
    may_create_schemas: bool,
) -> Result<Vec<Check>> {
    let writes = &examination.writes;
    if writes.is_empty() {
        return Ok(Vec::new());
    }
    let user = &store.facts().user;
    let role = quote_ident(user);
    let rows = ask(store, writes).await?;
    let (mut checks, mut schemas) = (Vec::new(), BTreeSet::new());
    let mut new = 0;
    for (table, row) in writes.iter().zip(&rows) {
        let schema = schema_of(&table.name);
        let quoted = quote_ident(schema);
        let (schema_exists, exists) = (row.is_true(1), row.is_true(4));
        new += u64::from(!exists);
        if !schema_exists {
            if !may_create_schemas && schemas.insert((schema, "missing")) {
                checks.push(missing_right(
                    "rights.schema",
                    format!("there is no schema `{schema}`, and user `{user}` may not create it"),
                    vec![format!("CREATE SCHEMA {quoted} AUTHORIZATION {role};")],
                ));
            }
            continue;
        }
        if !row.is_true(2) && schemas.insert((schema, "USAGE")) {
            checks.push(missing_right(
                "rights.schema",
                format!("user `{user}` may not use schema `{schema}`"),
                vec![format!("GRANT USAGE ON SCHEMA {quoted} TO {role};")],
            ));
        }
        if !exists && !row.is_true(3) && schemas.insert((schema, "CREATE")) {
            checks.push(missing_right(
                "rights.create",
                format!("user `{user}` may not create tables in schema `{schema}`"),
                vec![format!("GRANT CREATE ON SCHEMA {quoted} TO {role};")],
            ));
        }
        let is_appended = examination.appends.contains(&table.name);
        let lacks = |(index, right): (usize, &&'static str)| {
            let is_needed = !(is_appended && RIGHTS_OF_CHANGES.contains(right));
            (exists && is_needed && !row.is_true(5 + index)).then_some(*right)
        };
        let missing: Vec<_> = TABLE_RIGHTS.iter().enumerate().filter_map(lacks).collect();
        if !missing.is_empty() {
            let rights = missing.join(", ");
            checks.push(missing_right(
                "rights.tables",
                format!("user `{user}` may not {rights} on `{}`", table.name),
                vec![format!(
                    "GRANT {rights} ON {} TO {role};",
                    target_name(&table.name)
                )],
            ));
        }
    }
    if checks.is_empty() {
        let message = format!(
            "{} tables may be written, {new} of them are to be made",
            writes.len()
        );
        checks.push(Check::ok("rights", message));
    }
    Ok(checks)
}

async fn ask(store: &PgStore, writes: &[TargetTable]) -> Result<Vec<TextRow>> {
    let mut asked = Vec::with_capacity(writes.len());
    for (index, table) in writes.iter().enumerate() {
        let schema = quote_literal(schema_of(&table.name))?;
        asked.push(format!(
            "({index}, {schema}, {})",
            quote_literal(&table.name.name)?
        ));
    }
    let rights: Vec<_> = TABLE_RIGHTS
        .iter()
        .map(|right| format!("has_table_privilege(c.oid, '{right}')"))
        .collect();
    let sql = format!(
        "{CATALOG_PATH}
         SELECT v.i, n.oid IS NOT NULL, has_schema_privilege(n.oid, 'USAGE'),
           has_schema_privilege(n.oid, 'CREATE'), c.oid IS NOT NULL, {}
         FROM (VALUES {}) v(i, s, t) LEFT JOIN pg_namespace n ON n.nspname = v.s
           LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = v.t
         ORDER BY v.i",
        rights.join(", "),
        asked.join(", ")
    );
    store.control().await?.rows(&sql).await
}
