//! One session of a server.
//!
//! Statements without values go by the text protocol, several in one round trip; rows of tables
//! come by the binary protocol, which keeps every bit of a number.

use crate::error;
use mysql_async::prelude::Queryable;
use mysql_async::{BinaryProtocol, Conn, Params, QueryResult, Row, Value};
use std::str::FromStr;
use syncset_connector::{ConnectorError, ErrorClass, Result};
use tokio::sync::OwnedSemaphorePermit;

/// One row in text form. `None` is NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextRow(pub(crate) Vec<Option<Vec<u8>>>);

impl TextRow {
    /// The bytes of a value; `None` for NULL and for a column that is not there.
    pub(crate) fn bytes(&self, index: usize) -> Option<&[u8]> {
        self.0.get(index).and_then(Option::as_deref)
    }

    /// The text of a value; `None` for NULL, for a column that is not there, and for bytes that
    /// are no UTF-8.
    pub(crate) fn text(&self, index: usize) -> Option<&str> {
        std::str::from_utf8(self.bytes(index)?).ok()
    }

    /// The text of a value that our own statement never makes NULL.
    pub(crate) fn required(&self, index: usize) -> Result<&str> {
        self.text(index).ok_or_else(|| {
            error::unexpected(format!("the server left out value {index} of an answer"))
        })
    }

    /// A value that our own statement never makes NULL, parsed.
    pub(crate) fn parse<T: FromStr>(&self, index: usize) -> Result<T> {
        self.required(index)?.parse().map_err(|_| {
            error::unexpected(format!(
                "value {index} of the server's answer has a strange form"
            ))
        })
    }

    /// A value that may be NULL, parsed.
    pub(crate) fn parse_some<T: FromStr>(&self, index: usize) -> Result<Option<T>> {
        self.text(index).map(|_| self.parse(index)).transpose()
    }

    /// True if the value is 1 or `YES`.
    pub(crate) fn is_true(&self, index: usize) -> bool {
        matches!(self.text(index), Some("1" | "YES"))
    }
}

/// What a statement without rows did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// Rows it inserted, changed or deleted, as the server counts.
    pub(crate) rows: u64,
    /// Warnings it left.
    pub(crate) warnings: u16,
}

/// One session. Dropping it drops the link.
pub(crate) struct Session {
    link: Conn,
    /// Name of the connection, for messages.
    connection: String,
    /// The server's number of this session, as `KILL` takes it.
    pub(crate) id: u64,
    /// True while an answer is being read: whoever gives up in the middle leaves it true.
    busy: bool,
    place: Option<OwnedSemaphorePermit>,
}

impl Session {
    pub(super) fn new(link: Conn, connection: String, place: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            id: u64::from(link.id()),
            link,
            connection,
            busy: false,
            place,
        }
    }

    /// Runs statements; the rows of each that returns rows, in order.
    pub(crate) async fn result_sets(&mut self, sql: &str) -> Result<Vec<Vec<TextRow>>> {
        let (sets, _) = self.answers(sql).await?;
        Ok(sets)
    }

    /// Runs one statement; its rows.
    pub(crate) async fn rows(&mut self, sql: &str) -> Result<Vec<TextRow>> {
        Ok(self.result_sets(sql).await?.pop().unwrap_or_default())
    }

    /// Runs statements; what each of those without rows did, in order.
    pub(crate) async fn execute_each(&mut self, sql: &str) -> Result<Vec<Done>> {
        let (_, done) = self.answers(sql).await?;
        Ok(done)
    }

    /// Runs one statement; what it did.
    pub(crate) async fn execute(&mut self, sql: &str) -> Result<Done> {
        Ok(self.execute_each(sql).await?.pop().unwrap_or_default())
    }

    async fn answers(&mut self, sql: &str) -> Result<(Vec<Vec<TextRow>>, Vec<Done>)> {
        self.usable()?;
        self.busy = true;
        let answers = read_answers(&mut self.link, sql).await;
        self.settle(answers)
    }

    /// Runs one statement with values by the binary protocol. The rows must be read to their end,
    /// or the session can only be dropped.
    pub(crate) async fn stream(&mut self, sql: &str, values: Vec<Value>) -> Result<RowStream<'_>> {
        self.usable()?;
        self.busy = true;
        let values = if values.is_empty() {
            Params::Empty
        } else {
            Params::Positional(values)
        };
        match self.link.exec_iter(sql, values).await {
            Ok(result) => Ok(RowStream {
                result,
                connection: &self.connection,
                busy: &mut self.busy,
            }),
            Err(failure) => {
                self.busy = !matches!(failure, mysql_async::Error::Server(_));
                Err(error::at(&self.connection, failure))
            }
        }
    }

    /// Ends the session in an orderly way.
    pub(crate) async fn close(self) {
        if self.busy {
            return;
        }
        if let Err(error) = self.link.disconnect().await {
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
        !self.busy
    }

    /// The driver's own link, for what this type has no method for. Whoever uses it says before
    /// and after whether an answer is being read.
    pub(crate) fn link(&mut self) -> (&mut Conn, &mut bool) {
        (&mut self.link, &mut self.busy)
    }

    fn usable(&self) -> Result<()> {
        if self.is_usable() {
            Ok(())
        } else {
            Err(error::lost_link())
        }
    }

    fn settle<T>(&mut self, outcome: mysql_async::Result<T>) -> Result<T> {
        let error = match outcome {
            Ok(value) => {
                self.busy = false;
                return Ok(value);
            }
            Err(failure) => {
                // After an error of the server the driver has read up to its readiness.
                self.busy = !matches!(failure, mysql_async::Error::Server(_));
                error::at(&self.connection, failure)
            }
        };
        if error.class == ErrorClass::Connection {
            self.busy = true;
        }
        Err(error)
    }
}

/// Rows of one statement by the binary protocol.
pub(crate) struct RowStream<'a> {
    result: QueryResult<'a, 'static, BinaryProtocol>,
    connection: &'a str,
    busy: &'a mut bool,
}

impl RowStream<'_> {
    /// The values of the next row; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Value>>> {
        match self.result.next().await {
            Ok(Some(row)) => Ok(Some(row.unwrap())),
            Ok(None) => {
                *self.busy = false;
                Ok(None)
            }
            Err(failure) => {
                *self.busy = !matches!(failure, mysql_async::Error::Server(_));
                Err::<_, ConnectorError>(error::at(self.connection, failure))
            }
        }
    }
}

type Answers = (Vec<Vec<TextRow>>, Vec<Done>);

async fn read_answers(link: &mut Conn, sql: &str) -> mysql_async::Result<Answers> {
    let mut result = link.query_iter(sql).await?;
    let (mut sets, mut done) = (Vec::new(), Vec::new());
    while let Some(columns) = result.columns() {
        if columns.is_empty() {
            done.push(Done {
                rows: result.affected_rows(),
                warnings: result.warnings(),
            });
        }
        let rows: Vec<Row> = result.collect().await?;
        if !columns.is_empty() {
            sets.push(rows.into_iter().map(text_row).collect());
        }
    }
    // An error of a later statement is kept until somebody asks for the rest.
    result.drop_result().await?;
    Ok((sets, done))
}

fn text_row(row: Row) -> TextRow {
    let values = row.unwrap().into_iter().map(|value| match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(bytes),
        // The text protocol has bytes only.
        other => Some(other.as_sql(true).into_bytes()),
    });
    TextRow(values.collect())
}
