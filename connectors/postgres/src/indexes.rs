//! Further keys and indexes of target tables that we created.
//!
//! An index is built while others read; a unique key is made of its index in the same transaction,
//! which keeps them out for a moment only. What is made is stored with it, so a crash leaves either
//! nothing or all of it.

pub(crate) mod foreign_key;

use crate::connect::Session;
use crate::sql::{quote_ident, quote_idents, quote_literal};
use crate::state;
use crate::write::catalog::{schema_of, target_name};
use std::time::Duration;
use syncset_connector::{
    ConnectorError, ErrorClass, IndexKind, Lease, MadeIndex, MadeTable, Result, TableName,
    TargetIndex,
};

/// Tries to get a lock.
const TRIES_MAX: u32 = 10;

/// Longest wait in one try for the lock that keeps others from writing. Readers never wait behind
/// it, and the server's own housekeeping gives way within this time.
const WRITE_LOCK_TIMEOUT: &str = "3s";

/// Longest wait in one try for the lock that keeps readers out too: they wait behind it.
const LOCK_TIMEOUT: &str = "1s";

/// Pause between two tries, in which those who waited behind the lock get their turn.
const PAUSE: Duration = Duration::from_millis(500);

/// Since this version a unique index may refuse a second NULL.
const NULLS_VERSION_NUM: u32 = 150_000;

/// The statements that make an index of this name.
pub(crate) fn statements(
    table: &TableName,
    index: &TargetIndex,
    name: &str,
    version_num: u32,
) -> Vec<String> {
    let (target, quoted) = (target_name(table), quote_ident(name));
    let columns = quote_idents(index.columns.iter().map(String::as_str));
    match &index.kind {
        IndexKind::Plain => vec![format!("CREATE INDEX {quoted} ON {target} ({columns})")],
        IndexKind::Spelled { sql } => vec![format!("CREATE INDEX {quoted} ON {target} {sql}")],
        IndexKind::ForeignKey {
            parent,
            parent_columns,
        } => foreign_key::statements(
            (table, columns.as_str()),
            (parent, parent_columns.as_slice()),
            name,
        ),
        IndexKind::Deferred { nulls_distinct } => {
            // An older server lets several NULLs in, so it refuses none of the source's rows.
            let refuses_nulls = !nulls_distinct && version_num >= NULLS_VERSION_NUM;
            let nulls = if refuses_nulls {
                " NULLS NOT DISTINCT"
            } else {
                ""
            };
            vec![
                format!("CREATE UNIQUE INDEX {quoted} ON {target} ({columns}){nulls}"),
                format!(
                    "ALTER TABLE {target} ADD CONSTRAINT {quoted} UNIQUE USING INDEX {quoted} \
                     DEFERRABLE INITIALLY DEFERRED"
                ),
            ]
        }
    }
}

/// Builds an index and stores it as made.
pub(crate) async fn build(
    session: &mut Session,
    lease: &Lease,
    (table, index): (&TableName, &TargetIndex),
    made: &MadeTable,
    version_num: u32,
) -> Result<MadeTable> {
    let mut tries = 0;
    loop {
        let built = match &index.kind {
            IndexKind::ForeignKey { parent, .. } => {
                foreign_key::step(session, lease, (table, index, parent), made).await
            }
            _ => attempt(session, lease, (table, index), made, version_num).await,
        };
        let error = match built {
            Ok(made) => return Ok(made),
            Err(error) => error,
        };
        // The first error is the one to report; a broken session rolls back by itself.
        let _ = session.execute("ROLLBACK").await;
        tries += 1;
        if !is_lock_timeout(&error) {
            return Err(error);
        }
        if tries == TRIES_MAX {
            return Err(kept_locked(table, error));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn attempt(
    session: &mut Session,
    lease: &Lease,
    (table, index): (&TableName, &TargetIndex),
    made: &MadeTable,
    version_num: u32,
) -> Result<MadeTable> {
    let sets = session
        .result_sets(&format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED;\nSET LOCAL search_path = pg_catalog;\n\
             SET LOCAL lock_timeout = '{WRITE_LOCK_TIMEOUT}';\n{};\n\
             LOCK TABLE {} IN SHARE MODE;\n{}",
            state::lock_fence(lease),
            target_name(table),
            names_taken(table, index)?
        ))
        .await?;
    if sets.get(3).is_none_or(Vec::is_empty) {
        return Err(state::fenced(lease));
    }
    let taken: Vec<&str> = sets
        .get(5)
        .into_iter()
        .flatten()
        .filter_map(|row| row.text(0))
        .collect();
    let name = free_name(table, index, &taken)?;
    let statements = statements(table, index, name, version_num);
    let mut statements = statements.iter();
    if let Some(create) = statements.next() {
        session.execute(create).await?;
    }
    for statement in statements {
        exclusively(session, statement).await?;
    }
    let made = with(made, index, name, true);
    session
        .execute(&format!(
            "{};\nCOMMIT",
            state::made_statement(&lease.key, &made)
        ))
        .await?;
    Ok(made)
}

/// What is made of the table with this index of ours, in the place of one that was begun.
fn with(made: &MadeTable, index: &TargetIndex, name: &str, built: bool) -> MadeTable {
    let mut made = made.clone();
    let indexes = made.indexes.get_or_insert_default();
    indexes.retain(|it| !it.is_for(index));
    indexes.push(MadeIndex {
        name: name.to_owned(),
        columns: index.columns.clone(),
        is: index.kind.clone(),
        built,
    });
    made
}

/// Runs a statement that keeps readers out, as soon as none reads. The index that is built already
/// is kept meanwhile.
async fn exclusively(session: &mut Session, statement: &str) -> Result<()> {
    let sql = format!(
        "SAVEPOINT syncset_index;\nSET LOCAL lock_timeout = '{LOCK_TIMEOUT}';\n{statement};\n\
         RELEASE SAVEPOINT syncset_index"
    );
    let mut tries = 0;
    loop {
        let Err(error) = session.execute(&sql).await else {
            return Ok(());
        };
        tries += 1;
        if !is_lock_timeout(&error) || tries == TRIES_MAX {
            return Err(error);
        }
        session
            .execute("ROLLBACK TO SAVEPOINT syncset_index")
            .await?;
        tokio::time::sleep(PAUSE).await;
    }
}

fn is_lock_timeout(error: &ConnectorError) -> bool {
    error.code.as_deref() == Some("55P03")
}

/// The first name that is free.
fn free_name<'a>(table: &TableName, index: &'a TargetIndex, taken: &[&str]) -> Result<&'a String> {
    let mut names = index.names.iter();
    names
        .find(|name| !taken.contains(&name.as_str()))
        .ok_or_else(|| no_name(table, index))
}

