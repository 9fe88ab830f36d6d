//! What stands between a pipeline and a server, and the statement that mends it.
//!
//! Looks only; a few round trips, however many tables there are.

mod source;
mod target;

use crate::connect::MysqlStore;
use crate::error;
use std::time::{SystemTime, UNIX_EPOCH};
use syncset_connector::{Check, Diagnosis, Examination, Result, Role};

/// Clocks that differ by less are called equal.
const CLOCK_MS_MAX: i64 = 2_000;

/// Examines a server for what a pipeline would read or write.
pub(crate) async fn diagnose(store: &MysqlStore, examination: &Examination) -> Result<Diagnosis> {
    let clock_ahead_ms = clock_ahead_ms(store).await?;
    let facts = store.facts();
    let mut checks = vec![
        Check::ok(
            "server",
            format!(
                "{}, database `{}`, user `{}`",
                facts.product(),
                facts.database,
                facts.user
            ),
        ),
        link(store),
        clock(clock_ahead_ms),
    ];
    checks.extend(match store.options.role {
        Role::Source => source::examine(store, &examination.reads).await?,
        Role::Target => target::examine(store, examination).await?,
    });
    Ok(Diagnosis {
        checks,
        clock_ahead_ms: Some(clock_ahead_ms),
    })
}

async fn clock_ahead_ms(store: &MysqlStore) -> Result<i64> {
    let before = now_ms();
    let rows = store
        .control()
        .await?
        .rows("SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000 AS SIGNED)")
        .await?;
    let ours = before + (now_ms() - before) / 2;
    let row = rows
        .first()
        .ok_or_else(|| error::unexpected("the server did not say what time it is"))?;
    Ok(row.parse::<i64>(0)? - ours)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

fn link(store: &MysqlStore) -> Check {
    if store.facts().encrypted || store.config.socket.is_some() {
        let how = match store.facts().encrypted {
            true => "the link is encrypted",
            false => "the link is a socket of this machine",
        };
        return Check::ok("link", how);
    }
    let host = &store.config.host;
    let is_local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
    if is_local {
        return Check::ok(
            "link",
            "the link is not encrypted and does not leave the machine",
        );
    }
    Check::warning("link", format!("the link to `{host}` is not encrypted"))
        .with_hint("set `ssl_cert` and `ssl_key` at the server, and `sslmode: require` here")
}

fn clock(ahead_ms: i64) -> Check {
    if ahead_ms.abs() <= CLOCK_MS_MAX {
        return Check::ok("clock", "the clocks of both machines agree");
    }
    let (amount, word) = (
        ahead_ms.unsigned_abs() / 1_000,
        if ahead_ms > 0 { "ahead of" } else { "behind" },
    );
    Check::warning(
        "clock",
        format!("the server's clock is {amount} s {word} the one of this machine"),
    )
    .with_hint("let both machines set their clocks by NTP")
}
