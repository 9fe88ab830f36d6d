//! A COPY that stays open from one call of a unit to the next.
//!
//! It runs in a task of its own, so that the server takes bytes while the next batch is read and
//! encoded.

use super::plan::Path;
use crate::connect::Session;
use crate::encode::{COPY_HEADER, COPY_TRAILER, SEND_BYTES};
use crate::error;
use arrow_array::RecordBatch;
use syncset_connector::Result;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Full buffers that wait for the server.
const BUFFERS_MAX: usize = 2;

enum Message {
    Bytes(Vec<u8>),
    /// Everything was sent. Without it the COPY is given up.
    Finish,
}

/// A running COPY and the session it runs in.
pub(super) struct RunningCopy {
    path: Path,
    buffer: Vec<u8>,
    sender: mpsc::Sender<Message>,
    task: JoinHandle<(Session, Result<u64>)>,
}

impl RunningCopy {
    /// Starts the COPY.
    pub(super) fn start(session: Session, path: Path) -> Self {
        let (sender, receiver) = mpsc::channel(BUFFERS_MAX);
        let sql = path.copy.clone();
        let task = tokio::spawn(async move {
            let mut session = session;
            let outcome = run(&mut session, &sql, receiver).await;
            (session, outcome)
        });
        let mut buffer = Vec::with_capacity(SEND_BYTES + SEND_BYTES / 8);
        buffer.extend_from_slice(COPY_HEADER);
        Self {
            path,
            buffer,
            sender,
            task,
        }
    }

    /// True if this COPY fills the same stage or table.
    pub(super) fn is_into(&self, path: &Path) -> bool {
        self.path.copy == path.copy
    }

    /// True if rows go straight into the table.
    pub(super) fn is_direct(&self) -> bool {
        self.path.stage.is_none()
    }

    /// Encodes all rows of a batch and sends what fills a buffer. False: the server has stopped
    /// the COPY, and `finish` says why.
    pub(super) async fn push(&mut self, batch: &RecordBatch) -> Result<bool> {
        let mut rows = 0..batch.num_rows();
        loop {
            self.path
                .encoder
                .encode(batch, &mut rows, &mut self.buffer)?;
            if self.buffer.len() >= SEND_BYTES {
                let next = Vec::with_capacity(SEND_BYTES + SEND_BYTES / 8);
                let full = std::mem::replace(&mut self.buffer, next);
                if self.sender.send(Message::Bytes(full)).await.is_err() {
                    return Ok(false);
                }
            }
            if rows.is_empty() {
                return Ok(true);
            }
        }
    }

    /// Ends the COPY: the session and the rows the server took. No session: the task broke.
    pub(super) async fn finish(mut self) -> (Option<Session>, Result<u64>) {
        self.buffer.extend_from_slice(&COPY_TRAILER);
        let last = std::mem::take(&mut self.buffer);
        // Where the task is gone already its outcome says why.
        let _ = self.sender.send(Message::Bytes(last)).await;
        let _ = self.sender.send(Message::Finish).await;
        self.outcome().await
    }

    /// Gives the COPY up; the transaction is then aborted.
    pub(super) async fn give_up(self) -> Option<Session> {
        self.outcome().await.0
    }

    async fn outcome(self) -> (Option<Session>, Result<u64>) {
        drop(self.sender);
        match self.task.await {
            Ok((session, outcome)) => (Some(session), outcome),
            Err(failure) => (None, Err(error::lost_link().caused_by(failure))),
        }
    }
}

async fn run(
    session: &mut Session,
    sql: &str,
    mut receiver: mpsc::Receiver<Message>,
) -> Result<u64> {
    let mut copy = session.copy_in(sql).await?;
    while let Some(message) = receiver.recv().await {
        match message {
            Message::Bytes(bytes) => copy.send(bytes).await?,
            Message::Finish => return copy.finish().await,
        }
    }
    copy.abort("the unit was given up").await?;
    Ok(0)
}
