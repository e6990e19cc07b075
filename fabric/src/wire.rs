//! The NATS connection as the exchanges see it: publish bytes, hear bytes.
//!
//! A small client of our own, for three reasons. A general client parses message headers and gives up the whole
//! connection when one is malformed, which would let any lender cut off everybody: here header blocks are skipped by
//! their length. It drops messages of a full subscription; here the reader hands each message straight to its
//! handler. And that hand-over costs no task switch, which is what the warm path is made of.

mod connection;
mod protocol;
mod tls;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ::protocol::Problem;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::uplink::Uplink;
use crate::{FabricConfig, FabricError};

pub(crate) use connection::Attempt;

/// Bytes that wait for the socket; publishers wait beyond it.
const OUT_MAX_BYTES: usize = 4 * 1024 * 1024;
/// A buffer that has grown larger than this is given back.
const OUT_KEEP_BYTES: usize = 256 * 1024;

/// A message from NATS.
pub(crate) struct Inbound<'a> {
    pub(crate) subject: &'a str,
    pub(crate) reply: Option<&'a str>,
    /// NATS says that nobody listens.
    pub(crate) no_responders: bool,
    pub(crate) payload: &'a [u8],
}

/// Called in the reader: must be quick and must not block.
pub(crate) type Handler = Arc<dyn Fn(Inbound<'_>) + Send + Sync>;

/// The connection is down.
#[derive(Debug)]
pub(crate) struct Down;

/// One connection, connected again for ever. Ends when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Wire {
    core: Arc<Core>,
    _guard: Arc<DropGuard>,
}

/// What the connection's tasks and its users share.
struct Core {
    up: AtomicBool,
    changed: Notify,
    out: Mutex<Out>,
    pending: Notify,
    drained: Notify,
    listeners: Mutex<HashMap<u64, Listener>>,
    next_id: AtomicU64,
    closed: CancellationToken,
    /// Why the gateway does not let it in; none where it does, and where there is none.
    refusal: Mutex<Option<Box<Problem>>>,
}

/// What waits for the socket.
#[derive(Default)]
struct Out {
    bytes: BytesMut,
    /// Who waits for a PONG, in order.
    pongs: std::collections::VecDeque<oneshot::Sender<()>>,
}

#[derive(Clone)]
struct Listener {
    subject: Arc<str>,
    queue: Option<&'static str>,
    handler: Handler,
}

/// Ends a subscription when dropped.
pub(crate) struct Subscription {
    core: Arc<Core>,
    id: u64,
}

impl Subscription {
    /// Ends it after the handler has seen everything that the server had sent until now.
    pub(crate) async fn end(self) {
        self.core.write(|out| protocol::unsubscribe(out, self.id));
        let (sender, receiver) = oneshot::channel();
        self.core.ping(sender);
        drop(receiver.await);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // Dropped after the lock: a handler may hold the last of something that ends subscriptions of its own.
        let listener = self.core.listeners.lock().remove(&self.id);
        drop(listener);
        self.core.write(|out| protocol::unsubscribe(out, self.id));
    }
}

impl Wire {
    /// Connects once; an error is final. After that it reconnects by itself. Through a gateway where there is an uplink.
    pub(crate) async fn connect(config: &FabricConfig, uplink: Option<Uplink>) -> Result<Self, FabricError> {
        let closed = CancellationToken::new();
        let core = Arc::new(Core {
            up: AtomicBool::new(false),
            changed: Notify::new(),
            out: Mutex::default(),
            pending: Notify::new(),
            drained: Notify::new(),
            listeners: Mutex::default(),
            next_id: AtomicU64::new(1),
            closed: closed.clone(),
            refusal: Mutex::default(),
        });
        connection::start(core.clone(), config.clone(), uplink).await?;
        Ok(Self { core, _guard: Arc::new(closed.drop_guard()) })
    }

    pub(crate) fn is_up(&self) -> bool {
        self.core.up.load(Ordering::Acquire)
    }

    /// Why it is not let in.
    pub(crate) fn refusal(&self) -> Option<Box<Problem>> {
        self.core.refusal.lock().clone()
    }

    /// Waits until the connection is up.
    pub(crate) async fn wait_up(&self) {
        loop {
            let changed = self.core.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.is_up() {
                return;
            }
            changed.await;
        }
    }

