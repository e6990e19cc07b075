//! The callee's side: admits an open, runs the service, streams its answer, ends the exchange.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::caller::{gather, gather_all, send_body};
use super::table::Key;
use super::window::{Failure, WINDOW_COST};
use super::{Claim, Link, Shared, remember, wake};
use crate::address::Peer;
use crate::body::{self, Body, BodyError, InBody, Start};
use crate::call::{End, EndKind};
use crate::frame::{self, Frame, How, Message, RequestHead};
use crate::serve::{Admit, Exchange, ServeOptions};
use crate::wire::Subscription;

/// A service that is not done by then says `accepted` first.
const ACCEPT_AFTER: Duration = Duration::from_millis(50);
/// How long to wait for the rest of a short answer, so that it fits in one message.
const START_WITHIN: Duration = Duration::from_millis(2);
/// How long a claimed end is held back: a little less than the caller waits for it.
const HOLD_END: Duration = Duration::from_millis(1_900);
/// Exchanges at once of one calling node, so that no lender takes all places.
const NODE_SHARE: usize = 64;
/// The longest deadline that is believed.
const DEADLINE_MAX: Duration = Duration::from_secs(24 * 3600);
const CONCURRENCY_DEFAULT: usize = 4096;

/// A mounted service's counters and its switch.
pub(crate) struct Mounted {
    pub(crate) admit: Option<Admit>,
    concurrency: usize,
    live: AtomicUsize,
    /// Of each calling node.
    of_node: parking_lot::Mutex<HashMap<u128, usize>>,
    idle: Notify,
    draining: AtomicBool,
    stopped: CancellationToken,
    pub(crate) subscription: parking_lot::Mutex<Option<Subscription>>,
}

impl Mounted {
    pub(crate) fn new(options: ServeOptions) -> Arc<Self> {
        Arc::new(Self {
            admit: options.admit,
            concurrency: options.concurrency.unwrap_or(CONCURRENCY_DEFAULT),
            live: AtomicUsize::new(0),
            of_node: parking_lot::Mutex::default(),
            idle: Notify::new(),
            draining: AtomicBool::new(false),
            stopped: CancellationToken::new(),
            subscription: parking_lot::Mutex::new(None),
        })
    }

    pub(crate) fn stop(&self) {
        drop(self.subscription.lock().take());
        self.draining.store(true, Ordering::Relaxed);
        self.stopped.cancel();
    }

    pub(crate) async fn drain(&self, grace: Duration) {
        // Who still asks is told, until the server sends no more.
        self.draining.store(true, Ordering::Relaxed);
        let subscription = self.subscription.lock().take();
        if let Some(subscription) = subscription {
            subscription.end().await;
        }
        let idle = async {
            loop {
                let notified = self.idle.notified();
                if self.live.load(Ordering::Acquire) == 0 {
                    return;
                }
                notified.await;
            }
        };
        drop(tokio::time::timeout(grace, idle).await);
        self.stopped.cancel();
    }

    /// A place among the running ones.
    fn enter(self: &Arc<Self>, node: u128) -> Result<Slot, &'static str> {
        if self.draining.load(Ordering::Relaxed) {
            return Err("draining");
        }
        if node != 0 {
            let mut of_node = self.of_node.lock();
            let live = of_node.entry(node).or_default();
            if *live >= NODE_SHARE {
                return Err("too many exchanges of this node at once");
            }
            *live += 1;
        }
        let slot = Slot { mounted: self.clone(), node };
        if self.live.fetch_add(1, Ordering::AcqRel) >= self.concurrency {
            return Err("too many exchanges at once");
        }
        Ok(slot)
    }
}

/// One running exchange of a mounted service.
struct Slot {
    mounted: Arc<Mounted>,
    node: u128,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.node != 0 {
            let mut of_node = self.mounted.of_node.lock();
            if let Some(live) = of_node.get_mut(&self.node) {
                *live -= 1;
                if *live == 0 {
                    of_node.remove(&self.node);
                }
            }
        }
        if self.mounted.live.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.mounted.idle.notify_waiters();
        }
    }
}

/// An open, with what its subject proves.
pub(crate) struct Opened {
    pub(crate) message: Message,
    pub(crate) peer: Peer,
    /// Where the caller hears this exchange.
    pub(crate) reply_to: String,
    pub(crate) key: Key,
    /// Who we are, for the caller.
    pub(crate) from: Uuid,
}

