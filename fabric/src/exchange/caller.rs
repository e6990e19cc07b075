//! The caller's side: sends the open, waits for the answer's head, streams the request's body.

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use protocol::{InstanceId, NodeId};
use tokio::sync::oneshot;

use super::sender::{gather, gather_all, send_body};
use super::table::Key;
use super::window::{Failure, Violation, WINDOW_COST};
use super::{Answer, END_WAIT, Link, Shared, how_of, remember, wake};
use crate::address::{Identity, Peer, Target, Way};
use crate::body::{Body, InBody, Start};
use crate::call::{CallOptions, End, EndKind};
use crate::error::CallError;
use crate::frame::{self, Frame, Message, ResponseHead};
use crate::profile::{self, Part};
use crate::seal;
use crate::subjects::{self, inbox};

/// How long to wait for the confirmation of a revoke.
const REVOKED_WITHIN: Duration = Duration::from_millis(50);
/// How long to wait for the rest of a request's body that is not there at once, so that it fits in one message.
const START_WITHIN: Duration = Duration::from_millis(2);

/// Cancels the exchange unless the answer's head has come.
struct Guard {
    link: Arc<Link>,
    armed: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.armed {
            self.link.cancel(false);
        }
    }
}

/// One call, from the request to the answer's head.
pub(crate) struct Call {
    pub(crate) shared: Arc<Shared>,
    pub(crate) identity: Identity,
    pub(crate) to: Target,
    pub(crate) options: CallOptions,
    pub(crate) end: oneshot::Sender<End>,
}

impl Call {
    /// `accepted` is called where the peer says that it has accepted.
    pub(crate) async fn run(
        self,
        request: http::Request<Body>,
        accepted: impl FnOnce(),
    ) -> Result<(http::Response<Body>, Peer), CallError> {
        let Self { shared, identity, to, options, end } = self;
        let deadline = Instant::now() + options.deadline;
        let (own_node, from) = match &identity {
            Identity::Core(instance) => (None, instance.uuid()),
            // Which start of the node asks: it alone can read the answer.
            Identity::Node(node) => (Some(*node), seal::boot_id(&shared.boot)),
        };
        let Some(subject) = subjects::target(to, own_node) else {
            return Err(CallError::Unsendable(format!("{to:?} cannot be called from here")));
        };
        wait_until_up(&shared, options.accept_within).await?;

        let (parts, mut body) = request.into_parts();
        let head = frame::request_head_bytes(&parts).map_err(|e| CallError::Unsendable(e.to_string()))?;
        let room = frame::FRAME_MAX_BYTES - head.len();
        let mut start = Start::default();
        if !gather(&mut body, &mut start, room).await {
            drop(tokio::time::timeout(START_WITHIN, gather_all(&mut body, &mut start, room)).await);
        }
        if let Some(error) = start.failed {
            return Err(CallError::Unsendable(error.to_string()));
        }

        let id: u128 = rand::random();
        let (node, peer, reply_to) = match (&identity, to) {
            (Identity::Core(instance), Target::Node(node, endpoint)) => {
                let peer = inbox::node(node, Way::to(endpoint), id);
                (node.uuid().as_u128(), Some(peer), inbox::core_for_node(*instance, node, id))
            }
            (Identity::Core(instance), _) => (0, None, inbox::core(*instance, id)),
            (Identity::Node(node), _) => (0, None, inbox::node(*node, Way::Runs, id)),
        };
        let link = Link::new(Key { caller: true, node, id }, shared.clone(), peer, 0, Some(deadline), Some(end));
        if let (Identity::Core(_), Target::Node(node, _)) = (&identity, to)
            && let Some(key) = shared.boots.key(node)
        {
            link.seal_with(key);
        }
        shared.table.insert(&link);
        let mut guard = Guard { link: link.clone(), armed: true };

        let remaining_ms = deadline.saturating_duration_since(Instant::now()).as_millis();
        let open = Frame::Open {
            from,
            deadline_ms: u32::try_from(remaining_ms).unwrap_or(u32::MAX),
            window: WINDOW_COST,
            head,
            body: start.take_bytes(),
            fin: start.fin,
        };
        let bytes = link.message(link.open_place(), open);
        if shared.wire.publish(&subject, Some(&reply_to), &bytes.parts()).await.is_err() {
            link.fail(Failure::Lost);
            return Err(CallError::Disconnected("the connection to NATS is down".to_owned()));
        }
        if !start.fin {
            tokio::spawn(profile::around(Part::Fabric, pump(link.clone(), start.next(), body)));
        }

        let answered = wait_for_head(&link, &options, deadline, accepted).await;
        let head = match answered {
            Ok(head) => head,
            Err(error) => {
                match &error {
                    CallError::Deadline => link.cancel(true),
                    CallError::NotAccepted { revoked: false } => link.cancel(false),
                    _ => link.fail(Failure::Lost),
                }
                return Err(error);
            }
        };
        guard.armed = false;
        let Ok(parts) = ResponseHead::decode(head) else {
            link.hint(Frame::Abort { reason: "the answer's head is malformed".to_owned() });
            link.fail(Failure::Lost);
            return Err(CallError::Aborted("the answer's head is malformed".to_owned()));
        };
        let peer = match to {
            Target::Node(node, _) => Peer::Node(node),
            Target::Core(_) | Target::FromNode(_) => Peer::Core(link.peer_instance()),
        };
        let body = match link.take_whole() {
            Some(bytes) if bytes.is_empty() => crate::empty(),
            Some(bytes) => crate::full(bytes),
            None => InBody::new(link, Some(deadline)).boxed_unsync(),
        };
        Ok((http::Response::from_parts(parts, body), peer))
    }
}

