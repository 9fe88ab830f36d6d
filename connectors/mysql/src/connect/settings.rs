//! What our sessions are set to, whatever the server's own settings are.

use std::time::Duration;
use syncset_connector::{OpenOptions, Role};

/// The whole `sql_mode`: what does not fit is refused, zero is a value of an AUTO_INCREMENT column
/// like any other, and a table gets the engine it names. CHAR values come without their padding.
pub(crate) const SQL_MODE: &str =
    "STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO";

/// Newer versions of MariaDB refuse to lock a row that was changed while its lock was waited for,
/// which is what fences, and commits whose answer was lost, are decided by.
const SEES_LATER_ROWS: &str = "innodb_snapshot_isolation = OFF";

/// How long the server waits until a reader that is busy writing takes its next row.
const WRITE_SECONDS: u32 = 3_600;

/// How long a session may rest; long enough for the snapshot of a long load.
const REST_SECONDS: u32 = 24 * 3_600;

/// The first statements of every session. No statement returns rows.
///
/// Comments of the form `/*!80000 */` are read by MySQL alone, `/*M! */` by MariaDB alone.
pub(super) fn first_statements(options: &OpenOptions) -> String {
    let lock_seconds = whole_seconds(options.lock_timeout);
    let mut sets = vec![
        format!("sql_mode = '{SQL_MODE}'"),
        "time_zone = '+00:00'".to_owned(),
        "autocommit = 1".to_owned(),
        "foreign_key_checks = 1".to_owned(),
        "unique_checks = 1".to_owned(),
        // A server may leave rows out of answers, guess what `id IS NULL` means, refuse updates
        // and long joins, or begin or end more than a COMMIT says.
        "sql_select_limit = 18446744073709551615".to_owned(),
        "sql_auto_is_null = 0".to_owned(),
        "sql_safe_updates = 0".to_owned(),
        "sql_big_selects = 1".to_owned(),
        "completion_type = 'NO_CHAIN'".to_owned(),
        format!("lock_wait_timeout = {lock_seconds}"),
        format!("innodb_lock_wait_timeout = {lock_seconds}"),
        format!("net_write_timeout = {WRITE_SECONDS}"),
        format!("net_read_timeout = {WRITE_SECONDS}"),
        format!("wait_timeout = {REST_SECONDS}"),
    ];
    let mut mysql = vec!["information_schema_stats_expiry = 0".to_owned()];
    let mut mariadb = vec!["check_constraint_checks = 1".to_owned()];
    if !options.statement_timeout.is_zero() {
        let ms = options
            .statement_timeout
            .as_millis()
            .min(u128::from(u32::MAX));
        mysql.push(format!("max_execution_time = {ms}"));
        mariadb.push(format!(
            "max_statement_time = {}.{:03}",
            ms / 1_000,
            ms % 1_000
        ));
    }
    if options.role == Role::Source {
        // A sort of long texts must not compare their first bytes only.
        sets.push("max_sort_length = 1048576".to_owned());
    }
    let only = |sign: &str, settings: &[String]| match settings {
        [] => String::new(),
        _ => format!(" /*{sign} , {} */", settings.join(", ")),
    };
    let transaction = match options.role {
        Role::Source => "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        Role::Target => "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE",
    };
    format!(
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin; SET SESSION {}{}{}{}; {transaction}",
        sets.join(", "),
        only("!80000", &mysql),
        only("M!", &mariadb),
        only("M!110602", &[SEES_LATER_ROWS.to_owned()]),
    )
}

/// The server counts whole seconds, and at least one.
fn whole_seconds(duration: Duration) -> u64 {
    let rounded = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    rounded.clamp(1, 31_536_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(role: Role, statement_timeout: Duration) -> String {
        first_statements(&OpenOptions {
            role,
            application: "syncset:shop/p".to_owned(),
            sessions_max: 1,
            connect_timeout: Duration::ZERO,
            lock_timeout: Duration::from_millis(4_500),
            statement_timeout,
        })
    }

    #[test]
    fn sources_are_read_only_and_wait_whole_seconds() {
        let source = statements(Role::Source, Duration::ZERO);
        let target = statements(Role::Target, Duration::from_millis(1_500));

        assert!(source.contains("READ ONLY"), "{source}");
        assert!(!target.contains("READ ONLY"), "{target}");
        assert!(source.contains(" lock_wait_timeout = 5,"), "{source}");
        assert!(!source.contains("statement_time"), "{source}");
        assert!(
            target.contains(", max_statement_time = 1.500 */"),
            "{target}"
        );
        assert!(target.contains("max_execution_time = 1500 */"), "{target}");
    }
}