/// Takes an open from the reader: quick, never blocks. What costs time runs in the exchange's own task.
pub(crate) fn on_open<S>(shared: &Arc<Shared>, mounted: &Arc<Mounted>, service: impl FnOnce() -> S, opened: Opened)
where
    S: tower::Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Send + 'static,
    S::Future: Send,
{
    let Opened { message, peer, reply_to, key, from } = opened;
    let Frame::Open { deadline_ms, window, head, body, fin, .. } = message.frame else { return };
    let deadline = Instant::now() + Duration::from_millis(u64::from(deadline_ms)).min(DEADLINE_MAX);
    let link = Link::new(key, shared.clone(), Some(reply_to), window, Some(deadline), None);
    if shared.table.is_revoked(&key) {
        link.hint(Frame::Revoked);
        return;
    }
    let slot = match mounted.enter(key.node) {
        Ok(slot) => slot,
        Err(reason) => return link.hint(Frame::Busy { reason: reason.to_owned() }),
    };
    let accept_cost = WINDOW_COST.saturating_sub(if body.is_empty() { 0 } else { frame::cost_of(body.len()) });
    let whole = fin.then(|| body.clone());
    link.on_data(message.sequence, if fin { Bytes::new() } else { body }, fin);
    if link.is_over() || !shared.table.insert(&link) {
        return;
    }
    let serving = Running { link, slot, from, accept_cost, accepted: false };
    tokio::spawn(serving.run(service(), peer, head, whole, deadline));
}

/// One exchange that is being served.
struct Running {
    link: Arc<Link>,
    slot: Slot,
    from: Uuid,
    /// What the caller may send after its open.
    accept_cost: u32,
    accepted: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only a panic of the service leaves it unfinished.
        if !self.link.is_over() {
            let reason = "the service failed".to_owned();
            self.link.hint(Frame::Abort { reason: reason.clone() });
            self.link.fail(Failure::Aborted(reason));
        }
    }
}

impl Running {
    async fn run<S>(mut self, service: S, peer: Peer, head: Bytes, whole: Option<Bytes>, deadline: Instant)
    where
        S: tower::Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    {
        let Ok(mut parts) = RequestHead::decode(head) else {
            return self.refuse(Frame::Abort { reason: "the request's head is malformed".to_owned() }).await;
        };
        let mounted = self.slot.mounted.clone();
        let admitted = mounted.admit.as_ref().map(|admit| admit(&parts, peer)).transpose();
        match admitted {
            Ok(Some(permit)) => drop(parts.extensions.insert(permit)),
            Ok(None) => {}
            Err(busy) => return self.refuse(Frame::Busy { reason: busy.reason }).await,
        }
        let link = self.link.clone();
        if !link.start() {
            return;
        }
        parts.extensions.insert(peer);
        parts.extensions.insert(Exchange {
            deadline: Some(deadline),
            cancelled: link.cancelled.clone(),
            link: link.clone(),
        });
        let streamed = whole.is_none();
        let body = match whole {
            Some(bytes) if bytes.is_empty() => body::empty(),
            Some(bytes) => body::full(bytes),
            None => InBody::new(link.clone(), None).boxed_unsync(),
        };
        if streamed {
            self.accept().await;
        }
        let called = Box::pin(service.oneshot(http::Request::from_parts(parts, body)));
        if let Some(response) = self.respond(called, &mounted).await {
            self.answer(response, &mounted).await;
        }
    }

    /// Says no.
    async fn refuse(&self, frame: Frame) {
        drop(self.link.send(0, frame).await);
        self.link.close(EndKind::Aborted("refused".to_owned()));
    }

    async fn accept(&mut self) {
        if !self.accepted {
            self.accepted = true;
            drop(self.link.send(0, Frame::Accepted { from: self.from, window: self.accept_cost }).await);
        }
    }

