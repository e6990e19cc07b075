//! The callee's side: admits an open, runs the service, streams its answer, ends the exchange.

mod end;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use protocol::node::BootKey;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::mounted::{Mounted, Slot};
use super::sender::{gather, gather_all, send_body, send_fin};
use super::table::Key;
use super::window::{Failure, WINDOW_COST};
use super::{Link, Shared};
use crate::address::Peer;
use crate::body::{self, Body, BodyError, InBody, Start};
use crate::call::EndKind;
use crate::dropped::Dropped;
use crate::frame::{self, Frame, How, Message, RequestHead};
use crate::profile::{self, Part};
use crate::serve::Exchange;

/// A service that is not done by then says `accepted` first.
const ACCEPT_AFTER: Duration = Duration::from_millis(50);
/// How long to wait for the rest of a short answer, so that it fits in one message.
const START_WITHIN: Duration = Duration::from_millis(2);
/// How long a claimed end is held back: a little less than the caller waits for it.
const HOLD_END: Duration = Duration::from_millis(1_900);
/// The longest deadline that is believed.
const DEADLINE_MAX: Duration = Duration::from_secs(24 * 3600);

/// An open, with what its subject proves.
pub(crate) struct Opened {
    pub(crate) message: Message,
    pub(crate) peer: Peer,
    /// Where the caller hears this exchange.
    pub(crate) reply_to: String,
    pub(crate) key: Key,
    /// Who we are, for the caller.
    pub(crate) from: Uuid,
    /// What the answer is sealed with, where it is.
    pub(crate) seal: Option<BootKey>,
}

/// Takes an open from the reader: quick, never blocks. What costs time runs in the exchange's own task.
pub(crate) fn on_open<S>(shared: &Arc<Shared>, mounted: &Arc<Mounted>, service: impl FnOnce() -> S, opened: Opened)
where
    S: tower::Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Send + 'static,
    S::Future: Send,
{
    let Opened { message, peer, reply_to, key, from, seal } = opened;
    let Frame::Open { deadline_ms, window, head, body, fin, .. } = message.frame else { return };
    let deadline = Instant::now() + Duration::from_millis(u64::from(deadline_ms)).min(DEADLINE_MAX);
    let link = Link::new(key, shared.clone(), Some(reply_to), window, Some(deadline), None);
    if let Some(key) = seal {
        link.seal_with(key);
    }
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
    let serving = Running { link, slot, from, accept_cost, accepted: false, trailers: false };
    tokio::spawn(profile::around(Part::Fabric, serving.run(service(), peer, head, whole, deadline)));
}

/// One exchange that is being served.
struct Running {
    link: Arc<Link>,
    slot: Slot,
    from: Uuid,
    /// What the caller may send after its open.
    accept_cost: u32,
    accepted: bool,
    /// The caller has said `TE: trailers`.
    trailers: bool,
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
            if let Peer::Node(node) = peer {
                self.link.shared.drops.note(node, Dropped::Frame, "its request's head is malformed", Instant::now());
            }
            return self.refuse(Frame::Abort { reason: "the request's head is malformed".to_owned() }).await;
        };
        self.trailers = crate::hop::wants_trailers(&parts.headers);
        // Taken back already: what admission would take, a ticket for example, stays as it is.
        if self.link.is_over() {
            return;
        }
        let mounted = self.slot.mounted.clone();
        let admitted =
            mounted.admit.as_ref().map(|admit| profile::within(Part::Admission, || admit(&parts, peer))).transpose();
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
        let mut start = Start::keeping_trailers(self.trailers);
        if !gather(&mut body, &mut start, room).await {
            drop(tokio::time::timeout(START_WITHIN, gather_all(&mut body, &mut start, room)).await);
        }
        let window = if self.accepted { 0 } else { self.accept_cost };
        // What the service still holds of the run goes with its body, and may be what releases the end.
        let body = (!start.fin).then_some(body);
        if start.fin && link.end_claimed() {
            drop(tokio::time::timeout(START_WITHIN, link.end_released()).await);
        }
        if !link.try_reserve(start.len()) {
            // The caller granted less than a whole frame: the body follows in pieces.
            return self.trickle(head, start, body.unwrap_or_else(body::empty), window, mounted).await;
        }
        let end = (start.is_whole() && link.end_ready()).then(|| link.take_end().unwrap_or_default());
        let done = end.is_some();
        let reply =
            Frame::Reply { from: self.from, window, head, body: start.take_bytes(), fin: start.is_whole(), end };
        if link.send_next(reply).await.is_err() {
            return link.fail(Failure::Lost);
        }
        if done {
            return link.close(EndKind::Completed);
        }
        let Some(body) = body else {
            if start.trailers.is_some() {
                send_fin(&link, start.trailers).await;
            }
            return self.end_after(Ok(()), mounted).await;
        };
        if let Some(error) = start.failed.take() {
            drop(body);
            return self.end_after(Err(error), mounted).await;
        }
        self.stream(start.next(), body, mounted).await;
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
