//! What a server says about itself, asked by functions that every user may call.

use super::TextRow;
use crate::error;
use std::time::Duration;
use syncset_connector::Result;

/// True if this server process was not started for our connection. A pooler connects by itself and
/// sets its client's name afterwards; a process that we used before, or that is older than our
/// connection, was handed out again.
///
/// `{name}` is the name we connected with, `{age_ms}` the greatest age that can be ours.
pub(super) const EVIDENCE_OF_POOLER: &str =
    "coalesce(pg_catalog.current_setting('syncset.session', true), '') = 'used'
    OR NOT EXISTS (SELECT FROM pg_catalog.pg_settings p WHERE p.name = 'application_name'
      AND p.source = 'client' AND p.setting = {name})
    OR EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.pid = pg_catalog.pg_backend_pid()
      AND pg_catalog.clock_timestamp() - a.backend_start
        > {age_ms} * interval '1 millisecond')";

pub(super) const BACKEND_PID: usize = 0;
pub(super) const BACKEND_START: usize = 1;

/// One row. `query_to_xml` runs its text only where the right was checked before: naming the
/// function directly is refused even in a branch that is not taken.
pub(super) const SQL: &str = "SELECT pg_catalog.pg_backend_pid(),
    a.backend_start,
    (extract(epoch FROM pg_catalog.clock_timestamp() - a.backend_start) * 1000)::pg_catalog.int8,
    pg_catalog.current_setting('syncset.pooled')::pg_catalog.bool,
    pg_catalog.current_setting('server_version_num'),
    pg_catalog.current_setting('server_version'),
    CASE WHEN pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')
      THEN pg_catalog.substring(pg_catalog.query_to_xml(
        'SELECT system_identifier FROM pg_catalog.pg_control_system()', true, false, '')::text,
        '<system_identifier>([0-9]+)<') END,
    CASE WHEN NOT pg_catalog.pg_is_in_recovery()
      THEN pg_catalog.substring(pg_catalog.query_to_xml(
        'SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) AS w',
        true, false, '')::text, '<w>([0-9A-F]{8})')
      WHEN pg_catalog.has_function_privilege('pg_catalog.pg_control_checkpoint()', 'EXECUTE')
      THEN pg_catalog.lpad(pg_catalog.upper(pg_catalog.to_hex(pg_catalog.substring(
        pg_catalog.query_to_xml('SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()',
        true, false, '')::text, '<timeline_id>([0-9]+)<')::pg_catalog.int4)), 8, '0') END,
    d.oid, d.datname, pg_catalog.pg_is_in_recovery(),
    pg_catalog.pg_encoding_to_char(d.encoding),
    current_user, session_user,
    (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user),
    pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
    coalesce((SELECT s.ssl FROM pg_catalog.pg_stat_ssl s
      WHERE s.pid = pg_catalog.pg_backend_pid()), false),
    pg_catalog.current_setting('block_size')
  FROM pg_catalog.pg_database d, pg_catalog.pg_stat_activity a
  WHERE d.datname = pg_catalog.current_database() AND a.pid = pg_catalog.pg_backend_pid()";

/// Longest difference between two clocks' readings of one span.
const CLOCK_SLACK: Duration = Duration::from_millis(50);

/// What a server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerFacts {
    /// Such as 150018.
    pub(crate) version_num: u32,
    /// Such as `15.18 (Debian 15.18-0+deb12u1)`.
    pub(crate) version: String,
    /// The cluster's own number; `None` if this user may not ask.
    pub(crate) system_identifier: Option<String>,
    /// The timeline, as eight hexadecimal digits; `None` if this user may not ask.
    pub(crate) timeline: Option<String>,
    /// OID of the database.
    pub(crate) database_oid: u32,
    /// Name of the database.
    pub(crate) database: String,
    /// True on a standby.
    pub(crate) is_standby: bool,
    /// Such as `UTF8`.
    pub(crate) server_encoding: String,
    /// The user we act as.
    pub(crate) user: String,
    /// The user we logged in as.
    pub(crate) session_user: String,
    /// Whether we are a superuser.
    pub(crate) is_superuser: bool,
    /// Whether we see the sessions of others.
    pub(crate) reads_all_stats: bool,
    /// Whether the link (to the server or the pooler before it) is encrypted.
    pub(crate) encrypted: bool,
    /// Bytes of a page.
    pub(crate) block_bytes: u64,
    /// True if the server process was not started for our connection: a pooler.
    pub(crate) pooled: bool,
}

impl ServerFacts {
    /// Reads the answer to [`SQL`]; `elapsed` is the time since the connection was asked for.
    pub(super) fn read(row: &TextRow, elapsed: Duration) -> Result<Self> {
        let backend_age_ms: i64 = row.parse(2)?;
        let backend_age = Duration::from_millis(u64::try_from(backend_age_ms).unwrap_or(0));
        Ok(Self {
            version_num: row.parse(4)?,
            version: row.required(5)?.to_owned(),
            system_identifier: row.text(6).map(str::to_owned),
            timeline: row.text(7).map(str::to_owned),
            database_oid: row.parse(8)?,
            database: row.required(9)?.to_owned(),
            is_standby: row.is_true(10),
            server_encoding: row.required(11)?.to_owned(),
            user: row.required(12)?.to_owned(),
            session_user: row.required(13)?.to_owned(),
            is_superuser: row.is_true(14),
            reads_all_stats: row.is_true(15),
            encrypted: row.is_true(16),
            block_bytes: row
                .parse(17)
                .map_err(|_| error::unexpected("the server did not say its page size"))?,
            pooled: row.is_true(3) || backend_age > elapsed + CLOCK_SLACK,
        })
    }

    /// True if all texts of the database are UTF-8.
    pub(crate) fn is_utf8(&self) -> bool {
        self.server_encoding == "UTF8"
    }
}
