//! The server itself: link, clock, sessions, time-outs, encoding.

use crate::connect::{CATALOG_PATH, PgStore, TextRow};
use crate::connector::POOLER_NOTE;
use crate::error;
use crate::sql::quote_ident;
use std::time::{SystemTime, UNIX_EPOCH};
use syncset_connector::{Check, ErrorClass, Result, Role};

/// Clocks that differ by less are called equal.
const CLOCK_MS_MAX: i64 = 2_000;

/// Time-outs of the server that we do not set ourselves and that end work in its middle.
const TIMEOUTS: [&str; 2] = ["transaction_timeout", "idle_session_timeout"];

/// One row. A limit of -1 is none.
const SQL: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8,
    current_setting('max_connections')::int8
      - current_setting('superuser_reserved_connections')::int8
      - coalesce(current_setting('reserved_connections', true), '0')::int8
      - (SELECT sum(s.numbackends) FROM pg_stat_database s),
    CASE WHEN r.rolconnlimit < 0 OR r.rolsuper THEN -1 ELSE r.rolconnlimit END,
    (SELECT count(*) FROM pg_stat_activity a WHERE a.usename = session_user),
    CASE WHEN r.rolsuper THEN -1 ELSE d.datconnlimit END,
    (SELECT s.numbackends FROM pg_stat_database s WHERE s.datid = d.oid),
    coalesce((SELECT p.reset_val FROM pg_settings p WHERE p.name = 'transaction_timeout'), '0'),
    coalesce((SELECT p.reset_val FROM pg_settings p WHERE p.name = 'idle_session_timeout'), '0'),
    current_setting('wal_level')
  FROM pg_database d, pg_roles r
  WHERE d.datname = current_database() AND r.rolname = session_user";

/// Columns of [`SQL`].
mod column {
    pub(super) const CLOCK: usize = 0;
    pub(super) const FREE: usize = 1;
    pub(super) const ROLE_LIMIT: usize = 2;
    pub(super) const ROLE_SESSIONS: usize = 3;
    pub(super) const DATABASE_LIMIT: usize = 4;
    pub(super) const DATABASE_SESSIONS: usize = 5;
    pub(super) const TIMEOUTS: usize = 6;
    pub(super) const WAL_LEVEL: usize = 8;
}

