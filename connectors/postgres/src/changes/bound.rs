//! The bound of windows: an instant below every stamp that a transaction could still commit.
//!
//! Read in a transaction of its own that ends before the snapshot of the window is taken: first the
//! clock, then the sessions of this database, then its prepared transactions. Whether a session
//! writes does not matter: one that has only read so far may write a row with an old stamp later.

use crate::connect::{Session, TextRow};
use crate::error;
use syncset_connector::{ConnectorError, CursorSpec, ErrorClass, Result};

/// Start of the application name of sessions that only read. They cannot stamp a row, so they do
/// not hold the bound; sessions of ours that write a database do.
pub(crate) const READER_APPLICATION: &str = "syncset:read:";

/// Taken off the bound: a session shows its start a moment after it has read the clock.
pub(super) const MARGIN_MICROS: i64 = 1_000_000;

/// Older bounds and snapshots are worth a warning.
const OLD_MICROS: i64 = 5 * 60 * 1_000_000;

/// Processes of the server itself that have a database or a query start but run no user's
/// transaction.
const SERVER_PROCESSES: &str = "'walsender', 'autovacuum launcher', 'autovacuum worker', \
    'logical replication launcher', 'slotsync worker', 'startup', 'checkpointer', 'archiver', \
    'background writer', 'walwriter', 'walreceiver', 'walsummarizer', 'logger', 'io worker'";

/// Somebody who keeps the bound or the snapshot's xmin where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Such as "session 4711 of user `app`".
    pub(crate) name: String,
    /// When its transaction, or its statement, began: microseconds since 1970.
    pub(crate) since: i64,
}

/// What one look at the server's clock and sessions said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Activity {
    /// The clock, read before anything else: microseconds since 1970.
    pub(crate) clock: i64,
    /// Whoever holds the bound, if it is not the clock.
    pub(crate) oldest: Option<Holder>,
    /// A session whose start this user may not see.
    pub(crate) hidden: Option<String>,
    /// A session that does not report what it does.
    pub(crate) untracked: Option<String>,
    /// The oldest prepared transaction of this database.
    pub(crate) prepared: Option<Holder>,
    /// Whoever has the oldest transaction that writes, in any database.
    pub(crate) writer: Option<Holder>,
    /// True on a standby, where nobody who writes can be seen.
    pub(crate) standby: bool,
}

/// The statements. Four answers.
pub(crate) fn activity_sql() -> String {
    let micros = |value: &str| format!("(extract(epoch FROM {value}) * 1000000)::pg_catalog.int8");
    format!(
        "SELECT {clock}, pg_catalog.pg_is_in_recovery();
         SELECT a.pid, a.usename, {start}, a.backend_type IS NULL, coalesce(a.state = 'disabled', false)
           FROM pg_catalog.pg_stat_activity a
           WHERE a.datid = (SELECT d.oid FROM pg_catalog.pg_database d
               WHERE d.datname = pg_catalog.current_database())
             AND a.pid <> pg_catalog.pg_backend_pid()
             AND (a.usename = session_user
               AND a.application_name LIKE '{READER_APPLICATION}%') IS NOT TRUE
             AND (a.backend_type IS NULL AND a.usesysid IS NOT NULL
               OR a.backend_type NOT IN ({SERVER_PROCESSES})
               AND (a.state = 'disabled' OR a.xact_start IS NOT NULL
                 OR a.state IN ('active', 'fastpath function call')));
         SELECT p.gid, p.owner, {prepared}, p.database = pg_catalog.current_database()
           FROM pg_catalog.pg_prepared_xacts p;
         SELECT a.pid, a.usename, {since} FROM pg_catalog.pg_stat_activity a
           WHERE a.backend_xid IS NOT NULL AND a.xact_start IS NOT NULL
           ORDER BY a.xact_start LIMIT 1",
        clock = micros("pg_catalog.clock_timestamp()"),
        start = micros(
            "least(a.xact_start, CASE WHEN a.state IN ('active', 'fastpath function call')
             THEN a.query_start END)"
        ),
        prepared = micros("p.prepared"),
        since = micros("a.xact_start"),
    )
}

