//! What a target lacks, apart from what the plan says of its tables.

use crate::connect::MysqlStore;
use crate::target::lacking_rights;
use crate::write::rights::{grant, grant_all};
use syncset_connector::{Check, ErrorClass, Examination, Result};

/// Made and dropped by one session, seen by no other.
const PROBE: &str = "CREATE TEMPORARY TABLE _syncset_probe (a int PRIMARY KEY) ENGINE=InnoDB;\n\
     DROP TEMPORARY TABLE _syncset_probe";

/// The smaller default of the two servers, that of MariaDB.
const PACKET_BYTES_COMMON: u64 = 16 << 20;

/// Examines a server that would be written.
pub(super) async fn examine(store: &MysqlStore, examination: &Examination) -> Result<Vec<Check>> {
    let facts = store.facts();
    let mut checks = Vec::new();
    if facts.super_read_only {
        let message = "the server is read-only for everybody (`super_read_only`)";
        checks.push(
            Check::problem("read_only", ErrorClass::Config, message)
                .with_hint("connect to its primary"),
        );
    } else if facts.read_only {
        let message = "the server is read-only, as replicas are: only administrators write";
        checks.push(Check::warning("read_only", message).with_hint("connect to its primary"));
    }
    if facts.refused_log().is_some() {
        let message = "the server logs statements, not rows, and refuses what a run writes";
        checks.push(
            Check::problem("binlog", ErrorClass::Config, message)
                .with_sql("SET GLOBAL binlog_format = 'ROW';"),
        );
    }
    if facts.is_cluster {
        let message = "in a cluster a lease whose holder was connected to another member is \
                       waited for and never taken over";
        checks.push(
            Check::warning("cluster", message)
                .with_hint("let all runs connect to one member, or free it: `pipeline unlock`"),
        );
    }
    if facts.max_allowed_packet < PACKET_BYTES_COMMON {
        let message = format!(
            "`max_allowed_packet` of the server is {} bytes: a longer row cannot be written",
            facts.max_allowed_packet
        );
        checks.push(
            Check::warning("packet", message)
                .with_hint("raise it where texts or bytes may be that long")
                .with_sql("SET GLOBAL max_allowed_packet = 67108864;"),
        );
    }
    checks.push(temporary(store).await?);
    checks.extend(tables(store, examination).await?);
    checks.push(if facts.local_infile {
        Check::ok("local_infile", "rows are sent by LOAD DATA LOCAL")
    } else {
        Check::ok(
            "local_infile",
            "rows are sent by INSERTs; `SET GLOBAL local_infile = ON` makes first loads faster",
        )
    });
    Ok(checks)
}

/// Rights to the tables that are there.
async fn tables(store: &MysqlStore, examination: &Examination) -> Result<Vec<Check>> {
    let (writes, user) = (&examination.writes, &store.facts().user);
    if writes.is_empty() {
        return Ok(Vec::new());
    }
    let mut checks = Vec::new();
    for (table, lacking) in writes.iter().zip(lacking_rights(store, writes).await?) {
        let mut rights = lacking.others;
        if !examination.appends.contains(&table.name) {
            rights.extend(lacking.changes);
        }
        if rights.is_empty() {
            continue;
        }
        let message = format!(
            "user `{user}` may not {} on `{}`",
            rights.join(", "),
            table.name
        );
        checks.push(
            Check::problem("rights.tables", ErrorClass::Privilege, message)
                .with_hint("let an administrator run this")
                .with_sql(format!("{};", grant(&rights, table, store.facts()))),
        );
    }
    Ok(checks)
}

async fn temporary(store: &MysqlStore) -> Result<Check> {
    let user = &store.facts().user;
    let tried = store.control().await?.execute_each(PROBE).await;
    match tried {
        Ok(_) => Ok(Check::ok(
            "rights.temporary",
            format!("user `{user}` may create temporary tables"),
        )),
        Err(error) if error.class == ErrorClass::Privilege => Ok(Check::problem(
            "rights.temporary",
            ErrorClass::Privilege,
            format!("user `{user}` may not create temporary tables, which writing needs"),
        )
        .with_hint("let an administrator run this")
        .with_sql(format!("{};", grant_all(store.facts())))),
        Err(error) => Err(error),
    }
}
