//! One exchange at one end, shared by the caller's and the callee's side.
//!
//! ```text
//! caller:  open ──► accepted ──► reply(head) ──► data … ──► end          (one `reply` may be all four)
//!             └► busy / revoked / no responders                          cancel ──► end, 2 s at most
//! callee:  open ──► queued ──► started ──► (accepted) ──► reply ──► data … ──► end
//!                      └► revoked: never starts
//! ```

pub(crate) mod callee;
pub(crate) mod caller;
pub(crate) mod mounted;
mod sender;
pub(crate) mod table;
pub(crate) mod ticker;
pub(crate) mod window;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::node::BootKey;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::boots::Boots;
use crate::call::{End, EndKind};
use crate::dropped::{DropLog, Dropped};
use crate::frame::{self, Encoded, Frame, How, Message};
use crate::lists::Lists;
use crate::seal;
use crate::shut_out::ShutOut;
use crate::wire::{Down, Wire};
use table::{Key, Table};
use window::{Failure, Inflow, Next, Outflow, Violation};

/// How long a cancelled exchange, or a claimed end, may still take.
pub(crate) const END_WAIT: Duration = Duration::from_secs(2);

/// What all exchanges of one connection share.
pub(crate) struct Shared {
    pub(crate) wire: Wire,
    pub(crate) table: Table,
    pub(crate) started: Instant,
    /// What nodes sent in vain.
    pub(crate) drops: DropLog,
    pub(crate) boots: Boots,
    pub(crate) lists: Lists,
    pub(crate) shut_out: ShutOut,
    /// This process's own, where it is a node.
    pub(crate) boot: BootKey,
}

impl Shared {
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// One live exchange at one end.
pub(crate) struct Link {
    pub(crate) key: Key,
    pub(crate) shared: Arc<Shared>,
    /// Where the peer hears this exchange, once known.
    peer: OnceLock<String>,
    /// What frames of this exchange are sealed with, where they are.
    seal: OnceLock<BootKey>,
    state: Mutex<State>,
    pub(crate) born_ms: u64,
    heard_ms: AtomicU64,
    pub(crate) deadline: Option<Instant>,
    /// The callee's: the caller went away, cancelled, or was lost.
    pub(crate) cancelled: CancellationToken,
}

struct State {
    inflow: Inflow,
    outflow: Outflow,
    /// Callee: the service has begun. Caller: the peer has accepted.
    started: bool,
    /// Out of the table: nothing more is sent or believed.
    over: bool,
    cancelled_at: Option<Instant>,
    cancelled_by_deadline: bool,
    // The caller's:
    replied: bool,
    peer_instance: u128,
    answer: Option<Answer>,
    answer_waker: Option<Waker>,
    end: Option<oneshot::Sender<End>>,
    // The callee's:
    end_claim: Claim,
    end_waker: Option<Waker>,
}

/// What the callee's service does with the payload of `end`.
enum Claim {
    Unclaimed,
    Claimed,
    Released(Option<Bytes>),
}

/// What a waiting caller learns.
pub(crate) enum Answer {
    Busy(String),
    NoResponder,
    Revoked,
    Reply { head: Bytes },
    Failed(Failure),
}

impl Link {
    pub(crate) fn new(
        key: Key,
        shared: Arc<Shared>,
        peer: Option<String>,
        credit: u32,
        deadline: Option<Instant>,
        end: Option<oneshot::Sender<End>>,
    ) -> Arc<Self> {
        let now_ms = shared.now_ms();
        let known = OnceLock::new();
        if let Some(peer) = peer {
            drop(known.set(peer));
        }
        Arc::new(Self {
            key,
            shared,
            peer: known,
            seal: OnceLock::new(),
            state: Mutex::new(State {
                inflow: Inflow::new(),
                outflow: Outflow::new(credit),
                started: false,
                over: false,
                cancelled_at: None,
                cancelled_by_deadline: false,
                replied: false,
                peer_instance: 0,
                answer: None,
                answer_waker: None,
                end,
                end_claim: Claim::Unclaimed,
                end_waker: None,
            }),
            born_ms: now_ms,
            heard_ms: AtomicU64::new(now_ms),
            deadline,
            cancelled: CancellationToken::new(),
        })
    }

    pub(crate) fn heard(&self) {
        self.heard_ms.store(self.shared.now_ms(), Ordering::Relaxed);
    }

