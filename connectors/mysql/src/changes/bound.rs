//! The bound of windows: an instant below every stamp that a transaction could still commit.
//!
//! In this order, before the snapshot of the window is opened: first the clock, then the
//! statements in progress, then the open transactions, then those that are prepared. A statement
//! that waits before it first touches InnoDB has stamped its rows already and is no transaction
//! yet; once its session rests in the transaction nothing shows when that was. So the bound is
//! never exact here, and windows always start below it by an overlap.

use super::transactions::{self, Listed, Patience};
use crate::connect::{MysqlStore, ServerFacts, Session, TextRow};
use crate::error;
use crate::types::Flavour;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use syncset_connector::{ConnectorError, CursorSpec, ErrorClass, Overlap, Result};

/// Taken off the bound: the server tells starts in whole seconds.
pub(super) const MARGIN_MICROS: i64 = 2_000_000;

/// How far below its bound a window of a time cursor starts when no `overlap` is set.
pub(super) const TIME_OVERLAP: Duration = Duration::from_secs(600);

/// Older bounds are worth a warning.
const OLD_MICROS: i64 = 5 * 60 * 1_000_000;

/// How old a look may be that is taken for a new one: what a run asks before it begins is not asked
/// again for its first window.
const LOOK_AGE_MAX: Duration = Duration::from_secs(1);

/// Why a look bounds nothing.
const STALE: &str = "the server gives no fresh list of its open transactions";

/// What is to be done about it.
const STALE_HINT: &str = "let whatever polls information_schema.INNODB_TRX read it at most five \
                          times a second; MySQL also gives none while a transaction runs a \
                          statement with a character of four bytes; then run again";

/// Commands of sessions that run no statement of a user.
const RESTING: &str = "'Sleep', 'Daemon', 'Binlog Dump', 'Binlog Dump GTID', 'Error', 'Time'";

/// Somebody who keeps the bound where it is.
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
    /// True if this user may not see the transactions of others.
    pub(crate) hidden: bool,
    /// True if the list of transactions was not renewed or not given.
    pub(crate) stale: bool,
    /// Names of prepared transactions.
    pub(crate) prepared: Vec<String>,
    /// True if this user may not see prepared transactions.
    pub(crate) prepared_hidden: bool,
    /// True if the server applies changes of another one.
    pub(crate) replica: bool,
}

/// The last look of a store.
#[derive(Debug, Default)]
pub(crate) struct Looks(Mutex<Option<(Instant, Activity)>>);

impl Looks {
    fn younger_than(&self, age: Duration) -> Option<Activity> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, look) = last.as_ref()?;
        (began.elapsed() < age).then(|| look.clone())
    }

    fn keep(&self, began: Instant, look: &Activity) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((began, look.clone()));
    }
}

fn statements_sql(facts: &ServerFacts, own: &[u64]) -> String {
    let own: Vec<_> = own.iter().map(u64::to_string).collect();
    let (table, milliseconds) = match facts.flavour {
        Flavour::MySql if facts.performance_schema => ("performance_schema.processlist", "NULL"),
        Flavour::MySql => ("information_schema.processlist", "NULL"),
        Flavour::MariaDb => ("information_schema.processlist", "p.TIME_MS"),
    };
    format!(
        "SELECT p.ID, p.USER, p.COMMAND, p.TIME, {milliseconds} FROM {table} p
           WHERE p.COMMAND NOT IN ({RESTING}) AND p.ID NOT IN ({})",
        own.join(", ")
    )
}

impl Activity {
    /// Looks at the server. No transaction is open before or after it.
    ///
    /// A look that is younger than [`LOOK_AGE_MAX`] does as well: whatever began after it is above
    /// its clock.
    pub(crate) async fn observe(store: &MysqlStore, patience: Patience) -> Result<Self> {
        let mut session = store.control().await?;
        if let Some(look) = store.looks.younger_than(LOOK_AGE_MAX) {
            return Ok(look);
        }
        let began = Instant::now();
        let look = Self::observe_in(store, &mut session, patience).await?;
        if !look.stale {
            store.looks.keep(began, &look);
        }
        Ok(look)
    }

