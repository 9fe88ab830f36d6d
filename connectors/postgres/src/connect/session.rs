//! One session of a server, spoken to in the simple query protocol only.
//!
//! Simple queries pass through transaction poolers, and several statements travel in one round
//! trip. Values come back as the server's text form.

use super::settings::Prologue;
use crate::error;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use sqlx::postgres::{PgConnection, PgCopyIn};
use sqlx::{AssertSqlSafe, Connection, Either, Row};
use std::str::FromStr;
use syncset_connector::{ConnectorError, ErrorClass, Result};
use tokio::sync::OwnedSemaphorePermit;

/// One row in text form. `None` is NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextRow(pub(crate) Vec<Option<String>>);

impl TextRow {
    /// The text of a value; `None` for NULL and for a column that is not there.
    pub(crate) fn text(&self, index: usize) -> Option<&str> {
        self.0.get(index).and_then(Option::as_deref)
    }

    /// The text of a value that our own query never makes NULL.
    pub(crate) fn required(&self, index: usize) -> Result<&str> {
        self.text(index).ok_or_else(|| {
            error::unexpected(format!("the server left out value {index} of an answer"))
        })
    }

    /// A value that our own query never makes NULL, parsed.
    pub(crate) fn parse<T: FromStr>(&self, index: usize) -> Result<T> {
        self.required(index)?.parse().map_err(|_| {
            error::unexpected(format!(
                "value {index} of the server's answer has a strange form"
            ))
        })
    }

    /// True if the value is the boolean `true`.
    pub(crate) fn is_true(&self, index: usize) -> bool {
        matches!(self.text(index), Some("t" | "true"))
    }
}

/// One session. Dropping it drops the link.
pub(crate) struct Session {
    link: PgConnection,
    /// Name of the connection, for messages.
    connection: String,
    /// Process id of the server process behind it, as of the first query.
    pub(crate) backend_pid: i32,
    /// Start of that process, in the server's text form (UTC).
    pub(crate) backend_start: String,
    // A COPY that was started and not ended leaves the protocol at an unknown place.
    in_copy: bool,
    lost: bool,
    /// As far as our own texts tell: see [`begins_transaction`].
    in_transaction: bool,
    /// Behind a pooler: what each transaction begins with.
    prologue: Option<Prologue>,
    place: Option<OwnedSemaphorePermit>,
}

impl Session {
    pub(super) fn new(
        link: PgConnection,
        connection: String,
        place: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            link,
            connection,
            backend_pid: 0,
            backend_start: String::new(),
            in_copy: false,
            lost: false,
            in_transaction: false,
            prologue: None,
            place,
        }
    }

    /// Makes every transaction begin with these statements: the next one may run in another
    /// process of the server.
    pub(super) fn begin_transactions_with(&mut self, prologue: Prologue) {
        self.prologue = Some(prologue);
    }

    /// Runs statements; the rows of the last one that returned any.
    pub(crate) async fn rows(&mut self, sql: &str) -> Result<Vec<TextRow>> {
        let sets = self.result_sets(sql).await?;
        Ok(sets
            .into_iter()
            .rev()
            .find(|rows| !rows.is_empty())
            .unwrap_or_default())
    }

    /// Runs statements; the rows of each, in order. A statement without rows has an empty list.
    ///
    /// An empty statement (`;;`) has no entry.
    pub(crate) async fn result_sets(&mut self, sql: &str) -> Result<Vec<Vec<TextRow>>> {
        let events = self.events(sql).await?;
        let mut sets = Vec::new();
        let mut rows = Vec::new();
        for event in events {
            match event {
                Either::Left(_) => sets.push(std::mem::take(&mut rows)),
                Either::Right(row) => rows.push(row),
            }
        }
        Ok(sets)
    }

    /// Runs statements; rows affected by the last one.
    pub(crate) async fn execute(&mut self, sql: &str) -> Result<u64> {
        let events = self.events(sql).await?;
        Ok(events
            .into_iter()
            .rev()
            .find_map(|event| event.left())
            .unwrap_or(0))
    }

    /// Runs statements; rows affected by all of them.
    pub(crate) async fn execute_all(&mut self, sql: &str) -> Result<u64> {
        let events = self.events(sql).await?;
        Ok(events.into_iter().filter_map(Either::left).sum())
    }

    /// Rows, and after the rows of each statement the number it affected.
    async fn events(&mut self, sql: &str) -> Result<Vec<Either<u64, TextRow>>> {
        self.usable()?;
        let text;
        let (sent, mut unasked) = match &self.prologue {
            Some(prologue) if !self.in_transaction && !sql.starts_with("ROLLBACK") => {
                text = format!("{}{sql}", prologue.sql);
                (text.as_str(), prologue.count)
            }
            _ => (sql, 0),
        };
        if begins_transaction(sql) {
            // It stays open, to be rolled back, even if one of the next statements fails.
            self.in_transaction = true;
        }
        let mut events = Vec::new();
        let mut stream = sqlx::raw_sql(AssertSqlSafe(sent)).fetch_many(&mut self.link);
        while let Some(event) = stream.next().await {
            match event {
                Ok(Either::Left(_)) if unasked > 0 => unasked -= 1,
                Ok(Either::Left(done)) => events.push(Either::Left(done.rows_affected())),
                Ok(Either::Right(row)) => events.push(Either::Right(text_row(&row)?)),
                Err(failure) => {
                    let error = error::at(&self.connection, failure);
                    drop(stream);
                    self.lost = error.class == ErrorClass::Connection;
                    return Err(error);
                }
            }
        }
        if ends_transaction(sql) {
            self.in_transaction = false;
        }
        Ok(events)
    }

    /// Runs one `COPY ... TO STDOUT`. The stream must be read to its end; otherwise, and if the
    /// statement itself is refused, the session can only be dropped.
    ///
    /// Behind a pooler only within a transaction: one statement has no room for settings.
    pub(crate) async fn copy_out(&mut self, sql: &str) -> Result<BoxStream<'_, Result<Bytes>>> {
        self.usable()?;
        debug_assert!(self.prologue.is_none() || self.in_transaction);
        self.in_copy = true;
        let connection = self.connection.as_str();
        let started = self.link.copy_out_raw(sql).await;
        let stream = started.map_err(|failure| error::at(connection, failure))?;
        let in_copy = &mut self.in_copy;
        Ok(Box::pin(futures::stream::unfold(
            Some((stream, in_copy)),
            move |state| async move {
                let (mut stream, in_copy) = state?;
                match stream.next().await {
                    Some(Ok(bytes)) => Some((Ok(bytes), Some((stream, in_copy)))),
                    Some(Err(failure)) => {
                        // After an error of the server the driver has read up to its readiness.
                        *in_copy = failure.as_database_error().is_none();
                        Some((Err(error::at(connection, failure)), None))
                    }
                    None => {
                        *in_copy = false;
                        None
                    }
                }
            },
        )))
    }

    /// Starts one `COPY ... FROM STDIN`. End it with `finish` or `abort`; a session whose `CopyIn`
    /// was dropped can only be dropped too.
    pub(crate) async fn copy_in(&mut self, sql: &str) -> Result<CopyIn<'_>> {
        self.usable()?;
        debug_assert!(self.prologue.is_none() || self.in_transaction);
        // A refused COPY IN leaves the protocol in order; a cancelled start does not.
        self.in_copy = true;
        let copy = match self.link.copy_in_raw(sql).await {
            Ok(copy) => copy,
            Err(failure) => {
                self.in_copy = failure.as_database_error().is_none();
                return Err(error::at(&self.connection, failure));
            }
        };
        Ok(CopyIn {
            copy,
            connection: &self.connection,
            in_copy: &mut self.in_copy,
        })
    }

    /// Ends the session in an orderly way.
    pub(crate) async fn close(self) {
        if let Err(error) = self.link.close().await {
            tracing::debug!(error = %error, "a session did not end in an orderly way");
        }
    }

    /// Takes a place among the sessions that may be open.
    pub(crate) fn take_place(&mut self, place: OwnedSemaphorePermit) {
        self.place = Some(place);
    }

    /// Gives its place to another session; it rests.
    pub(crate) fn leave_place(&mut self) {
        self.place = None;
    }

    /// False once the link is lost or at an unknown place: only dropping helps.
    pub(crate) fn is_usable(&self) -> bool {
        !self.in_copy && !self.lost
    }

    fn usable(&self) -> Result<()> {
        if self.is_usable() {
            Ok(())
        } else {
            Err(error::lost_link())
        }
    }
}

