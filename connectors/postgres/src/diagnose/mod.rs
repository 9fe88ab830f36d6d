//! What stands between a pipeline and a PostgreSQL server, and the statement that mends it.
//!
//! Looks only; some round trips, however many tables there are.

mod server;
mod source;
mod target;

use crate::connect::PgStore;
use syncset_connector::{Check, CheckStatus, Diagnosis, ErrorClass, Examination, Result, Role};

/// Examines a server for what a pipeline would read or write.
pub(crate) async fn diagnose(store: &PgStore, examination: &Examination) -> Result<Diagnosis> {
    let (mut checks, clock_ahead_ms) = server::examine(store).await?;
    match store.options.role {
        Role::Source => checks.extend(source::examine(store, &examination.reads).await?),
        Role::Target => checks.extend(target::examine(store, examination).await?),
    }
    Ok(Diagnosis {
        checks,
        clock_ahead_ms: Some(clock_ahead_ms),
    })
}

/// Why the server could not be a target at all, whatever tables are to be written.
pub(crate) async fn obstacle_to_writing(store: &PgStore) -> Result<Option<String>> {
    let problem = |check: &Check| check.status == CheckStatus::Problem;
    let checks = target::examine_database(store).await?;
    Ok(checks.into_iter().find(problem).map(|check| check.message))
}

/// A right that is missing, with the statements that grant it.
fn missing_right(id: &str, message: String, sql: Vec<String>) -> Check {
    let mut check = Check::problem(id, ErrorClass::Privilege, message)
        .with_hint("let an administrator of the database run this");
    check.sql = sql;
    check
}

/// Names in backticks with commas between.
fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
