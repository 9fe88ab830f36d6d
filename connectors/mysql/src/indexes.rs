//! Further indexes of target tables that we created. Keys that can be deferred do not exist here, so
//! none of them refuses a row.
//!
//! DDL commits by itself, so an index is recorded as begun before it is built and as built
//! afterwards: a run that finds one that was begun looks whether it is there.

use crate::connect::{MysqlStore, Session};
use crate::ddl;
use crate::error;
use crate::sql::{identifier, identifiers, table as table_name, text};
use crate::state;
use crate::types::Flavour;
use crate::write::catalog;
use std::time::Duration;
use syncset_connector::{
    ConnectorError, ErrorClass, IndexKind, Lease, MadeIndex, MadeTable, ReleasedKeys, Result,
    TableName, TargetIndex, TargetTable,
};

/// Tries to lock the table. Each waits [`LOCK_TIMEOUT_S`] at most: whoever comes after a waiting
/// ALTER TABLE waits behind it, readers included.
const TRIES_MAX: u32 = 10;

/// Longest wait in seconds for the table's lock in one try.
const LOCK_TIMEOUT_S: u64 = 1;

/// Pause between two tries, in which those who waited behind the lock get their turn.
const PAUSE: Duration = Duration::from_millis(500);

/// The statement that makes an index of this name.
pub(crate) fn statement(table: &TableName, index: &TargetIndex, name: &str) -> String {
    let (table, name) = (table_name(table), identifier(name));
    let columns = identifiers(&index.columns);
    match &index.kind {
        IndexKind::ForeignKey {
            parent,
            parent_columns,
        } => format!(
            "ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({columns}) \
             REFERENCES {} ({})",
            table_name(parent),
            identifiers(parent_columns)
        ),
        IndexKind::Deferred { .. } | IndexKind::Plain | IndexKind::Spelled { .. } => {
            format!("ALTER TABLE {table} ADD INDEX {name} ({columns})")
        }
    }
}

/// How an index is made while others read. Rows are checked for a foreign key only in a copy of the
/// table, which keeps others from writing.
fn way(kind: &IndexKind) -> &'static str {
    match kind.is_foreign_key() {
        true => ", LOCK=SHARED",
        false => ", ALGORITHM=INPLACE, LOCK=NONE",
    }
}

/// Why no foreign key can be had between these columns: both have to be of one type, and an index
/// has to hold them.
pub(crate) fn foreign_key_refusal(
    (child, columns): (&TargetTable, &[String]),
    (parent, parent_columns): (&TargetTable, &[String]),
    flavour: Flavour,
) -> Option<String> {
    if let Some(reason) = refusal(child, columns, flavour) {
        return Some(reason);
    }
    let own = ddl::column_types(child, flavour).ok()?;
    let of_parent = ddl::column_types(parent, flavour).ok()?;
    let mut pairs = columns.iter().zip(parent_columns);
    pairs.find_map(|(column, parent_column)| {
        let place = |table: &TargetTable, name: &String| {
            table.columns.iter().position(|it| it.name == *name)
        };
        let own = &own[place(child, column)?];
        let of_parent = &of_parent[place(parent, parent_column)?];
        (!ddl::can_refer(own, of_parent, flavour))
            .then(|| format!("`{column}` is {own} here, and what it points to is {of_parent}"))
    })
}

/// Why no index can hold these columns; `None` if one can. Nothing is ever cut, so that is decided by
/// the lengths that they may have.
pub(crate) fn refusal(table: &TargetTable, columns: &[String], flavour: Flavour) -> Option<String> {
    let types = ddl::column_types(table, flavour).ok()?;
    let mut bytes = 0;
    for name in columns {
        let place = table.columns.iter().position(|it| it.name == *name)?;
        let native = &types[place];
        let Some(length) = ddl::index_bytes(native) else {
            return Some(format!(
                "`{name}` is {native} here, which no index holds whole"
            ));
        };
        bytes += length;
    }
    (bytes > ddl::KEY_BYTES_MAX).then(|| {
        format!(
            "it could take {bytes} bytes, and an index holds {}",
            ddl::KEY_BYTES_MAX
        )
    })
}