async fn wait_until_up(shared: &Shared, within: Duration) -> Result<(), CallError> {
    if shared.wire.is_up() || tokio::time::timeout(within, shared.wire.wait_up()).await.is_ok() {
        return Ok(());
    }
    Err(CallError::Disconnected("the connection to NATS is down".to_owned()))
}

async fn wait_for_head(
    link: &Arc<Link>,
    options: &CallOptions,
    deadline: Instant,
    accepted: impl FnOnce(),
) -> Result<Bytes, CallError> {
    let accept_until = deadline.min(Instant::now() + options.accept_within);
    match tokio::time::timeout_at(accept_until.into(), link.answer(true)).await {
        Ok(Some(answer)) => return result_of(answer),
        Ok(None) => {}
        Err(_) if accept_until == deadline => return Err(CallError::Deadline),
        Err(_) => {
            // The peer may have it in its queue still: take it back.
            link.hint(Frame::Revoke);
            match tokio::time::timeout(REVOKED_WITHIN, link.answer(true)).await {
                Ok(Some(answer)) => return result_of(answer),
                Ok(None) => {}
                Err(_) => return Err(CallError::NotAccepted { revoked: false }),
            }
        }
    }
    accepted();
    match tokio::time::timeout_at(deadline.into(), link.answer(false)).await {
        Ok(Some(answer)) => result_of(answer),
        Ok(None) => Err(CallError::Lost),
        Err(_) => Err(CallError::Deadline),
    }
}

fn result_of(answer: Answer) -> Result<Bytes, CallError> {
    Err(match answer {
        Answer::Reply { head } => return Ok(head),
        Answer::Busy(reason) => CallError::Busy(reason),
        Answer::NoResponder => CallError::NoResponder,
        Answer::Revoked => CallError::NotAccepted { revoked: true },
        Answer::Failed(Failure::Lost) => CallError::Lost,
        Answer::Failed(Failure::Deadline) => CallError::Deadline,
        Answer::Failed(Failure::Aborted(reason)) => CallError::Aborted(reason),
        Answer::Failed(Failure::Source(reason)) => CallError::Source(reason),
    })
}

/// Streams the rest of the request's body.
async fn pump(link: Arc<Link>, start: Start, body: Body) {
    if let Err(error) = send_body(&link, start, body).await {
        let reason = format!("the request's body failed: {error}");
        link.hint(Frame::Abort { reason: reason.clone() });
        link.fail(Failure::Source(reason));
    }
}

impl Link {
    /// Waits for the answer. None: accepted (only if `accept_counts`).
    async fn answer(&self, accept_counts: bool) -> Option<Answer> {
        std::future::poll_fn(|cx| {
            let mut state = self.state.lock();
            if let Some(answer) = state.answer.take() {
                return Poll::Ready(Some(answer));
            }
            if accept_counts && state.started {
                return Poll::Ready(None);
            }
            if state.over {
                return Poll::Ready(Some(Answer::Failed(Failure::Lost)));
            }
            remember(&mut state.answer_waker, cx);
            Poll::Pending
        })
        .await
    }

    /// The place of the open, the first of all.
    fn open_place(&self) -> u32 {
        let mut state = self.state.lock();
        let place = state.outflow.take_place();
        state.outflow.publish(place);
        place
    }