    async fn observe_in(
        store: &MysqlStore,
        session: &mut Session,
        patience: Patience,
    ) -> Result<Self> {
        let own = store.own_sessions();
        // The clock first: whatever begins later is above the bound anyway.
        let sql = format!(
            "SELECT UNIX_TIMESTAMP(NOW(6)); {}",
            statements_sql(store.facts(), &own)
        );
        let sets = session.result_sets(&sql).await?;
        let mut activity = Self::read_statements(&sets)?;
        match transactions::list(session, &own, patience).await? {
            Listed::Fresh(holders) => holders
                .into_iter()
                .for_each(|holder| activity.keep_older(holder)),
            Listed::Stale => activity.stale = true,
            Listed::Hidden => activity.hidden = true,
        }
        match session.rows("XA RECOVER").await {
            Ok(rows) => activity.prepared = rows.iter().map(xid).collect(),
            Err(error) if error.class == ErrorClass::Connection => return Err(error),
            // Without the right MySQL says nothing more than that there was an error.
            Err(_) => activity.prepared_hidden = true,
        }
        Ok(activity)
    }

    fn read_statements(sets: &[Vec<TextRow>]) -> Result<Self> {
        let [clock, statements] = sets else {
            return Err(error::unexpected(
                "the server left out an answer about its sessions",
            ));
        };
        let mut activity = Self {
            clock: micros(clock.first())?,
            ..Self::default()
        };
        for row in statements {
            let user = row.text(1).unwrap_or("?");
            if user == "system user" {
                // Such a thread rests for as long as its age says, or applies what is as old as
                // the replica's delay, for which the user's `overlap` answers.
                activity.replica = true;
                continue;
            }
            let seconds: i64 = row.parse_some(3)?.unwrap_or(0);
            let age = match row.text(4).and_then(|text| text.parse::<f64>().ok()) {
                #[expect(clippy::cast_possible_truncation, reason = "milliseconds of an age")]
                Some(milliseconds) => (milliseconds * 1_000.0).ceil() as i64,
                None => seconds.saturating_add(1).saturating_mul(1_000_000),
            };
            activity.keep_older(Holder {
                name: format!("session {} of user `{user}`", row.required(0)?),
                // Ages were told after the clock was read, so starts are not later than this.
                since: activity.clock.saturating_sub(age.max(0)),
            });
        }
        Ok(activity)
    }

    fn keep_older(&mut self, other: Holder) {
        let kept = self.oldest.as_ref();
        if kept.is_none_or(|kept| other.since < kept.since) {
            self.oldest = Some(other);
        }
    }

    /// True if a transaction may be open that the bound does not know: the watermark stays.
    pub(crate) fn holds_watermark(&self) -> bool {
        self.stale || !self.prepared.is_empty()
    }

    /// The bound of time cursors: microseconds since 1970. It bounds nothing while
    /// [`holds_watermark`](Self::holds_watermark).
    pub(crate) fn bound(&self) -> i64 {
        let oldest = self.oldest.as_ref().map_or(i64::MAX, |holder| holder.since);
        self.clock.min(oldest).saturating_sub(MARGIN_MICROS)
    }

    /// The clock, if nobody had a statement in progress or a transaction open: whoever commits
    /// later began later. `None` if somebody had, or may have been hidden.
    pub(super) fn quiet_since(&self) -> Option<i64> {
        let sees_all = !self.stale && !self.hidden && !self.prepared_hidden && !self.replica;
        let is_quiet = self.oldest.is_none() && self.prepared.is_empty();
        (sees_all && is_quiet && self.clock > 0).then_some(self.clock)
    }

