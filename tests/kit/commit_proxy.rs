//! A TCP proxy before a MySQL or MariaDB server that cuts the link at a chosen COMMIT.
//!
//! It knows as much of the protocol as that a statement is one packet: the link must not be
//! encrypted.

use crate::CutMoment;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// `COMMIT` as a packet: its length, its number, the command, the text.
const COMMIT: &[u8] = b"\x07\0\0\0\x03COMMIT";

/// Bytes read at once; a COMMIT is far shorter, and waits for the answer before it.
const CHUNK_BYTES: usize = 64 * 1024;

/// A running proxy; it ends with the runtime of its test.
#[derive(Debug)]
pub struct CommitProxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server_port: u16,
    moment: CutMoment,
    /// COMMITs that pass before the one that is cut; below zero: none is.
    left: AtomicI64,
    cuts_done: AtomicU64,
}

impl CommitProxy {
    /// Starts a proxy before the server at this port of 127.0.0.1.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn before(server_port: u16, moment: CutMoment) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared {
            server_port,
            moment,
            left: AtomicI64::new(-1),
            cuts_done: AtomicU64::new(0),
        });
        let of_links = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, Arc::clone(&of_links)));
            }
        });
        Self { port, shared }
    }

    /// Port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts the `skip + 1`-th COMMIT from now on, over all links.
    pub fn arm(&self, skip: u32) {
        self.shared.left.store(i64::from(skip), Ordering::SeqCst);
    }

    /// Cuts nothing any more.
    pub fn disarm(&self) {
        self.shared.left.store(-1, Ordering::SeqCst);
    }

    /// How many links were cut so far.
    pub fn cuts_done(&self) -> u64 {
        self.shared.cuts_done.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn is_to_be_cut(&self, sent: &[u8]) -> bool {
        if sent != COMMIT {
            return false;
        }
        let counted = |left: i64| (left >= 0).then(|| left - 1);
        let before = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, counted);
        if before != Ok(0) {
            return false;
        }
        self.cuts_done.fetch_add(1, Ordering::SeqCst);
        true
    }
}

/// Carries bytes both ways until one side ends, or a COMMIT is cut.
async fn carry(mut client: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", shared.server_port)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut sent = vec![0; CHUNK_BYTES];
    let mut answered = vec![0; CHUNK_BYTES];
    loop {
        tokio::select! {
            count = client.read(&mut sent) => {
                let count = count?;
                if count == 0 {
                    return Ok(());
                }
                if shared.is_to_be_cut(&sent[..count]) {
                    return cut(client, server, shared.moment).await;
                }
                server.write_all(&sent[..count]).await?;
            }
            count = server.read(&mut answered) => {
                let count = count?;
                if count == 0 {
                    return Ok(());
                }
                client.write_all(&answered[..count]).await?;
            }
        }
    }
}

async fn cut(client: TcpStream, mut server: TcpStream, moment: CutMoment) -> std::io::Result<()> {
    let mut answer = [0; 1_024];
    match moment {
        CutMoment::RequestLost => {}
        CutMoment::AnswerLost => {
            server.write_all(COMMIT).await?;
            let _answered = server.read(&mut answer).await?;
        }
        CutMoment::AnswerOpen => {
            drop(client);
            server.write_all(COMMIT).await?;
            let _answered = server.read(&mut answer).await?;
        }
    }
    Ok(())
}