impl Activity {
    /// Looks at the server. One round trip; no transaction is open before or after it.
    pub(crate) async fn observe(session: &mut Session) -> Result<Self> {
        let sql = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;\n{};\nCOMMIT",
            activity_sql()
        );
        let sets = session.result_sets(&sql).await?;
        Self::read(sets.get(1..).unwrap_or_default())
    }

    pub(crate) fn read(sets: &[Vec<TextRow>]) -> Result<Self> {
        let [clock, sessions, prepared, writers, ..] = sets else {
            return Err(error::unexpected(
                "the server left out an answer about its sessions",
            ));
        };
        let clock = clock
            .first()
            .ok_or_else(|| error::unexpected("the server did not say what time it is"))?;
        let mut activity = Self {
            clock: clock.parse(0)?,
            standby: clock.is_true(1),
            ..Self::default()
        };
        for row in sessions {
            let name = session_name(row)?;
            if row.is_true(3) {
                activity.hidden = Some(name);
            } else if row.is_true(4) {
                activity.untracked = Some(name);
            } else if row.text(2).is_some() {
                keep_older(
                    &mut activity.oldest,
                    Holder {
                        name,
                        since: row.parse(2)?,
                    },
                );
            }
        }
        for row in prepared {
            let holder = Holder {
                name: format!(
                    "prepared transaction `{}` of user `{}`",
                    row.required(0)?,
                    row.text(1).unwrap_or("?")
                ),
                since: row.parse(2)?,
            };
            if row.is_true(3) {
                keep_older(&mut activity.prepared, holder.clone());
            }
            keep_older(&mut activity.writer, holder);
        }
        for row in writers {
            let holder = Holder {
                name: session_name(row)?,
                since: row.parse(2)?,
            };
            keep_older(&mut activity.writer, holder);
        }
        Ok(activity)
    }

    /// The bound of time cursors, prepared transactions left aside: microseconds since 1970.
    pub(crate) fn bound(&self) -> i64 {
        let oldest = self.oldest.as_ref().map_or(i64::MAX, |holder| holder.since);
        self.clock.min(oldest).saturating_sub(MARGIN_MICROS)
    }

    /// Why this look does not bound the stamps of a time cursor. An `overlap:` is the user's own
    /// answer to all of these.
    pub(crate) fn check(&self, table: &str, spec: &CursorSpec, user: &str) -> Result<()> {
        if spec.overlap.is_some() {
            return Ok(());
        }
        let place = format!("cursor `{}` of `{table}`", spec.column);
        if self.standby {
            return Err(ConnectorError::new(
                ErrorClass::Config,
                format!(
                    "{place} cannot be followed exactly on a standby: the transactions that \
                     write are not visible there"
                ),
            )
            .with_hint(
                "read from the primary, or set `overlap:` to more than the longest transaction \
                 plus the standby's delay",
            ));
        }
        if let Some(name) = &self.hidden {
            return Err(ConnectorError::new(
                ErrorClass::Privilege,
                format!(
                    "{place} cannot be followed exactly: the transactions of {name} are hidden \
                     from user `{user}`"
                ),
            )
            .with_hint(format!(
                "GRANT pg_read_all_stats TO {}; or set `overlap:` to more than the longest \
                 transaction",
                crate::sql::quote_ident(user)
            )));
        }
        if let Some(name) = &self.untracked {
            return Err(ConnectorError::new(
                ErrorClass::Config,
                format!("{place} cannot be followed exactly: {name} has `track_activities` off"),
            )
            .with_hint(
                "set `track_activities = on`, or set `overlap:` to more than the longest \
                 transaction",
            ));
        }
        Ok(())
    }

    /// Stops a first load while a prepared transaction could still commit any old stamp.
    ///
    /// # Errors
    /// `NotYet`, naming it and its age.
    pub(crate) fn check_first_load(&self, table: &str) -> Result<()> {
        match &self.prepared {
            None => Ok(()),
            Some(holder) => Err(ConnectorError::new(
                ErrorClass::NotYet,
                format!(
                    "the first load of `{table}` cannot begin: {} is open for {}",
                    holder.name,
                    age(self.clock - holder.since)
                ),
            )
            .with_hint("COMMIT PREPARED or ROLLBACK PREPARED it, then run again")),
        }
    }

    /// Says who holds the bound of a time cursor, if it is old.
    pub(crate) fn bound_warning(&self) -> Option<String> {
        if let Some(holder) = &self.prepared {
            return Some(format!(
                "the watermark stays where it is: {} is open for {}",
                holder.name,
                age(self.clock - holder.since)
            ));
        }
        let holder = self.oldest.as_ref()?;
        let held = self.clock - holder.since;
        (held > OLD_MICROS).then(|| {
            format!(
                "the watermark is {} behind: {} has an open transaction or statement of that age",
                age(held),
                holder.name
            )
        })
    }

    /// Says who holds the xmin of snapshots, if it is old.
    pub(crate) fn snapshot_warning(&self) -> Option<String> {
        let holder = self.writer.as_ref()?;
        let held = self.clock - holder.since;
        (held > OLD_MICROS).then(|| {
            format!(
                "rows changed in the last {} are read again in each run: {} has an open \
                 transaction that writes",
                age(held),
                holder.name
            )
        })
    }
}