    /// Why this look does not bound the stamps of a time cursor. An `overlap:` is the user's own
    /// answer to all of these.
    pub(crate) fn check(&self, table: &str, spec: &CursorSpec, user: &str) -> Result<()> {
        if spec.overlap.is_some() {
            return Ok(());
        }
        let place = format!("cursor `{}` of `{table}`", spec.column);
        if self.replica {
            return Err(ConnectorError::new(
                ErrorClass::Config,
                format!(
                    "{place} cannot be followed on a replica: the transactions that write are \
                     not visible there"
                ),
            )
            .with_hint(
                "read from the primary, or write `written_by: application` and an `overlap:` of \
                 more than the longest transaction plus the replica's delay",
            ));
        }
        let missing = |right: &str, what: &str| {
            ConnectorError::new(
                ErrorClass::Privilege,
                format!("{place} cannot be followed: {what} are hidden from user `{user}`"),
            )
            .with_hint(format!(
                "GRANT {right} ON *.* TO {}; or set `overlap:` to more than the longest \
                 transaction",
                account(user)
            ))
        };
        if self.hidden {
            return Err(missing("PROCESS", "the transactions of other users"));
        }
        if self.prepared_hidden {
            return Err(missing("XA_RECOVER_ADMIN", "prepared transactions"));
        }
        Ok(())
    }

    /// Stops a first load by a time cursor while it is not known who has an open transaction.
    ///
    /// # Errors
    /// `NotYet`.
    pub(crate) fn check_fresh(&self, table: &str) -> Result<()> {
        if !self.stale {
            return Ok(());
        }
        Err(ConnectorError::new(
            ErrorClass::NotYet,
            format!("the first load of `{table}` cannot begin: {STALE}"),
        )
        .with_hint(STALE_HINT))
    }

    /// Stops a first load while a prepared transaction could still commit any old stamp.
    ///
    /// # Errors
    /// `NotYet`, naming it.
    pub(crate) fn check_first_load(&self, table: &str) -> Result<()> {
        match self.prepared.first() {
            None => Ok(()),
            Some(xid) => Err(ConnectorError::new(
                ErrorClass::NotYet,
                format!(
                    "the first load of `{table}` cannot begin: the prepared transaction {xid} is \
                     open"
                ),
            )
            .with_hint("XA COMMIT or XA ROLLBACK it, then run again")),
        }
    }

