//! The streams' state: plain data behind one lock, never held over a wait.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use guest_agent::wire::{
    self, EGRESS_STREAMS_MAX, FIRST_EGRESS_STREAM, FIRST_STREAM, Piece, STREAMS_MAX, ToGuest, WINDOW_BYTES,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use super::stream::{GuestStream, NO_STREAM};

/// More than this waits for the guest: writers wait, too.
const OUTPUT_BYTES_MAX: usize = 256 << 10;
/// However much a guest grants.
const CREDIT_MAX: u32 = 4 << 20;
/// Streams that a guest may have opened: one that it has given up is here a little longer than there.
const OPENED_MAX: usize = 2 * EGRESS_STREAMS_MAX;

/// What reader, writer and streams of one link share.
pub(super) struct Shared {
    inner: Mutex<Inner>,
    output_ready: Notify,
}

struct Inner {
    streams: HashMap<u32, Slot>,
    next_id: u32,
    output: Vec<u8>,
    writers: Vec<Waker>,
    /// Where streams go that the guest opens; none: it may not.
    egress: Option<mpsc::Sender<GuestStream>>,
    closed: bool,
}

#[derive(Default)]
struct Slot {
    /// From the guest, not read yet.
    inbound: VecDeque<u8>,
    /// What the guest may still send.
    granted: u32,
    /// Read, and not granted again yet.
    consumed: u32,
    /// The guest has said that nothing follows.
    ended: bool,
    /// It is over, both ways.
    reset: bool,
    /// What the guest takes.
    credit: u32,
    /// Nothing follows from here.
    finished: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    watcher: Option<Waker>,
}

impl Slot {
    fn new() -> Self {
        Self { granted: WINDOW_BYTES, credit: WINDOW_BYTES, ..Self::default() }
    }