    /// Drives the service to its response. None: the exchange ended before.
    async fn respond<F>(&mut self, mut called: F, mounted: &Mounted) -> Option<http::Response<Body>>
    where
        F: Future<Output = Result<http::Response<Body>, Infallible>> + Unpin,
    {
        if let Poll::Ready(Ok(response)) = futures::poll!(&mut called) {
            return Some(response);
        }
        let link = self.link.clone();
        loop {
            tokio::select! {
                biased;
                Ok(response) = &mut called => return Some(response),
                () = link.cancelled.cancelled() => break,
                () = mounted.stopped.cancelled() => break,
                () = tokio::time::sleep(ACCEPT_AFTER), if !self.accepted => self.accept().await,
            }
        }
        link.cancelled.cancel();
        if link.end_claimed() {
            // The service knows from its token; it may still say what the run has used.
            let released = async {
                tokio::select! {
                    biased;
                    () = link.end_released() => {}
                    _ = &mut called => link.end_released().await,
                }
            };
            drop(tokio::time::timeout(HOLD_END, released).await);
        }
        drop(called);
        self.end(link.cancel_how()).await;
        None
    }

    /// Sends the response, whole or in pieces, and the end.
    async fn answer(&mut self, response: http::Response<Body>, mounted: &Mounted) {
        let link = self.link.clone();
        let (parts, mut body) = response.into_parts();
        let head = match frame::response_head_bytes(&parts) {
            Ok(head) => head,
            Err(error) => {
                drop(body);
                return self.end(How::Aborted(format!("the answer's head cannot be sent: {error}"))).await;
            }
        };
        let room = frame::FRAME_MAX_BYTES - head.len();
        let mut start = Start::default();
        if !gather(&mut body, &mut start, room).await {
            drop(tokio::time::timeout(START_WITHIN, gather_all(&mut body, &mut start, room)).await);
        }
        let window = if self.accepted { 0 } else { self.accept_cost };
        if start.fin && link.end_claimed() && !link.end_ready() {
            drop(tokio::time::timeout(START_WITHIN, link.end_released()).await);
        }
        if !link.try_reserve(start.len()) {
            // The caller granted less than a whole frame: the body follows in pieces.
            return self.trickle(head, start, body, window, mounted).await;
        }
        let end = (start.fin && link.end_ready()).then(|| link.take_end().unwrap_or_default());
        let done = end.is_some();
        let reply = Frame::Reply { from: self.from, window, head, body: start.take_bytes(), fin: start.fin, end };
        if link.send_next(reply).await.is_err() {
            return link.fail(Failure::Lost);
        }
        if done {
            return link.close(EndKind::Completed);
        }
        if start.fin {
            return self.end_after(Ok(()), mounted).await;
        }
        if let Some(error) = start.failed {
            drop(body);
            return self.end_after(Err(error), mounted).await;
        }
        self.stream(Start::of(start.rest), body, mounted).await;
    }

    /// Sends the head alone and all of the body in pieces.
    async fn trickle(&mut self, head: Bytes, start: Start, rest: Body, window: u32, mounted: &Mounted) {
        let reply = Frame::Reply { from: self.from, window, head, body: Bytes::new(), fin: false, end: None };
        if self.link.send_next(reply).await.is_err() {
            return self.link.fail(Failure::Lost);
        }
        self.stream(start, rest, mounted).await;
    }

    async fn stream(&mut self, start: Start, body: Body, mounted: &Mounted) {
        let link = self.link.clone();
        let sent = tokio::select! {
            biased;
            () = link.cancelled.cancelled() => None,
            () = mounted.stopped.cancelled() => None,
            sent = send_body(&link, start, body) => Some(sent),
        };
        match sent {
            Some(sent) => self.end_after(sent, mounted).await,
            None => {
                link.cancelled.cancel();
                if link.end_claimed() {
                    drop(tokio::time::timeout(HOLD_END, link.end_released()).await);
                }
                self.end(link.cancel_how()).await;
            }
        }
    }

    /// The body is at its end: waits for a claimed end's payload.
    async fn end_after(&mut self, sent: Result<(), BodyError>, mounted: &Mounted) {
        let link = self.link.clone();
        let how = match sent {
            Ok(()) => How::Completed,
            Err(error) => {
                link.cancelled.cancel();
                How::Aborted(match error {
                    BodyError::Source(source) => source.to_string(),
                    other => other.to_string(),
                })
            }
        };
        if link.end_claimed() {
            let released = async {
                tokio::select! {
                    () = link.end_released() => {}
                    () = mounted.stopped.cancelled() => {}
                }
            };
            drop(tokio::time::timeout(HOLD_END, released).await);
        }
        let how = if how == How::Completed && link.was_cancelled() { link.cancel_how() } else { how };
        self.end(how).await;
    }