fn session_name(row: &TextRow) -> Result<String> {
    Ok(format!(
        "session {} of user `{}`",
        row.required(0)?,
        row.text(1).unwrap_or("?")
    ))
}

fn keep_older(kept: &mut Option<Holder>, other: Holder) {
    if kept.as_ref().is_none_or(|kept| other.since < kept.since) {
        *kept = Some(other);
    }
}

/// A span as people say it.
pub(crate) fn age(micros: i64) -> String {
    let seconds = (micros / 1_000_000).max(0);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncset_connector::{NullCursor, Overlap, Windows, WrittenBy};

    fn row(values: &[&str]) -> TextRow {
        TextRow(
            values
                .iter()
                .map(|value| (!value.is_empty()).then(|| (*value).to_owned()))
                .collect(),
        )
    }

    fn spec(overlap: Option<Overlap>) -> CursorSpec {
        CursorSpec {
            column: "updated_at".into(),
            written_by: Some(WrittenBy::Database),
            overlap,
            zone: None,
            null_cursor: NullCursor::Error,
            windows: Windows::default(),
        }
    }

    fn observed(sessions: Vec<TextRow>, prepared: Vec<TextRow>) -> Activity {
        Activity::read(&[vec![row(&["1000000000", "f"])], sessions, prepared, vec![]])
            .expect("the rows have the form of the statements")
    }

    #[test]
    fn bound_is_one_second_below_the_clock_of_a_quiet_server() {
        assert_eq!(observed(vec![], vec![]).bound(), 999_000_000);
    }

    #[test]
    fn oldest_session_holds_the_bound_and_is_named_when_old() {
        let activity = observed(
            vec![
                row(&["11", "app", "900000000", "f", "f"]),
                row(&["12", "app", "100000000", "f", "f"]),
            ],
            vec![],
        );

        assert_eq!(activity.bound(), 99_000_000);
        let warning = activity.bound_warning().expect("it is 15 minutes old");
        assert!(warning.contains("session 12 of user `app`"), "{warning}");
        assert!(warning.contains("15 min"), "{warning}");
    }

    #[test]
    fn hidden_and_untracked_sessions_are_errors_unless_overlap_is_set() {
        let hidden = observed(vec![row(&["11", "app", "", "t", "f"])], vec![]);
        let untracked = observed(vec![row(&["11", "app", "", "f", "t"])], vec![]);
        let overlap = Some(Overlap::Time(std::time::Duration::from_secs(60)));

        let error = hidden
            .check("public.t", &spec(None), "low")
            .expect_err("hidden");

        assert_eq!(error.class, ErrorClass::Privilege);
        assert!(
            error
                .hint
                .is_some_and(|hint| hint.contains("GRANT pg_read_all_stats TO \"low\""))
        );
        assert!(untracked.check("public.t", &spec(None), "low").is_err());
        assert!(hidden.check("public.t", &spec(overlap), "low").is_ok());
        assert!(untracked.check("public.t", &spec(overlap), "low").is_ok());
    }

    #[test]
    fn old_writer_of_any_database_is_named() {
        let writer = |since: &str| {
            Activity::read(&[
                vec![row(&["1000000000", "f"])],
                vec![],
                vec![],
                vec![row(&["12", "app", since])],
            ])
            .expect("the rows have the form of the statements")
        };

        let warning = writer("100000000").snapshot_warning();

        let warning = warning.expect("it is 15 minutes old");
        assert!(warning.contains("session 12 of user `app`"), "{warning}");
        assert_eq!(writer("900000000").snapshot_warning(), None);
    }

    #[test]
    fn standby_shows_nobody_who_writes() {
        let standby = Activity {
            standby: true,
            ..observed(vec![], vec![])
        };
        let overlap = Some(Overlap::Time(std::time::Duration::from_secs(60)));

        let error = standby
            .check("public.t", &spec(None), "low")
            .expect_err("it is a standby");

        assert!(error.message.contains("standby"), "{}", error.message);
        assert!(standby.check("public.t", &spec(overlap), "low").is_ok());
    }

    #[test]
    fn prepared_transaction_of_this_database_stops_a_first_load() {
        let here = observed(vec![], vec![row(&["job-7", "app", "400000000", "t"])]);
        let elsewhere = observed(vec![], vec![row(&["job-7", "app", "400000000", "f"])]);

        let error = here.check_first_load("public.t").expect_err("one is open");

        assert_eq!(error.class, ErrorClass::NotYet);
        assert!(error.message.contains("`job-7`"), "{}", error.message);
        assert!(error.message.contains("10 min"), "{}", error.message);
        assert!(elsewhere.check_first_load("public.t").is_ok());
    }
}