    /// Publishes; waits while too much is waiting for the socket.
    pub(crate) async fn publish(&self, subject: &str, reply: Option<&str>, payload: &[&[u8]]) -> Result<(), Down> {
        loop {
            let drained = self.core.drained.notified();
            tokio::pin!(drained);
            match self.offer(subject, reply, payload) {
                Offer::Taken => return Ok(()),
                Offer::Down => return Err(Down),
                Offer::Full => drained.as_mut().enable(),
            };
            if self.core.has_room() {
                continue;
            }
            drained.await;
        }
    }

    /// Publishes now or not at all.
    pub(crate) fn try_publish(&self, subject: &str, payload: &[&[u8]]) -> bool {
        matches!(self.offer(subject, None, payload), Offer::Taken)
    }

    fn offer(&self, subject: &str, reply: Option<&str>, payload: &[&[u8]]) -> Offer {
        let mut out = self.core.out.lock();
        if !self.is_up() {
            return Offer::Down;
        }
        if out.bytes.len() >= OUT_MAX_BYTES {
            return Offer::Full;
        }
        protocol::publish(&mut out.bytes, subject, reply, payload);
        drop(out);
        self.core.pending.notify_one();
        Offer::Taken
    }

    pub(crate) fn subscribe(&self, subject: &str, queue: Option<&'static str>, handler: Handler) -> Subscription {
        let id = self.core.next_id.fetch_add(1, Ordering::Relaxed);
        let listener = Listener { subject: subject.into(), queue, handler };
        // Under one lock with the connection's own resubscription, so that it is done exactly once.
        let mut listeners = self.core.listeners.lock();
        listeners.insert(id, listener);
        self.core.write(|out| protocol::subscribe(out, subject, queue, id));
        drop(listeners);
        Subscription { core: self.core.clone(), id }
    }

    /// The server has seen everything up to now.
    pub(crate) async fn flush(&self) -> Result<(), Down> {
        let (sender, receiver) = oneshot::channel();
        self.core.ping(sender);
        receiver.await.map_err(|_| Down)
    }

    /// Sends what waits, then ends the connection.
    pub(crate) async fn close(&self) {
        drop(tokio::time::timeout(std::time::Duration::from_secs(1), self.flush()).await);
        self.core.closed.cancel();
    }
}

enum Offer {
    Taken,
    Full,
    Down,
}

impl Core {
    fn has_room(&self) -> bool {
        !self.up.load(Ordering::Acquire) || self.out.lock().bytes.len() < OUT_MAX_BYTES
    }

    /// Writes a line, if up: when down, the next connection does what it says anyway.
    fn write(&self, line: impl FnOnce(&mut BytesMut)) {
        let mut out = self.out.lock();
        if self.up.load(Ordering::Acquire) {
            line(&mut out.bytes);
            drop(out);
            self.pending.notify_one();
        }
    }

    /// A PING; its PONG is told to `pong`.
    fn ping(&self, pong: oneshot::Sender<()>) {
        let mut out = self.out.lock();
        if self.up.load(Ordering::Acquire) {
            protocol::ping(&mut out.bytes);
            out.pongs.push_back(pong);
            drop(out);
            self.pending.notify_one();
        }
    }

    fn listener(&self, id: u64) -> Option<Handler> {
        self.listeners.lock().get(&id).map(|listener| listener.handler.clone())
    }

    /// A new connection: everything of the old one is forgotten, all subscriptions are made again.
    fn went_up(&self) {
        let listeners = self.listeners.lock();
        let mut out = self.out.lock();
        out.bytes.clear();
        out.pongs.clear();
        for (id, listener) in listeners.iter() {
            protocol::subscribe(&mut out.bytes, &listener.subject, listener.queue, *id);
        }
        self.up.store(true, Ordering::Release);
        drop(out);
        self.pending.notify_one();
        self.changed.notify_waiters();
    }

    fn went_down(&self) {
        let mut out = self.out.lock();
        self.up.store(false, Ordering::Release);
        out.bytes = BytesMut::new();
        out.pongs.clear();
        drop(out);
        self.drained.notify_waiters();
    }
}

impl Inbound<'_> {
    /// The payload as its own bytes.
    pub(crate) fn bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.payload)
    }
}