    pub(crate) fn silent_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.heard_ms.load(Ordering::Relaxed))
    }

    /// From here on only the holder of this key can take part.
    pub(crate) fn seal_with(&self, key: BootKey) {
        // Set once: before anything is sent, or with the answer to a hello.
        self.seal.set(key).ok();
    }

    pub(crate) fn seal(&self) -> Option<&BootKey> {
        self.seal.get()
    }

    pub(crate) fn message(&self, sequence: u32, frame: Frame) -> Encoded {
        let frame = Message { exchange: self.key.id, from_caller: self.key.caller, sequence, frame }.encode();
        match self.seal() {
            Some(key) => seal::seal(key, &frame),
            None => frame,
        }
    }

    /// Sends a frame that may be lost without harm, now or not at all.
    pub(crate) fn hint(&self, frame: Frame) {
        if let Some(peer) = self.peer.get() {
            self.shared.wire.try_publish(peer, &self.message(0, frame).parts());
        }
    }

    /// Sends a frame that the exchange depends on. A short loss of the connection is waited for: what it has
    /// swallowed before shows as a gap.
    pub(crate) async fn send(&self, sequence: u32, frame: Frame) -> Result<(), Down> {
        let Some(peer) = self.peer.get() else { return Err(Down) };
        if !self.shared.wire.is_up() {
            drop(tokio::time::timeout(END_WAIT, self.shared.wire.wait_up()).await);
        }
        self.shared.wire.publish(peer, None, &self.message(sequence, frame).parts()).await
    }

    /// Sends a frame without a place now, or else in a task of its own.
    fn send_soon(self: &Arc<Self>, frame: Frame) {
        let Some(peer) = self.peer.get() else { return };
        let encoded = self.message(0, frame);
        if self.shared.wire.try_publish(peer, &encoded.parts()) {
            return;
        }
        let link = self.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Some(peer) = link.peer.get() {
                    drop(link.shared.wire.publish(peer, None, &encoded.parts()).await);
                }
            });
        }
    }

    /// Grants the peer more.
    pub(crate) fn send_credit(self: &Arc<Self>, cost: u32) {
        self.send_soon(Frame::Credit { cost });
    }

    pub(crate) fn poll_piece(&self, cx: &mut Context<'_>) -> Next {
        let mut state = self.state.lock();
        let next = state.inflow.next();
        if next == Next::Wait {
            remember(&mut state.inflow.waker, cx);
        }
        next
    }

    /// How much is still to be read, if all of it is here.
    pub(crate) fn known_size(&self) -> Option<u64> {
        let state = self.state.lock();
        state.inflow.fin().then(|| u64::try_from(state.inflow.held_bytes()).unwrap_or(u64::MAX))
    }

    /// Waits for credit for a piece of up to `wanted` bytes. None: the exchange is over.
    pub(crate) async fn reserve(&self, wanted: usize) -> Option<usize> {
        std::future::poll_fn(|cx| {
            let mut state = self.state.lock();
            if state.over || state.outflow.stopped() {
                return Poll::Ready(None);
            }
            match state.outflow.reserve(wanted) {
                Some(bytes) => Poll::Ready(Some(bytes)),
                None => {
                    remember(&mut state.outflow.waker, cx);
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Resolves when nothing more may be sent.
    pub(crate) async fn stopped(&self) {
        std::future::poll_fn(|cx| {
            let mut state = self.state.lock();
            if state.over || state.outflow.stopped() {
                return Poll::Ready(());
            }
            remember(&mut state.outflow.waker, cx);
            Poll::Pending
        })
        .await;
    }

    /// Sends a frame that has a place in the sequence. Only one task of an exchange does so.
    pub(crate) async fn send_next(&self, frame: Frame) -> Result<(), Down> {
        let place = self.state.lock().outflow.take_place();
        self.send(place, frame).await?;
        self.state.lock().outflow.publish(place);
        Ok(())
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state.lock().over
    }

    /// A piece of the peer's body.
    pub(crate) fn on_data(self: &Arc<Self>, sequence: u32, body: Bytes, fin: bool) {
        let pushed = self.state.lock().inflow.push(sequence, body, fin);
        match pushed {
            Ok(waker) => wake(waker),
            Err(violation) => self.on_violation(violation),
        }
    }

    /// The end of the peer's body, and what follows it.
    pub(crate) fn on_trailers(self: &Arc<Self>, sequence: u32, fields: Bytes) {
        let pushed = match frame::take_trailers(fields) {
            Ok(trailers) => self.state.lock().inflow.push_trailers(sequence, trailers),
            Err(_) => Err(Violation::Malformed),
        };
        match pushed {
            Ok(waker) => wake(waker),
            Err(violation) => self.on_violation(violation),
        }
    }

    pub(crate) fn on_credit(&self, cost: u32) {
        let waker = self.state.lock().outflow.grant(cost);
        wake(waker);
    }

    /// The peer says how many places it has taken: if we saw fewer, some are lost.
    pub(crate) fn on_heartbeat(self: &Arc<Self>, sent: u32) {
        let expected = self.state.lock().inflow.expected();
        if sent > expected {
            self.on_violation(Violation::Gap);
        }
    }

    /// The peer broke the rules: both ends give up.
    fn on_violation(self: &Arc<Self>, violation: Violation) {
        let reason = match violation {
            Violation::Gap => "frames were lost",
            Violation::Overrun => "more was sent than was granted",
            Violation::AfterFin => "a body or an answer came twice",
            Violation::Malformed => "trailers are malformed",
        };
        tracing::debug!(exchange = self.key.id, reason, "exchange aborted");
        if let Some(node) = self.key.calling_node().filter(|_| violation != Violation::Gap) {
            self.shared.drops.note(node, Dropped::Frame, reason, Instant::now());
        }
        self.hint(Frame::Abort { reason: reason.to_owned() });
        self.fail(if violation == Violation::Gap { Failure::Lost } else { Failure::Aborted(reason.to_owned()) });
    }

    /// The exchange is over at this end, without the peer's word.
    pub(crate) fn fail(self: &Arc<Self>, failure: Failure) {
        let how = match &failure {
            Failure::Lost => EndKind::Lost,
            Failure::Deadline => EndKind::Deadline,
            Failure::Aborted(reason) | Failure::Source(reason) => EndKind::Aborted(reason.clone()),
        };
        self.finish(End { payload: None, how }, Some(failure));
    }

    /// Ends the exchange at this end, once.
    fn finish(self: &Arc<Self>, end: End, failure: Option<Failure>) {
        let mut wakers = [const { None }; 4];
        {
            let mut state = self.state.lock();
            if state.over {
                return;
            }
            state.over = true;
            if let Some(failure) = failure {
                wakers[0] = state.inflow.fail(failure.clone());
                if state.answer.is_none() {
                    state.answer = Some(Answer::Failed(failure));
                }
            } else if !state.inflow.fin() {
                wakers[0] = state.inflow.fail(Failure::Aborted("the body has no end".to_owned()));
            }
            wakers[1] = state.outflow.stop();
            wakers[2] = state.answer_waker.take();
            wakers[3] = state.end_waker.take();
            if let Some(sender) = state.end.take() {
                drop(sender.send(end));
            }
        }
        self.shared.table.remove(&self.key);
        if !self.key.caller {
            self.cancelled.cancel();
        }
        wakers.into_iter().for_each(wake);
    }

    /// Nobody reads the body any more. At the caller that cancels, unless the body has come to its end.
    pub(crate) fn reader_gone(self: &Arc<Self>) {
        let cancel = {
            let mut state = self.state.lock();
            state.inflow.discard();
            self.key.caller && !state.over && !state.inflow.fin()
        };
        if cancel {
            self.cancel(false);
        }
    }

    /// The caller wants no more; the exchange stays for the `end`, 2 s at most (the ticker sees to that).
    pub(crate) fn cancel(self: &Arc<Self>, deadline: bool) {
        let mut wakers = [const { None }; 2];
        {
            let mut state = self.state.lock();
            if state.over || state.cancelled_at.is_some() {
                return;
            }
            state.cancelled_at = Some(Instant::now());
            state.cancelled_by_deadline = deadline;
            if !state.inflow.fin() {
                state.inflow.discard();
                let why = if deadline { Failure::Deadline } else { Failure::Aborted("cancelled".to_owned()) };
                wakers[0] = state.inflow.fail(why);
            }
            wakers[1] = state.outflow.stop();
        }
        wakers.into_iter().for_each(wake);
        self.send_soon(Frame::Cancel { deadline });
    }
}

fn how_of(how: How) -> (EndKind, Option<Failure>) {
    match how {
        How::Completed => (EndKind::Completed, None),
        How::Cancelled => (EndKind::Cancelled, Some(Failure::Aborted("cancelled".to_owned()))),
        How::Deadline => (EndKind::Deadline, Some(Failure::Deadline)),
        How::Aborted(reason) => (EndKind::Aborted(reason.clone()), Some(Failure::Aborted(reason))),
    }
}

fn remember(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) if waker.will_wake(cx.waker()) => {}
        _ => *slot = Some(cx.waker().clone()),
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