    fn wake(&mut self) {
        let wakers = [self.reader.take(), self.writer.take(), self.watcher.take()];
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

/// What a stream reads.
pub(super) enum Incoming {
    Bytes(Vec<u8>),
    End,
    Reset,
}

impl Shared {
    pub(super) fn new() -> Self {
        let inner = Inner {
            streams: HashMap::new(),
            next_id: FIRST_STREAM,
            output: Vec::new(),
            writers: Vec::new(),
            egress: None,
            closed: false,
        };
        Self { inner: Mutex::new(inner), output_ready: Notify::new() }
    }

    pub(super) fn send(&self, frames: &[ToGuest]) {
        let mut inner = self.inner.lock();
        frames.iter().for_each(|frame| frame.encode(&mut inner.output));
        drop(inner);
        self.output_ready.notify_one();
    }

    /// What is to be written next; none when the link is closed.
    pub(super) async fn next_output(&self) -> Option<Vec<u8>> {
        loop {
            {
                let mut inner = self.inner.lock();
                if !inner.output.is_empty() {
                    inner.writers.drain(..).for_each(Waker::wake);
                    return Some(std::mem::take(&mut inner.output));
                }
                if inner.closed {
                    return None;
                }
            }
            self.output_ready.notified().await;
        }
    }

    pub(super) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.writers.drain(..).for_each(Waker::wake);
        inner.streams.values_mut().for_each(Slot::wake);
        let egress = inner.egress.take();
        drop(inner);
        drop(egress);
        self.output_ready.notify_one();
    }

    /// A stream that exists from the start.
    pub(super) fn register(&self, id: u32) {
        self.inner.lock().streams.insert(id, Slot::new());
    }

    pub(super) fn open(&self) -> Option<u32> {
        let mut inner = self.inner.lock();
        if inner.closed || inner.streams.len() >= STREAMS_MAX {
            return None;
        }
        let id = inner.next_id;
        inner.next_id = id.checked_add(1)?;
        inner.streams.insert(id, Slot::new());
        ToGuest::Open(id).encode(&mut inner.output);
        drop(inner);
        self.output_ready.notify_one();
        Some(id)
    }

    /// From now on the guest may open streams.
    pub(super) fn accept(&self) -> mpsc::Receiver<GuestStream> {
        let (sender, receiver) = mpsc::channel(OPENED_MAX);
        let mut inner = self.inner.lock();
        if !inner.closed {
            inner.egress = Some(sender);
        }
        receiver
    }

    /// Waits while much goes to the guest: whoever does not read its answers gets no more of them.
    pub(super) async fn room(&self) {
        std::future::poll_fn(|cx| {
            let mut inner = self.inner.lock();
            if inner.output.len() < OUTPUT_BYTES_MAX || inner.closed {
                return Poll::Ready(());
            }
            inner.writers.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Takes a stream that the guest has opened. False: it may not.
    pub(super) fn opened(self: &Arc<Self>, id: u32) -> bool {
        let mut inner = self.inner.lock();
        if inner.closed {
            return true;
        }
        let Some(egress) = inner.egress.clone() else { return false };
        if id < FIRST_EGRESS_STREAM || id == NO_STREAM || inner.streams.contains_key(&id) {
            return false;
        }
        let open = inner.streams.keys().filter(|id| **id >= FIRST_EGRESS_STREAM).count();
        if open >= OPENED_MAX {
            ToGuest::Stream(id, Piece::Reset).encode(&mut inner.output);
            drop(inner);
            self.output_ready.notify_one();
            return true;
        }
        inner.streams.insert(id, Slot::new());
        drop(inner);
        // Where nobody takes it, it is over with its drop.
        drop(egress.try_send(GuestStream::opened(self, id)));
        true
    }

    /// Waits until the guest wants a stream no more, or the link is closed.
    pub(super) fn poll_over(&self, id: u32, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.inner.lock();
        let closed = inner.closed;
        let Some(slot) = inner.streams.get_mut(&id) else { return Poll::Ready(()) };
        if slot.reset || closed {
            return Poll::Ready(());
        }
        slot.watcher = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Takes a piece from the guest. False: it sent more than it may.
    pub(super) fn take(&self, id: u32, piece: Piece) -> bool {
        let mut inner = self.inner.lock();
        // Late pieces of a stream that nobody wants any more.
        let Some(slot) = inner.streams.get_mut(&id) else { return true };
        match piece {
            Piece::Data { bytes, fin } => {
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                // Empty pieces cost nothing, so they may only end a stream.
                if length > slot.granted || slot.ended || (length == 0 && !fin) {
                    return false;
                }
                slot.granted -= length;
                slot.inbound.extend(bytes);
                slot.ended = fin;
            }
            Piece::Credit(bytes) => slot.credit = slot.credit.saturating_add(bytes).min(CREDIT_MAX),
            Piece::Reset => slot.reset = true,
        }
        slot.wake();
        true
    }

    pub(super) fn poll_read(&self, id: u32, most: usize, cx: &mut Context<'_>) -> Poll<Incoming> {
        let mut inner = self.inner.lock();
        let closed = inner.closed;
        let Some(slot) = inner.streams.get_mut(&id) else { return Poll::Ready(Incoming::Reset) };
        if slot.inbound.is_empty() {
            if slot.ended {
                return Poll::Ready(Incoming::End);
            }
            if slot.reset || closed {
                return Poll::Ready(Incoming::Reset);
            }
            slot.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken: Vec<u8> = slot.inbound.drain(..most.min(slot.inbound.len())).collect();
        slot.consumed = slot.consumed.saturating_add(u32::try_from(taken.len()).unwrap_or(u32::MAX));
        if slot.consumed >= WINDOW_BYTES / 2 && !slot.ended {
            let grant = std::mem::take(&mut slot.consumed);
            slot.granted += grant;
            ToGuest::Stream(id, Piece::Credit(grant)).encode(&mut inner.output);
            self.output_ready.notify_one();
        }
        Poll::Ready(Incoming::Bytes(taken))
    }

    /// Writes as much as guest and link take; none when the stream is over.
    pub(super) fn poll_write(&self, id: u32, bytes: &[u8], cx: &mut Context<'_>) -> Poll<Option<usize>> {
        let mut inner = self.inner.lock();
        let crowded = inner.output.len() >= OUTPUT_BYTES_MAX;
        let closed = inner.closed;
        let Some(slot) = inner.streams.get_mut(&id) else { return Poll::Ready(None) };
        if slot.reset || slot.finished || closed {
            return Poll::Ready(None);
        }
        let most = usize::try_from(slot.credit).unwrap_or(usize::MAX).min(wire::DATA_BYTES_MAX).min(bytes.len());
        if most == 0 && !bytes.is_empty() {
            slot.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if crowded {
            inner.writers.push(cx.waker().clone());
            return Poll::Pending;
        }
        slot.credit -= u32::try_from(most).unwrap_or(slot.credit);
        wire::encode_data(&mut inner.output, id, bytes.get(..most).unwrap_or_default(), false);
        drop(inner);
        self.output_ready.notify_one();
        Poll::Ready(Some(most))
    }

    /// Nothing follows on this stream.
    pub(super) fn finish(&self, id: u32) {
        let mut inner = self.inner.lock();
        let Some(slot) = inner.streams.get_mut(&id).filter(|slot| !slot.finished && !slot.reset) else { return };
        slot.finished = true;
        wire::encode_data(&mut inner.output, id, &[], true);
        drop(inner);
        self.output_ready.notify_one();
    }

    /// Nobody wants the stream any more.
    pub(super) fn forget(&self, id: u32) {
        let mut inner = self.inner.lock();
        let Some(slot) = inner.streams.remove(&id) else { return };
        let over = slot.reset || (slot.ended && slot.finished);
        if !over {
            ToGuest::Stream(id, Piece::Reset).encode(&mut inner.output);
            drop(inner);
            self.output_ready.notify_one();
        }
    }
}