/// Which of the names something of the table's schema has already, or a constraint of the table.
fn names_taken(table: &TableName, index: &TargetIndex) -> Result<String> {
    let names: Result<Vec<_>> = index.names.iter().map(|it| quote_literal(it)).collect();
    let names = names?.join(", ");
    Ok(format!(
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = {} AND c.relname = ANY (ARRAY[{names}]::name[]) \
         UNION SELECT k.conname::text FROM pg_constraint k \
         WHERE k.conrelid = to_regclass({}) AND k.conname = ANY (ARRAY[{names}]::name[])",
        quote_literal(schema_of(table))?,
        quote_literal(&target_name(table))?
    ))
}

fn no_name(table: &TableName, index: &TargetIndex) -> ConnectorError {
    let names = index.names.join("`, `");
    ConnectorError::new(
        ErrorClass::TargetDiffers,
        format!("`{names}` are names of something else in the schema of `{table}`"),
    )
    .with_hint("rename what has one of them at the target, then run again")
}

fn kept_locked(table: &TableName, cause: ConnectorError) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Transient,
        format!("`{table}` was locked by other sessions in all of {TRIES_MAX} tries"),
    )
    .with_hint("the next run tries again; look for them in `pg_locks`")
    .with_code("55P03")
    .caused_by(cause)
}

/// What drops an index of ours, if the table still has it; `is_key`: it is a constraint, or belongs to
/// one.
pub(crate) fn drop_statement(table: &TableName, name: &str, is_key: bool) -> String {
    let name = quote_ident(name);
    if is_key {
        return format!("ALTER TABLE {} DROP CONSTRAINT {name}", target_name(table));
    }
    format!("DROP INDEX {}.{name}", quote_ident(schema_of(table)))
}

/// The question which indexes and foreign keys a table has: name, and whether it is a constraint or
/// belongs to one.
pub(crate) fn indexes_sql(relation: &str) -> String {
    format!(
        "SELECT c.relname, EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid \
         AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')) \
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = {relation} \
         UNION ALL SELECT f.conname, true FROM pg_constraint f \
         WHERE f.conrelid = {relation} AND f.contype = 'f'"
    )
}

/// The question which foreign keys of other tables point to a table: schema, table and name.
pub(crate) fn pointing_sql(relation: &str) -> String {
    format!(
        "SELECT n.nspname, c.relname, f.conname FROM pg_constraint f \
         JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE f.contype = 'f' AND f.confrelid = {relation} AND f.conrelid <> f.confrelid"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(kind: IndexKind) -> TargetIndex {
        TargetIndex {
            names: vec!["people_email_key".into()],
            columns: vec!["email".into(), "Tenant".into()],
            kind,
        }
    }

    #[test]
    fn second_nulls_are_refused_only_by_servers_that_can() {
        let table = TableName::in_schema("crm", "people");
        let strict = index(IndexKind::Deferred {
            nulls_distinct: false,
        });

        let old = statements(&table, &strict, "k", 140_000);
        let new = statements(&table, &strict, "k", 150_000);

        assert_eq!(
            old[0],
            r#"CREATE UNIQUE INDEX "k" ON "crm"."people" ("email", "Tenant")"#
        );
        assert!(new[0].ends_with(" NULLS NOT DISTINCT"), "{}", new[0]);
        assert_eq!(old[1], new[1]);
    }
}