    /// Says who holds the bound of a time cursor, if it is old.
    pub(crate) fn bound_warning(&self) -> Option<String> {
        if let Some(xid) = self.prepared.first() {
            return Some(format!(
                "the watermark stays where it is: the prepared transaction {xid} is open"
            ));
        }
        if self.stale {
            return Some(format!(
                "the watermark stays where it is: {STALE}; {STALE_HINT}"
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
}

/// How far below its bound a window of a time cursor starts. Never nothing.
pub(crate) fn time_overlap(overlap: Option<Overlap>) -> Duration {
    match overlap {
        Some(Overlap::Time(time)) if !time.is_zero() => time,
        _ => TIME_OVERLAP,
    }
}

/// `'name'@'host'`, as GRANT takes it.
pub(crate) fn account(user: &str) -> String {
    let (name, host) = user.rsplit_once('@').unwrap_or((user, "%"));
    let quoted = |part: &str| format!("'{}'", part.replace('\'', "''"));
    format!("{}@{}", quoted(name), quoted(host))
}

/// A prepared transaction: its global and its branch part, as XA COMMIT takes them.
fn xid(row: &TextRow) -> String {
    let length: usize = row
        .text(1)
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let data = row.bytes(3).unwrap_or_default();
    let (global, branch) = data.split_at(length.min(data.len()));
    let shown = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
    let format = row.text(0).unwrap_or("1");
    format!("`'{}','{}',{format}`", shown(global), shown(branch))
}

/// Seconds since 1970 with decimals, as microseconds.
fn micros(row: Option<&TextRow>) -> Result<i64> {
    let strange = || error::unexpected("the server did not say what time it is");
    let text = row.ok_or_else(strange)?.required(0)?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = format!("{fraction:0<6}");
    let digits = format!("{seconds}{}", fraction.get(..6).unwrap_or("000000"));
    digits.parse().map_err(|_| strange())
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
    use syncset_connector::{NullCursor, Windows, WrittenBy};

    fn row(values: &[&str]) -> TextRow {
        TextRow(
            values
                .iter()
                .map(|value| (!value.is_empty()).then(|| value.as_bytes().to_vec()))
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

    fn observed(statements: Vec<TextRow>) -> Activity {
        Activity::read_statements(&[vec![row(&["1000.5"])], statements])
            .expect("the rows have the form of the statements")
    }

    #[test]
    fn bound_is_two_seconds_below_the_clock_of_a_quiet_server() {
        assert_eq!(observed(vec![]).bound(), 998_500_000);
    }

    #[test]
    fn server_is_quiet_only_where_everybody_is_seen_and_rests() {
        let quiet = observed(vec![]);
        let change = |change: fn(&mut Activity)| {
            let mut activity = quiet.clone();
            change(&mut activity);
            activity.quiet_since()
        };

        assert_eq!(quiet.quiet_since(), Some(1_000_500_000));
        assert_eq!(Activity::default().quiet_since(), None);
        let busy = observed(vec![row(&["11", "app", "Query", "0", ""])]);
        assert_eq!(busy.quiet_since(), None);
        assert_eq!(change(|it| it.hidden = true), None);
        assert_eq!(change(|it| it.stale = true), None);
        assert_eq!(change(|it| it.prepared_hidden = true), None);
        assert_eq!(change(|it| it.prepared = vec!["x".into()]), None);
        assert_eq!(change(|it| it.replica = true), None);
    }

    #[test]
    fn oldest_statement_or_transaction_holds_the_bound() {
        let mut activity = observed(vec![
            row(&["11", "app", "Query", "3", ""]),
            row(&["12", "app", "Query", "2", "2500.125"]),
        ]);

        // Three whole seconds may be nearly four.
        assert_eq!(activity.bound(), 996_500_000 - 2_000_000);

        activity.keep_older(Holder {
            name: "session 13".into(),
            since: 600_000_000,
        });
        assert_eq!(activity.bound(), 598_000_000);
        let warning = activity.bound_warning().expect("it is old");
        assert!(warning.contains("session 13"), "{warning}");
        assert!(warning.contains("6 min"), "{warning}");
    }

    #[test]
    fn resting_threads_of_a_replica_hold_no_bound() {
        let replica = observed(vec![row(&["5", "system user", "Query", "86400", ""])]);

        assert!(replica.replica);
        assert_eq!(replica.bound(), observed(vec![]).bound());
    }

    #[test]
    fn what_is_hidden_is_an_error_unless_overlap_is_set() {
        let mut hidden = observed(vec![]);
        hidden.hidden = true;
        let mut prepared = observed(vec![]);
        prepared.prepared_hidden = true;
        let replica = observed(vec![row(&["5", "system user", "Query", "0", ""])]);
        let overlap = Some(Overlap::Time(Duration::from_secs(60)));

        for (activity, word) in [
            (&hidden, "GRANT PROCESS ON *.* TO 'sync'@'%'"),
            (&prepared, "GRANT XA_RECOVER_ADMIN"),
            (&replica, "primary"),
        ] {
            let error = activity
                .check("orders", &spec(None), "sync@%")
                .expect_err("it cannot be followed");
            let hint = error.hint.unwrap_or_default();
            assert!(hint.contains(word), "{hint}");
            assert!(activity.check("orders", &spec(overlap), "sync@%").is_ok());
        }
    }

    #[test]
    fn prepared_transaction_stops_a_first_load_by_name() {
        let mut activity = observed(vec![]);
        activity.prepared = vec![xid(&row(&["1", "3", "2", "job42"]))];

        let error = activity
            .check_first_load("orders")
            .expect_err("one is open");

        assert_eq!(error.class, ErrorClass::NotYet);
        assert!(error.message.contains("'job','42',1"), "{}", error.message);
    }

    #[test]
    fn list_that_is_not_renewed_holds_the_watermark() {
        let mut activity = observed(vec![]);
        assert!(!activity.holds_watermark());
        activity.stale = true;

        let error = activity.check_fresh("orders").expect_err("it is stale");

        assert_eq!(error.class, ErrorClass::NotYet);
        assert!(activity.holds_watermark());
        let warning = activity.bound_warning().expect("it is said");
        assert!(warning.contains("no fresh list"), "{warning}");
    }

    #[test]
    fn overlap_is_never_nothing() {
        assert_eq!(time_overlap(None), TIME_OVERLAP);
        assert_eq!(
            time_overlap(Some(Overlap::Time(Duration::ZERO))),
            TIME_OVERLAP
        );
        let minute = Duration::from_secs(60);
        assert_eq!(time_overlap(Some(Overlap::Time(minute))), minute);
    }
}
