//! A TCP proxy before a PostgreSQL server: delays, counts round trips, swallows, and cuts the
//! connection at a chosen statement.
//!
//! It runs on a thread of its own, so a test may block its own runtime.

use crate::frames::{FrameScanner, ends_ready};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// Bytes read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Chunks under way in one direction; more than this and the sender has to wait.
const CHUNKS_MAX: usize = 256;

/// What a cut does to the statement it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutMoment {
    /// The server never sees the statement.
    RequestLost,
    /// The server has answered it; the answer never reaches the client.
    AnswerLost,
    /// The client loses its connection as soon as the statement is sent; the server keeps its
    /// own and finishes the statement later.
    AnswerOpen,
}

/// A cut that waits for its statement.
#[derive(Debug, Clone)]
pub struct Cut {
    /// Text that the statement contains, in upper case, such as `COMMIT`.
    pub needle: String,
    /// Matching statements that pass before the one that is cut.
    pub skip: u32,
    /// What is lost.
    pub moment: CutMoment,
}

impl Cut {
    /// Cuts the `skip + 1`-th COMMIT.
    pub fn commit(skip: u32, moment: CutMoment) -> Self {
        Self {
            needle: "COMMIT".to_owned(),
            skip,
            moment,
        }
    }
}

/// A running proxy. Dropping it closes every connection through it.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    // Dropped to end the thread.
    _alive: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    round_trips: AtomicU64,
    connections: AtomicU64,
    bytes: AtomicU64,
    cuts_done: AtomicU64,
    to_server: Mutex<Duration>,
    to_client: Mutex<Duration>,
    cuts: Mutex<VecDeque<Cut>>,
    blackhole: watch::Sender<bool>,
    // Its number grows with each wish to cut what is open.
    generation: watch::Sender<u64>,
}

impl Proxy {
    /// Starts a proxy before the server at this address.
    pub async fn before(host: &str, port: u16) -> Self {
        let server = tokio::net::lookup_host((host, port))
            .await
            .ok()
            .and_then(|mut addresses| addresses.next())
            .expect("the server's address can be found");
        let shared = Arc::new(Shared {
            round_trips: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            cuts_done: AtomicU64::new(0),
            to_server: Mutex::new(Duration::ZERO),
            to_client: Mutex::new(Duration::ZERO),
            cuts: Mutex::new(VecDeque::new()),
            blackhole: watch::Sender::new(false),
            generation: watch::Sender::new(0),
        });
        let (alive, ended) = oneshot::channel();
        let (port_sender, port) = oneshot::channel();
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || serve(server, of_thread, port_sender, ended));
        Self {
            port: port.await.expect("the proxy can listen on 127.0.0.1"),
            shared,
            _alive: alive,
        }
    }

    /// Port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Delays every byte from now on, per direction, and what follows a new connection's handshake.
    pub fn set_delay(&self, to_server: Duration, to_client: Duration) {
        *lock(&self.shared.to_server) = to_server;
        *lock(&self.shared.to_client) = to_client;
    }

    /// How often clients have sent something and then waited for an answer, over all connections
    /// and including their handshakes.
    pub fn round_trips(&self) -> u64 {
        self.shared.round_trips.load(Ordering::SeqCst)
    }

    /// How many connections were opened.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many bytes came in, from both sides of all connections.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::SeqCst)
    }

    /// Sets a cut; several take effect one after the other.
    pub fn arm(&self, cut: Cut) {
        lock(&self.shared.cuts).push_back(cut);
    }

    /// Forgets the cuts that have not happened.
    pub fn disarm(&self) {
        lock(&self.shared.cuts).clear();
    }

    /// How many armed cuts have happened.
    pub fn cuts_done(&self) -> u64 {
        self.shared.cuts_done.load(Ordering::SeqCst)
    }

    /// Closes all connections that are open.
    pub fn cut_all(&self) {
        self.shared
            .generation
            .send_modify(|generation| *generation += 1);
    }

    /// While true, nothing passes in either direction and nobody is told.
    pub fn blackhole(&self, swallow: bool) {
        self.shared.blackhole.send_replace(swallow);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("the proxy does not panic")
}

fn serve(
    server: SocketAddr,
    shared: Arc<Shared>,
    port: oneshot::Sender<u16>,
    ended: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a port of 127.0.0.1 is free");
        let address = listener.local_addr().expect("a listener has an address");
        let _ = port.send(address.port());
        let accepting = async {
            while let Ok((client, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(connect(client, server, Arc::clone(&shared)));
            }
        };
        tokio::select! {
            () = accepting => {}
            _ = ended => {}
        }
    });
}

/// One connection of a client and what its two directions know of each other.
struct Link {
    shared: Arc<Shared>,
    // True while the last bytes came from the client.
    client_spoke: AtomicBool,
    // Set by the client's direction when a cut has matched.
    matched: watch::Sender<Option<CutMoment>>,
}