    /// The answer's body, if all of it came with the head and the end.
    fn take_whole(&self) -> Option<Bytes> {
        let mut state = self.state.lock();
        if state.over { state.inflow.whole() } else { None }
    }

    fn peer_instance(&self) -> InstanceId {
        InstanceId::from_uuid(uuid::Uuid::from_u128(self.state.lock().peer_instance))
    }

    fn set_answer(self: &Arc<Self>, answer: Answer) {
        let waker = {
            let mut state = self.state.lock();
            if state.answer.is_none() {
                state.answer = Some(answer);
            }
            state.answer_waker.take()
        };
        wake(waker);
    }

    /// The peer has said who it is: from now on it can be spoken to.
    fn on_peer(self: &Arc<Self>, identity: &Identity, from: uuid::Uuid) {
        if self.peer.get().is_none() {
            let instance = InstanceId::from_uuid(from);
            let subject = match identity {
                Identity::Core(_) => inbox::core(instance, self.key.id),
                Identity::Node(node) => inbox::core_for_node(instance, *node, self.key.id),
            };
            self.state.lock().peer_instance = from.as_u128();
            drop(self.peer.set(subject));
        }
        let (waker, cancelled) = {
            let mut state = self.state.lock();
            state.started = true;
            let late = state.cancelled_at.is_some();
            (state.answer_waker.take(), late.then_some(state.cancelled_by_deadline))
        };
        wake(waker);
        if let Some(deadline) = cancelled {
            self.hint(Frame::Cancel { deadline });
        }
    }

    /// A frame from the callee.
    pub(crate) fn on_callee_frame(self: &Arc<Self>, identity: &Identity, message: Message) {
        match message.frame {
            Frame::Accepted { from, window } => {
                self.on_credit(window);
                self.on_peer(identity, from);
            }
            Frame::Busy { reason } => {
                self.set_answer(Answer::Busy(reason.clone()));
                self.fail(Failure::Aborted(reason));
            }
            Frame::Revoked => {
                self.set_answer(Answer::Revoked);
                self.fail(Failure::Lost);
            }
            Frame::Reply { from, window, head, body, fin, end } => {
                if std::mem::replace(&mut self.state.lock().replied, true) {
                    return self.on_violation(Violation::AfterFin);
                }
                self.on_credit(window);
                self.on_data(message.sequence, body, fin);
                self.set_answer(Answer::Reply { head });
                match end {
                    Some(payload) => {
                        self.state.lock().peer_instance = from.as_u128();
                        self.finish_completed(payload);
                    }
                    None => self.on_peer(identity, from),
                }
            }
            Frame::Data { body, fin } => self.on_data(message.sequence, body, fin),
            Frame::Trailers { fields } => self.on_trailers(message.sequence, fields),
            Frame::Credit { cost } => self.on_credit(cost),
            Frame::End { how, payload } => {
                let advanced = self.state.lock().inflow.advance(message.sequence);
                if let Err(violation) = advanced {
                    return self.on_violation(violation);
                }
                let (kind, failure) = how_of(how);
                self.finish(End { payload, how: kind }, failure);
            }
            Frame::Abort { reason } => self.fail(Failure::Aborted(reason)),
            Frame::Heartbeat => self.on_heartbeat(message.sequence),
            Frame::Open { .. } | Frame::Cancel { .. } | Frame::Revoke => {}
        }
    }

    fn finish_completed(self: &Arc<Self>, payload: Bytes) {
        let payload = (!payload.is_empty()).then_some(payload);
        self.finish(End { payload, how: EndKind::Completed }, None);
    }

    /// NATS says that nobody listens where the open went.
    pub(crate) fn on_no_responders(self: &Arc<Self>) {
        if !self.state.lock().started {
            self.set_answer(Answer::NoResponder);
            self.fail(Failure::Lost);
        }
    }

    /// Whether a cancelled exchange has waited long enough for its end; ends it if so.
    pub(crate) fn reap_cancelled(self: &Arc<Self>, now: Instant) -> bool {
        let (due, by_deadline) = {
            let state = self.state.lock();
            let due = state.cancelled_at.is_some_and(|at| now.saturating_duration_since(at) >= END_WAIT);
            (due, state.cancelled_by_deadline)
        };
        if due {
            let how = if by_deadline { EndKind::Deadline } else { EndKind::Cancelled };
            self.finish(End { payload: None, how }, Some(Failure::Lost));
        }
        due
    }
}

/// The node that a subject belongs to, as part of a key.
pub(crate) fn node_key(node: Option<NodeId>) -> u128 {
    node.map_or(0, |node| node.uuid().as_u128())
}
