//! The open transactions, in a list that is proved to be younger than the clock of its look.
//!
//! `information_schema.INNODB_TRX` is a copy that InnoDB renews only when nobody has read it for
//! 100 ms. So each reading opens a transaction of its own, which is in the list together with the
//! text of its statement, and that text has a mark that was never used before: a list without it
//! is the copy of an earlier moment. Neither the number of the session nor that of the transaction
//! would prove anything, since both may come again.

use super::bound::Holder;
use crate::connect::{Session, TextRow};
use std::time::Duration;
use syncset_connector::{ErrorClass, Result};

/// For how long nobody may have read the list before InnoDB renews it, and a little more.
const RENEWED_AFTER: Duration = Duration::from_millis(105);

/// Readings until a list that others keep from being renewed is given up. With the pauses between
/// them that takes about four seconds.
const TRIES_MAX: u32 = 10;

/// The longest random part of a pause.
const PAUSE_MAX: Duration = Duration::from_millis(800);

/// What MySQL says instead of the list while the statement of any transaction has a character of
/// four bytes: the list holds texts of three.
const STATEMENT_NOT_LISTED: &str = "3854";

/// How often a look may read the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Once: the answer is only shown.
    Once,
    /// Until it is fresh, within limits.
    UntilFresh,
}

/// What the list showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Listed {
    /// Every transaction that may write and was open when the list was asked for.
    Fresh(Vec<Holder>),
    /// Only the copy of an earlier moment, or none.
    Stale,
    /// This user may not see the transactions of others.
    Hidden,
}

/// Reads the list. No transaction is open before or after it. `own` are numbers of sessions that
/// are left aside.
pub(super) async fn list(session: &mut Session, own: &[u64], patience: Patience) -> Result<Listed> {
    let mut tries = 1;
    loop {
        let listed = read_once(session, own).await?;
        let is_last = patience == Patience::Once || tries >= TRIES_MAX;
        if listed != Listed::Stale || is_last {
            return Ok(listed);
        }
        tokio::time::sleep(pause(tries)).await;
        tries += 1;
    }
}

/// Each reading keeps the list from being renewed for others who wait for it too, so pauses are of
/// random length and grow.
fn pause(tries: u32) -> Duration {
    let most = Duration::from_millis(50)
        .saturating_mul(1 << tries.min(10))
        .min(PAUSE_MAX);
    RENEWED_AFTER + most.mul_f64(rand::random())
}

async fn read_once(session: &mut Session, own: &[u64]) -> Result<Listed> {
    let mark = format!("syncset look {:032x}", rand::random::<u128>());
    match session.result_sets(&list_sql(&mark, own)).await {
        Ok(sets) => listed(sets.first().map_or(&[], Vec::as_slice)),
        Err(error) => {
            if session.is_usable() {
                session
                    .execute("ROLLBACK; SET time_zone = '+00:00'")
                    .await?;
            }
            match error.class {
                _ if error.code.as_deref() == Some(STATEMENT_NOT_LISTED) => Ok(Listed::Stale),
                ErrorClass::Privilege => Ok(Listed::Hidden),
                _ => Err(error),
            }
        }
    }
}

/// Rows: session, start, whether it is our own, whether it has this mark.
///
/// Starts are printed as local times of the server's own zone, which is why the session has it
/// here. A local time that occurs twice means the earlier one. The mark stands before the numbers
/// of sessions, because the list has the first kilobyte of a statement only.
fn list_sql(mark: &str, own: &[u64]) -> String {
    let own: Vec<_> = own.iter().map(u64::to_string).collect();
    format!(
        "SET time_zone = 'SYSTEM'; START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY;
         SELECT t.trx_mysql_thread_id,
           FLOOR(LEAST(UNIX_TIMESTAMP(t.trx_started),
             UNIX_TIMESTAMP(t.trx_started - INTERVAL 1 HOUR) + 3600)),
           t.trx_mysql_thread_id = CONNECTION_ID(), LOCATE('{mark}', t.trx_query) > 0
           FROM information_schema.INNODB_TRX t
           WHERE t.trx_mysql_thread_id = CONNECTION_ID()
             OR (t.trx_is_read_only = 0 AND t.trx_mysql_thread_id NOT IN ({}));
         COMMIT; SET time_zone = '+00:00'",
        own.join(", ")
    )
}

fn listed(rows: &[TextRow]) -> Result<Listed> {
    let mut holders = Vec::with_capacity(rows.len());
    let mut is_fresh = false;
    for row in rows {
        if row.is_true(2) {
            is_fresh |= row.is_true(3);
            continue;
        }
        let since: i64 = row.parse(1)?;
        holders.push(Holder {
            name: format!("session {}", row.required(0)?),
            since: since.saturating_mul(1_000_000),
        });
    }
    Ok(match is_fresh {
        true => Listed::Fresh(holders),
        false => Listed::Stale,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: [&str; 4]) -> TextRow {
        let value = |value: &str| (!value.is_empty()).then(|| value.as_bytes().to_vec());
        TextRow(values.map(value).into())
    }

    #[test]
    fn list_without_our_own_mark_proves_nothing() {
        let other = row(["13", "600", "0", ""]);
        let cases = [
            (vec![], false),
            (vec![other.clone()], false),
            // Our own session as an earlier look left it, and one between two statements.
            (vec![other.clone(), row(["7", "900", "1", "0"])], false),
            (vec![other.clone(), row(["7", "900", "1", ""])], false),
            // Somebody else may show our statement, but not in our session.
            (vec![row(["13", "600", "0", "1"])], false),
            (vec![other, row(["7", "900", "1", "1"])], true),
        ];

        for (rows, is_fresh) in cases {
            let found = listed(&rows).expect("the rows have the form of the statement");

            let expected = match is_fresh {
                true => Listed::Fresh(vec![Holder {
                    name: "session 13".into(),
                    since: 600_000_000,
                }]),
                false => Listed::Stale,
            };
            assert_eq!(found, expected, "{rows:?}");
        }
    }

    #[test]
    fn pauses_outlast_the_list_and_end_within_seconds() {
        let pauses: Vec<_> = (1..TRIES_MAX).map(pause).collect();

        assert!(pauses.iter().all(|pause| *pause >= RENEWED_AFTER));
        assert!(
            pauses
                .iter()
                .all(|pause| *pause <= RENEWED_AFTER + PAUSE_MAX)
        );
    }

    #[test]
    fn mark_is_within_what_the_list_has_of_a_statement() {
        let sql = list_sql("the mark", &[1; 10_000]);

        let statement = sql.split("; ").nth(1).unwrap_or_default();
        let place = statement.find("the mark").expect("it is in the statement");
        assert!(place < 1_000, "{place}");
    }
}