async fn connect(client: TcpStream, server: SocketAddr, shared: Arc<Shared>) {
    // The client's handshake was with us: that it would have been a round trip shows here.
    let handshake = *lock(&shared.to_server) + *lock(&shared.to_client);
    tokio::time::sleep(handshake).await;
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut generation = shared.generation.subscribe();
    generation.mark_unchanged();
    let link = Link {
        shared,
        client_spoke: AtomicBool::new(false),
        matched: watch::Sender::new(None),
    };
    let (to_server_queue, server_queue) = mpsc::channel(CHUNKS_MAX);
    let (to_client_queue, client_queue) = mpsc::channel(CHUNKS_MAX);
    let server_writer = tokio::spawn(deliver(server_queue, to_server));
    let client_writer = tokio::spawn(deliver(client_queue, to_client));
    let was_cut = tokio::select! {
        () = pass_requests(&link, from_client, to_server_queue) => link.matched.borrow().is_some(),
        () = pass_answers(&link, from_server, to_client_queue, &client_writer) => {
            link.matched.borrow().is_some()
        }
        _ = generation.changed() => true,
    };
    // After an orderly goodbye what is under way still arrives; after a cut it must not.
    if was_cut {
        client_writer.abort();
        server_writer.abort();
    }
}

/// Client to server, until the client closes or a cut loses its request.
async fn pass_requests(
    link: &Link,
    mut from_client: OwnedReadHalf,
    queue: mpsc::Sender<(Instant, Vec<u8>)>,
) {
    let mut scanner = FrameScanner::client();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let Ok(count @ 1..) = from_client.read(&mut buffer).await else {
            return;
        };
        wait_out_blackhole(link).await;
        link.client_spoke.store(true, Ordering::SeqCst);
        let bytes = &buffer[..count];
        link.shared.bytes.fetch_add(count as u64, Ordering::SeqCst);
        let moment = scanner
            .statements(bytes)
            .iter()
            .find_map(|statement| matching_cut(&link.shared, statement));
        if let Some(moment) = moment {
            link.matched.send_replace(Some(moment));
            link.shared.cuts_done.fetch_add(1, Ordering::SeqCst);
        }
        if moment == Some(CutMoment::RequestLost) {
            return;
        }
        let due = Instant::now() + *lock(&link.shared.to_server);
        if queue.send((due, bytes.to_vec())).await.is_err() {
            return;
        }
        if moment.is_some() {
            // The other direction ends the connection; nothing more is passed on from here.
            std::future::pending::<()>().await;
        }
    }
}

/// Server to client, until the server closes or a cut loses its answer.
async fn pass_answers(
    link: &Link,
    mut from_server: OwnedReadHalf,
    queue: mpsc::Sender<(Instant, Vec<u8>)>,
    client_writer: &tokio::task::JoinHandle<()>,
) {
    let mut matched = link.matched.subscribe();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut swallowed = Vec::new();
    loop {
        tokio::select! {
            biased;
            // The client hears of the end at once, the server goes on.
            () = answers_are_cut_off(&mut matched) => {
                client_writer.abort();
                while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
                    swallowed.extend_from_slice(&buffer[..count]);
                    if ends_ready(&swallowed) {
                        break;
                    }
                }
                return;
            }
            read = from_server.read(&mut buffer) => {
                let Ok(count @ 1..) = read else {
                    return;
                };
                wait_out_blackhole(link).await;
                // Counted when it ends: before the client can go on, and never for a goodbye.
                if link.client_spoke.swap(false, Ordering::SeqCst) {
                    link.shared.round_trips.fetch_add(1, Ordering::SeqCst);
                }
                let bytes = &buffer[..count];
                link.shared.bytes.fetch_add(count as u64, Ordering::SeqCst);
                if link.matched.borrow().is_some() {
                    swallowed.extend_from_slice(bytes);
                    if ends_ready(&swallowed) {
                        return;
                    }
                    continue;
                }
                let due = Instant::now() + *lock(&link.shared.to_client);
                if queue.send((due, bytes.to_vec())).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Waits until a statement has matched whose client must lose its connection at once.
async fn answers_are_cut_off(matched: &mut watch::Receiver<Option<CutMoment>>) {
    let is_open = |cut: &Option<CutMoment>| *cut == Some(CutMoment::AnswerOpen);
    // The sender lives as long as the connection.
    let _ = matched.wait_for(is_open).await;
}

/// Writes chunks when they are due. Ends when the queue closes.
async fn deliver(mut queue: mpsc::Receiver<(Instant, Vec<u8>)>, mut to: OwnedWriteHalf) {
    while let Some((due, bytes)) = queue.recv().await {
        tokio::time::sleep_until(due).await;
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn wait_out_blackhole(link: &Link) {
    let mut blackhole = link.shared.blackhole.subscribe();
    // An error means that the proxy is being dropped: the connection ends anyway.
    let _ = blackhole.wait_for(|swallow| !swallow).await;
}

/// The cut that this statement sets off, if it is the one that is waited for.
fn matching_cut(shared: &Shared, statement: &str) -> Option<CutMoment> {
    let mut cuts = lock(&shared.cuts);
    let next = cuts.front_mut()?;
    if !statement.to_ascii_uppercase().contains(&next.needle) {
        return None;
    }
    if next.skip > 0 {
        next.skip -= 1;
        return None;
    }
    cuts.pop_front().map(|cut| cut.moment)
}