/// Takes the next step towards an index; see the contract.
pub(crate) async fn step(
    store: &MysqlStore,
    session: &mut Session,
    lease: &Lease,
    (table, index): (&TableName, &TargetIndex),
    made: &MadeTable,
) -> Result<MadeTable> {
    let mut made = MadeTable {
        target: table.clone(),
        ..made.clone()
    };
    let shape = catalog::shape(store, table)
        .await?
        .ok_or_else(|| gone(table))?;
    let is_there = |name: &str| match index.kind.is_foreign_key() {
        true => shape.has_foreign_key(name),
        false => shape.has_index(name),
    };
    let taken = match index.kind.is_foreign_key() {
        true => foreign_keys_named(session, &index.names).await?,
        false => Vec::new(),
    };
    let is_taken = |name: &String| {
        let mut taken = taken.iter();
        // Without an index of its own a foreign key gets one of its name.
        shape.has_index(name) || taken.any(|it| it.eq_ignore_ascii_case(name))
    };
    let indexes = made.indexes.get_or_insert_default();
    match indexes.iter_mut().find(|it| it.is_for(index)) {
        None => {
            let mut names = index.names.iter();
            let name = names.find(|name| !is_taken(name));
            indexes.push(MadeIndex {
                name: name.ok_or_else(|| no_name(table, index))?.clone(),
                columns: index.columns.clone(),
                is: index.kind.clone(),
                built: false,
            });
        }
        Some(begun) if is_there(&begun.name) => begun.built = true,
        Some(begun) => {
            let statement = statement(table, index, &begun.name);
            let sql = format!("{statement}{}", way(&index.kind));
            run(session, table, &sql).await?;
            return Ok(made);
        }
    }
    store_made(session, lease, &made).await?;
    Ok(made)
}

/// Takes foreign keys away that point to a table which is about to be altered. They are stored as
/// begun first, so a run that is killed before they are gone does no harm.
pub(crate) async fn release(
    store: &MysqlStore,
    session: &mut Session,
    lease: &Lease,
    released: &ReleasedKeys,
) -> Result<()> {
    let table = &released.made.target;
    store_made(session, lease, &released.made).await?;
    let shape = catalog::shape(store, table).await?.unwrap_or_default();
    let there = released.names.iter();
    for name in there.filter(|name| shape.has_foreign_key(name)) {
        run(session, table, &release_statement(table, name)).await?;
    }
    Ok(())
}

/// The statement that takes a foreign key away.
pub(crate) fn release_statement(table: &TableName, name: &str) -> String {
    let (table, name) = (table_name(table), identifier(name));
    format!("ALTER TABLE {table} DROP FOREIGN KEY {name}")
}

pub(crate) async fn store_made(
    session: &mut Session,
    lease: &Lease,
    made: &MadeTable,
) -> Result<()> {
    let mark = uuid::Uuid::new_v4().simple().to_string();
    // No DDL bears this mark: what is planned holds at once.
    let stored = format!(
        "{}{}",
        state::plan_statement(&lease.key, made, &mark),
        state::done_statement(made, &mark)
    );
    state::under_fences(session, &[lease], &stored)
        .await
        .map(drop)
}

/// Which of these names a foreign key of any table of the database has.
async fn foreign_keys_named(session: &mut Session, names: &[String]) -> Result<Vec<String>> {
    let names: Vec<_> = names.iter().map(|name| text(name)).collect();
    let sql = format!(
        "SELECT CONSTRAINT_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS \
         WHERE CONSTRAINT_SCHEMA = DATABASE() AND CONSTRAINT_NAME IN ({})",
        names.join(", ")
    );
    let rows = session.rows(&sql).await?;
    Ok(rows
        .iter()
        .filter_map(|row| row.text(0).map(str::to_owned))
        .collect())
}

/// Runs a statement as soon as it gets the table's lock.
pub(crate) async fn run(session: &mut Session, table: &TableName, sql: &str) -> Result<()> {
    session
        .execute_each(&format!(
            "SET @syncset_wait = @@lock_wait_timeout;\n\
             SET SESSION lock_wait_timeout = {LOCK_TIMEOUT_S}"
        ))
        .await?;
    let created = locked(session, table, sql).await;
    let reset = session
        .execute("SET SESSION lock_wait_timeout = @syncset_wait")
        .await;
    created?;
    reset.map(drop)
}

async fn locked(session: &mut Session, table: &TableName, sql: &str) -> Result<()> {
    let mut tries = 0;
    loop {
        let Err(failure) = session.execute(sql).await else {
            return Ok(());
        };
        // The first error is the one to report; a broken session rolls back by itself.
        let _ = session.execute("ROLLBACK").await;
        tries += 1;
        match error::number(&failure) {
            Some(1205) if tries < TRIES_MAX => tokio::time::sleep(PAUSE).await,
            Some(1205) => return Err(kept_locked(table, failure)),
            _ => return Err(failure),
        }
    }
}

fn gone(table: &TableName) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Transient,
        format!("the target has no table `{table}` any more"),
    )
    .with_hint("run again: the table is created when it is missing")
}

fn no_name(table: &TableName, index: &TargetIndex) -> ConnectorError {
    let names = index.names.join("`, `");
    ConnectorError::new(
        ErrorClass::TargetDiffers,
        format!("`{names}` are names of other indexes of `{table}`"),
    )
    .with_hint("rename one of them at the target, then run again")
}

fn kept_locked(table: &TableName, cause: ConnectorError) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Transient,
        format!("other sessions kept `{table}` locked in all of {TRIES_MAX} tries"),
    )
    .with_hint("the next run tries again")
    .caused_by(cause)
}
