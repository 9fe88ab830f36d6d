//! What a target lacks, apart from what the plan says of its tables.

use crate::connect::MysqlStore;
use crate::sql::identifier;
use syncset_connector::{Check, ErrorClass, Result};

/// Made and dropped by one session, seen by no other.
const PROBE: &str = "CREATE TEMPORARY TABLE _syncset_probe (a int) ENGINE=InnoDB;\n\
     DROP TEMPORARY TABLE _syncset_probe";

/// Examines a server that would be written.
pub(super) async fn examine(store: &MysqlStore) -> Result<Vec<Check>> {
    let facts = store.facts();
    let mut checks = Vec::new();
    if facts.read_only {
        let message = "the server is read-only, as replicas are: only administrators write";
        checks.push(Check::warning("read_only", message).with_hint("connect to its primary"));
    }
    if facts.binlog_format.as_deref() == Some("STATEMENT") {
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
    checks.push(temporary(store).await?);
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

async fn temporary(store: &MysqlStore) -> Result<Check> {
    let (user, database) = (&store.facts().user, identifier(&store.config.database));
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
        .with_sql(format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, CREATE TEMPORARY TABLES ON \
             {database}.* TO {};",
            account(user)
        ))),
        Err(error) => Err(error),
    }
}

/// A user as GRANT names one.
fn account(user: &str) -> String {
    let (name, host) = user.rsplit_once('@').unwrap_or((user, "%"));
    let quoted = |part: &str| format!("'{}'", part.replace('\'', "''"));
    format!("{}@{}", quoted(name), quoted(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_named_as_a_grant_needs_them() {
        assert_eq!(account("sync@%"), "'sync'@'%'");
        assert_eq!(account("o'k@mail@10.0.0.%"), "'o''k@mail'@'10.0.0.%'");
    }
}
