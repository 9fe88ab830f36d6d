//! Opening a snapshot: the bound, then the snapshot, then the tables are touched and described.
//!
//! The first touch of a table takes the lock that keeps it from being altered until the snapshot
//! ends; one that was altered between the snapshot and the touch says so.

use super::bound::Activity;
use super::position::Identity;
use super::shape::columns_named;
use super::transactions::Patience;
use crate::connect::{MysqlStore, Session};
use crate::describe::describe_columns_in;
use crate::error;
use crate::sql;
use std::time::Duration;
use syncset_connector::{
    ConnectorError, ErrorClass, Result, TableDescription, TableKind, TableName, TableRead,
};

/// A second of the catalogue, and what the clock of a file system may be behind.
const SECOND: Duration = Duration::from_millis(1_050);

/// What is known of the tables once the snapshot is open.
pub(crate) struct Opened {
    pub(crate) session: Session,
    pub(crate) tables: Vec<OpenedTable>,
    pub(crate) activity: Activity,
    /// How much it was tried to look at the server; `None` if nobody did.
    patience: Option<Patience>,
}

impl Opened {
    /// True if the look may be better at another try.
    pub(crate) fn may_look_again(&self) -> bool {
        self.activity.stale && self.patience == Some(Patience::Once)
    }

    /// Says who holds the bound of a time cursor, if it is old.
    pub(crate) fn bound_warning(&self) -> Option<String> {
        let is_final = !self.may_look_again() || !self.activity.prepared.is_empty();
        self.activity.bound_warning().filter(|_| is_final)
    }
}

/// One table under the lock of its snapshot.
pub(crate) struct OpenedTable {
    pub(crate) identity: Identity,
    /// The columns that are read, with their types.
    pub(crate) columns: Vec<(String, String)>,
}

/// Fixes the bound, if `patience` is given for it, then opens a snapshot, touches the tables and
/// verifies them.
///
/// # Errors
/// `SourceChanged` if a table is not the one that was described.
pub(crate) async fn open_verified(
    store: &MysqlStore,
    reads: &[&TableRead],
    patience: Option<Patience>,
) -> Result<Opened> {
    let activity = match patience {
        Some(patience) => Activity::observe(store, patience).await?,
        None => Activity::default(),
    };
    let mut session = store.session().await?;
    let outcome = begin(store, &mut session, reads).await;
    let tables = match outcome {
        Ok(tables) => tables,
        Err(error) => {
            if session.is_usable() && session.execute("ROLLBACK").await.is_ok() {
                store.give_back(session);
            }
            return Err(of_changed_table(error));
        }
    };
    Ok(Opened {
        session,
        tables,
        activity,
        patience,
    })
}

async fn begin(
    store: &MysqlStore,
    session: &mut Session,
    reads: &[&TableRead],
) -> Result<Vec<OpenedTable>> {
    let mut sql = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY".to_owned();
    for read in reads {
        // A row has to be read: only then the server notices that the table is younger than the
        // snapshot. A view is only opened, with the tables behind it.
        let limit = match read.description.kind {
            TableKind::Table | TableKind::Partitioned => 1,
            _ => 0,
        };
        let from = sql::table(&read.description.name);
        sql.push_str(&format!("; SELECT 1 FROM {from} LIMIT {limit}"));
    }
    session.result_sets(&sql).await?;
    let names: Vec<TableName> = reads
        .iter()
        .map(|read| read.description.name.clone())
        .collect();
    let how = (store.facts(), store.config.rules);
    let described = describe_columns_in(session, how, &names).await?;
    if described.len() != reads.len() {
        return Err(error::unexpected("the server described other tables"));
    }
    let tables: Vec<OpenedTable> = reads
        .iter()
        .zip(described)
        .map(|(read, found)| verify(read, found))
        .collect::<Result<_>>()?;
    let flavour = store.facts().flavour;
    let identities = tables.iter().map(|table| &table.identity);
    let told_by_time = identities.filter(|identity| identity.is_told_by_time(flavour));
    outlast(session, told_by_time.filter_map(|it| it.created.as_deref())).await?;
    Ok(tables)
}

/// Waits until the seconds in which tables were altered are over, while the snapshot's lock keeps
/// them from being altered again: another ALTER of that second would leave no trace.
async fn outlast(session: &mut Session, altered: impl Iterator<Item = &str>) -> Result<()> {
    let ages: Vec<_> = altered
        .map(|time| {
            format!(
                "TIMESTAMPDIFF(MICROSECOND, {}, SYSDATE(6))",
                sql::text(time)
            )
        })
        .collect();
    if ages.is_empty() {
        return Ok(());
    }
    let rows = session.rows(&format!("SELECT {}", ages.join(", "))).await?;
    let mut rest = Duration::ZERO;
    for (row, index) in rows
        .iter()
        .flat_map(|row| (0..ages.len()).map(move |at| (row, at)))
    {
        // A table of the future was made before the clock was set back: its second is not near.
        let age: Option<i64> = row.parse_some(index)?;
        let age = age.and_then(|micros| u64::try_from(micros).ok());
        let left = age.and_then(|micros| SECOND.checked_sub(Duration::from_micros(micros)));
        rest = rest.max(left.unwrap_or_default());
    }
    tokio::time::sleep(rest).await;
    Ok(())
}

fn verify(read: &TableRead, found: Option<TableDescription>) -> Result<OpenedTable> {
    let found = found.ok_or_else(|| changed(read, "is gone"))?;
    let mut columns = Vec::new();
    for name in columns_named(read) {
        let native = |table: &TableDescription| {
            let column = table.column(name)?;
            Some((column.native.clone(), column.nullable))
        };
        let now = native(&found);
        match (&now, native(&read.description)) {
            (Some((now, now_nullable)), Some((then, nullable)))
                if *now == then && (nullable || !now_nullable) =>
            {
                columns.push((name.to_owned(), now.name.clone()));
            }
            _ => return Err(changed(read, &format!("has another column `{name}`"))),
        }
    }
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let (source, storage) = (&found.source_identity, &found.storage_identity);
    Ok(OpenedTable {
        identity: Identity {
            server: text(&source["server"]),
            database: text(&source["database"]).unwrap_or_default(),
            created: text(&storage["created"]),
            storage: Some(storage["innodb"].clone()).filter(|value| !value.is_null()),
        },
        columns,
    })
}

/// A table that is not the one the plan was made for.
fn changed(read: &TableRead, what: &str) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::SourceChanged,
        format!("`{}` {what}", read.description.name),
    )
    .with_hint("run again when the table's owner is done with it")
}

fn of_changed_table(mut error: ConnectorError) -> ConnectorError {
    // No such table or column: they were there when the table was described.
    if matches!(error::number(&error), Some(1146 | 1054 | 1356)) {
        error.class = ErrorClass::SourceChanged;
    }
    error
}