/// A running `COPY ... FROM STDIN`.
pub(crate) struct CopyIn<'a> {
    copy: PgCopyIn<&'a mut PgConnection>,
    connection: &'a str,
    in_copy: &'a mut bool,
}

impl CopyIn<'_> {
    /// Sends bytes of the stream, cut anywhere.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        let sent = self.copy.send(bytes.as_ref()).await;
        sent.map_err(|failure| error::at(self.connection, failure))?;
        Ok(())
    }

    /// Ends the stream; the number of rows the server took.
    pub(crate) async fn finish(self) -> Result<u64> {
        let outcome = self.copy.finish().await;
        *self.in_copy = outcome
            .as_ref()
            .is_err_and(|failure| failure.as_database_error().is_none());
        outcome.map_err(|failure| error::at(self.connection, failure))
    }

    /// Makes the server forget what was sent; its transaction is then aborted.
    pub(crate) async fn abort(self, reason: &str) -> Result<()> {
        let outcome: Result<(), ConnectorError> = self.copy.abort(reason).await.map_err(error::of);
        *self.in_copy = outcome.is_err();
        outcome
    }
}

fn text_row(row: &sqlx::postgres::PgRow) -> Result<TextRow> {
    let mut values = Vec::with_capacity(row.len());
    for index in 0..row.len() {
        let value = row.try_get_raw(index).map_err(error::of)?;
        values.push(if sqlx::ValueRef::is_null(&value) {
            None
        } else {
            let text = value
                .as_str()
                .map_err(|_| error::unexpected("the server sent text that is not UTF-8"))?;
            Some(text.to_owned())
        });
    }
    Ok(TextRow(values))
}

/// Texts of ours that open a transaction begin with BEGIN. Texts that end one end with its end.
fn begins_transaction(sql: &str) -> bool {
    sql.starts_with("BEGIN")
}

fn ends_transaction(sql: &str) -> bool {
    let sql = sql.trim_end_matches([';', '\n', ' ']);
    sql.ends_with("COMMIT") || sql.ends_with("ROLLBACK")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_and_last_words_tell_whether_a_transaction_is_open() {
        for (sql, begins, ends) in [
            (
                "BEGIN ISOLATION LEVEL READ COMMITTED;\nSELECT 1",
                true,
                false,
            ),
            ("BEGIN; SELECT 1;\nCOMMIT;\n", true, true),
            ("UPDATE t SET x = 1; COMMIT", false, true),
            ("ROLLBACK", false, true),
            (
                "ROLLBACK TO SAVEPOINT syncset; RELEASE SAVEPOINT syncset",
                false,
                false,
            ),
            ("SELECT 'COMMIT'", false, false),
        ] {
            let told = (begins_transaction(sql), ends_transaction(sql));
            assert_eq!(told, (begins, ends), "{sql}");
        }
    }
}
