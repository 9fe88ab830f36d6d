//! What a source lacks for the tables that would be read: rights, and a view of who writes.

use crate::changes::{Activity, Patience, grant, hidden_columns};
use crate::connect::MysqlStore;
use std::sync::Arc;
use syncset_connector::{Check, ErrorClass, Result, TableRead};

/// Examines what would be read.
pub(super) async fn examine(store: &MysqlStore, reads: &[Arc<TableRead>]) -> Result<Vec<Check>> {
    let mut checks = rights(store, reads);
    let windowed = reads.iter().find(|read| read.capture.has_windows());
    if let Some(read) = windowed {
        let activity = Activity::observe(store, Patience::UntilFresh).await?;
        checks.extend(watching(store, read, &activity));
    }
    Ok(checks)
}

fn rights(store: &MysqlStore, reads: &[Arc<TableRead>]) -> Vec<Check> {
    let user = &store.facts().user;
    let mut checks = Vec::new();
    for read in reads {
        let hidden = hidden_columns(read);
        if hidden.is_empty() {
            continue;
        }
        let names: Vec<_> = hidden.iter().map(|name| format!("`{name}`")).collect();
        let message = format!(
            "user `{user}` may not read {} of `{}`",
            names.join(", "),
            read.description.name
        );
        checks.push(
            Check::problem("rights.columns", ErrorClass::Privilege, message)
                .with_hint("let an administrator of the database run this")
                .with_sql(format!("{};", grant(store, read, &hidden))),
        );
    }
    if checks.is_empty() && !reads.is_empty() {
        checks.push(Check::ok(
            "rights",
            format!("{} tables may be read", reads.len()),
        ));
    }
    checks
}

/// Whether a window can be bounded, and who holds it back.
fn watching(store: &MysqlStore, read: &TableRead, activity: &Activity) -> Vec<Check> {
    let user = &store.facts().user;
    let account = crate::changes::account(user);
    let mut checks = Vec::new();
    let mut hidden = |id: &str, right: &str, what: &str| {
        checks.push(
            Check::warning(
                id,
                format!(
                    "{what} are hidden from user `{user}`: `{}` cannot be followed without an \
                     `overlap:` of your own",
                    read.description.name
                ),
            )
            .with_hint("let an administrator run this, or set `overlap:` to more than the longest transaction")
            .with_sql(format!("GRANT {right} ON *.* TO {account};")),
        );
    };
    if activity.hidden {
        hidden(
            "writers.hidden",
            "PROCESS",
            "the transactions of other users",
        );
    }
    if activity.prepared_hidden {
        hidden(
            "writers.prepared",
            "XA_RECOVER_ADMIN",
            "prepared transactions",
        );
    }
    if checks.is_empty() && !activity.stale {
        checks.push(Check::ok("writers", "all transactions can be seen"));
    }
    if activity.replica {
        checks.push(
            Check::warning(
                "replica",
                "the server is a replica: cursors have to be `written_by: application`",
            )
            .with_hint(
                "read from the primary, or set an `overlap:` of more than the replica's delay",
            ),
        );
    }
    if let Err(error) = activity.check_first_load("any table") {
        let mut check = Check::problem("transactions.prepared", error.class, error.message);
        check.hint = error.hint;
        checks.push(check);
    }
    if let Err(error) = activity.check_fresh("any table") {
        let mut check = Check::problem("transactions.stale", error.class, error.message);
        check.hint = error.hint;
        checks.push(check);
        return checks;
    }
    match activity.bound_warning() {
        Some(message) => checks.push(
            Check::warning("transactions.old", message)
                .with_hint("end the transaction; KILL with the number of its session ends it"),
        ),
        None => checks.push(Check::ok(
            "transactions.old",
            "no old transaction holds a window back",
        )),
    }
    checks
}