/// Examines the server. Also returns by how many milliseconds its clock is ahead of ours.
pub(super) async fn examine(store: &PgStore) -> Result<(Vec<Check>, i64)> {
    let before = now_ms();
    let rows = store
        .control()
        .await?
        .rows(&format!("{CATALOG_PATH}\n{SQL}"))
        .await?;
    let ours = before + (now_ms() - before) / 2;
    let row = rows
        .first()
        .ok_or_else(|| error::unexpected("the server did not say how it is set up"))?;
    let clock_ahead_ms = row.parse::<i64>(column::CLOCK)? - ours;
    let facts = store.facts();
    let mut checks = vec![
        Check::ok(
            "server",
            format!(
                "PostgreSQL {}, database `{}`, user `{}`",
                facts.version, facts.database, facts.user
            ),
        ),
        link(store),
        clock(clock_ahead_ms),
        sessions(store, row)?,
    ];
    if store.likely_pooler() {
        checks.push(Check::warning("pooler", POOLER_NOTE).with_hint(
            "connect past the pooler if you can; if not, give it room for `--jobs` + 2 sessions",
        ));
    }
    checks.extend(timeouts(store, row)?);
    checks.extend(encoding(store));
    if store.options.role == Role::Source {
        checks.push(identity(store));
        let level = row.required(column::WAL_LEVEL)?;
        let message = format!("wal_level is `{level}`; no capture mode of this version needs more");
        checks.push(Check::ok("wal", message));
    }
    Ok((checks, clock_ahead_ms))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

fn link(store: &PgStore) -> Check {
    let host = store.config.host.as_str();
    let is_local = host.starts_with('/') || matches!(host, "localhost" | "127.0.0.1" | "::1");
    if store.facts().encrypted {
        return Check::ok("tls", "the link is encrypted");
    }
    if is_local {
        return Check::ok(
            "tls",
            "the link is not encrypted, and does not leave this machine",
        );
    }
    Check::warning("tls", format!("the link to `{host}` is not encrypted"))
        .with_hint("set `sslmode: verify-full`, with `sslrootcert` if the authority is your own")
}

fn clock(ahead_ms: i64) -> Check {
    let seconds = ahead_ms.unsigned_abs() / 1_000;
    let direction = if ahead_ms > 0 { "ahead of" } else { "behind" };
    if ahead_ms.abs() < CLOCK_MS_MAX {
        return Check::ok("clock", "the server's clock agrees with ours");
    }
    Check::warning(
        "clock",
        format!("the server's clock is {seconds} s {direction} ours"),
    )
    .with_hint(
        "let both machines set their clocks by NTP; an `overlap:` has to be longer than the \
         difference",
    )
}

/// Whether there is room for the sessions that a run opens.
fn sessions(store: &PgStore, row: &TextRow) -> Result<Check> {
    let needed = i64::try_from(store.options.sessions_max).unwrap_or(i64::MAX);
    let user = &store.facts().user;
    let login = quote_ident(&store.facts().session_user);
    let database = quote_ident(&store.facts().database);
    // One of ours is open already, and is counted.
    let wanted = |used: i64| used + needed;
    let (limit, used) = (
        row.parse::<i64>(column::ROLE_LIMIT)?,
        row.parse::<i64>(column::ROLE_SESSIONS)?,
    );
    let short = |message: String| Check::problem("sessions", ErrorClass::Transient, message);
    if limit >= 0 && wanted(used) > limit {
        return Ok(short(format!(
            "user `{user}` may have {limit} sessions and has {used}; a run needs {needed} more"
        ))
        .with_hint("lower `--jobs`, or raise the limit")
        .with_sql(format!(
            "ALTER ROLE {login} CONNECTION LIMIT {};",
            wanted(used)
        )));
    }
    let (limit, used) = (
        row.parse::<i64>(column::DATABASE_LIMIT)?,
        row.parse::<i64>(column::DATABASE_SESSIONS)?,
    );
    if limit >= 0 && wanted(used) > limit {
        return Ok(short(format!(
            "the database may have {limit} sessions and has {used}; a run needs {needed} more"
        ))
        .with_hint("lower `--jobs`, or raise the limit")
        .with_sql(format!(
            "ALTER DATABASE {database} CONNECTION LIMIT {};",
            wanted(used)
        )));
    }
    let free: i64 = row.parse(column::FREE)?;
    if free < needed {
        return Ok(short(format!(
            "the server has room for {} sessions more; a run needs {needed}",
            free.max(0)
        ))
        .with_hint("lower `--jobs`, or raise `max_connections` of the server"));
    }
    Ok(Check::ok(
        "sessions",
        format!("room for {free} sessions more; a run needs {needed}"),
    ))
}

fn timeouts(store: &PgStore, row: &TextRow) -> Result<Vec<Check>> {
    let login = quote_ident(&store.facts().session_user);
    let mut checks = Vec::new();
    for (index, name) in TIMEOUTS.into_iter().enumerate() {
        let value = row.required(column::TIMEOUTS + index)?;
        if value != "0" {
            let message =
                format!("`{name}` is {value} ms: it ends sessions in the middle of a run");
            checks.push(
                Check::warning("timeouts", message)
                    .with_hint("switch it off for this user")
                    .with_sql(format!("ALTER ROLE {login} SET {name} = 0;")),
            );
        }
    }
    if checks.is_empty() {
        checks.push(Check::ok(
            "timeouts",
            "no time-out of the server ends a run",
        ));
    }
    Ok(checks)
}

fn encoding(store: &PgStore) -> Option<Check> {
    let encoding = store.facts().server_encoding.as_str();
    let message = match (encoding, store.options.role) {
        ("UTF8", _) => return None,
        ("SQL_ASCII", Role::Source) => {
            "the database's encoding is SQL_ASCII: a text that is not UTF-8 stops its table"
        }
        (_, Role::Source) => return None,
        (_, Role::Target) => {
            "the database's encoding is not UTF8: a text with a character that it lacks is refused"
        }
    };
    Some(Check::warning("encoding", message).with_hint("the best target is a database in UTF8"))
}

fn identity(store: &PgStore) -> Check {
    if store.facts().system_identifier.is_some() {
        return Check::ok("identity", "a restored server would be recognised");
    }
    let user = quote_ident(&store.facts().user);
    Check::warning(
        "identity",
        "the cluster's number is hidden, so that a restored server is not recognised",
    )
    .with_hint("let an administrator run this, in this database")
    .with_sql(format!(
        "GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system() TO {user};"
    ))
}