    /// Sends the end and forgets the exchange.
    async fn end(&mut self, how: How) {
        if self.link.is_over() {
            return;
        }
        let payload = self.link.take_end();
        drop(self.link.send_next(Frame::End { how, payload }).await);
        self.link.close(EndKind::Completed);
    }
}

impl Link {
    /// The service begins. False: it was revoked or ended before.
    fn start(&self) -> bool {
        let mut state = self.state.lock();
        state.started = !state.over && state.cancelled_at.is_none();
        state.started
    }

    fn try_reserve(&self, bytes: usize) -> bool {
        if bytes == 0 {
            return true;
        }
        self.state.lock().outflow.reserve_whole(bytes)
    }

    pub(crate) fn claim_end(&self) -> bool {
        let mut state = self.state.lock();
        let free = matches!(state.end_claim, Claim::Unclaimed);
        if free {
            state.end_claim = Claim::Claimed;
        }
        free
    }

    pub(crate) fn release_end(&self, payload: Option<Bytes>) {
        let payload = payload.filter(|payload| payload.len() <= frame::END_PAYLOAD_MAX_BYTES);
        let waker = {
            let mut state = self.state.lock();
            state.end_claim = Claim::Released(payload);
            state.end_waker.take()
        };
        wake(waker);
    }

    fn end_claimed(&self) -> bool {
        matches!(self.state.lock().end_claim, Claim::Claimed)
    }

    fn end_ready(&self) -> bool {
        !self.end_claimed()
    }

    async fn end_released(&self) {
        std::future::poll_fn(|cx| {
            let mut state = self.state.lock();
            if matches!(state.end_claim, Claim::Claimed) {
                remember(&mut state.end_waker, cx);
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    /// The payload; nobody can claim it any more.
    fn take_end(&self) -> Option<Bytes> {
        match std::mem::replace(&mut self.state.lock().end_claim, Claim::Released(None)) {
            Claim::Released(payload) => payload,
            Claim::Unclaimed | Claim::Claimed => None,
        }
    }

    fn was_cancelled(&self) -> bool {
        self.state.lock().cancelled_at.is_some()
    }

    fn cancel_how(&self) -> How {
        let state = self.state.lock();
        match (state.cancelled_at, state.cancelled_by_deadline) {
            (Some(_), true) => How::Deadline,
            (Some(_), false) => How::Cancelled,
            (None, _) => How::Aborted("the service stopped".to_owned()),
        }
    }

    /// The exchange has had its end.
    fn close(self: &Arc<Self>, how: EndKind) {
        self.finish(End { payload: None, how }, Some(Failure::Aborted("the exchange is over".to_owned())));
    }

    /// A frame from the caller.
    pub(crate) fn on_caller_frame(self: &Arc<Self>, message: Message) {
        match message.frame {
            Frame::Data { body, fin } => self.on_data(message.sequence, body, fin),
            Frame::Credit { cost } => self.on_credit(cost),
            Frame::Abort { reason } => self.fail(Failure::Aborted(reason)),
            Frame::Cancel { deadline } => self.on_cancel(deadline),
            Frame::Heartbeat => self.on_heartbeat(message.sequence),
            Frame::Revoke => self.on_revoke(),
            _ => {}
        }
    }

    /// The caller wants no more, or its deadline has passed.
    pub(crate) fn on_cancel(self: &Arc<Self>, deadline: bool) {
        let waker = {
            let mut state = self.state.lock();
            if state.over || state.cancelled_at.is_some() {
                return;
            }
            state.cancelled_at = Some(Instant::now());
            state.cancelled_by_deadline = deadline;
            let failure =
                if deadline { Failure::Deadline } else { Failure::Aborted("the caller cancelled".to_owned()) };
            state.inflow.fail(failure)
        };
        wake(waker);
        self.cancelled.cancel();
    }

    /// The caller takes its open back: possible only before the service has begun.
    fn on_revoke(self: &Arc<Self>) {
        let revoked = {
            let mut state = self.state.lock();
            let revoked = !state.started && !state.over;
            if revoked {
                state.cancelled_at = Some(Instant::now());
            }
            revoked
        };
        if revoked {
            self.hint(Frame::Revoked);
            self.close(EndKind::Cancelled);
        }
    }
}
