//! What the callee's end of an exchange knows and hears: whether it may start, who holds its end, what the caller says.

use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;

use crate::call::{End, EndKind};
use crate::exchange::window::Failure;
use crate::exchange::{Claim, Link, remember, wake};
use crate::frame::{self, Frame, How, Message};

impl Link {
    /// The service begins. False: it was revoked or ended before.
    pub(in crate::exchange) fn start(&self) -> bool {
        let mut state = self.state.lock();
        state.started = !state.over && state.cancelled_at.is_none();
        state.started
    }

    pub(in crate::exchange) fn try_reserve(&self, bytes: usize) -> bool {
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

    pub(in crate::exchange) fn end_claimed(&self) -> bool {
        matches!(self.state.lock().end_claim, Claim::Claimed)
    }

    pub(in crate::exchange) fn end_ready(&self) -> bool {
        !self.end_claimed()
    }

    pub(in crate::exchange) async fn end_released(&self) {
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
    pub(in crate::exchange) fn take_end(&self) -> Option<Bytes> {
        match std::mem::replace(&mut self.state.lock().end_claim, Claim::Released(None)) {
            Claim::Released(payload) => payload,
            Claim::Unclaimed | Claim::Claimed => None,
        }
    }

    pub(in crate::exchange) fn was_cancelled(&self) -> bool {
        self.state.lock().cancelled_at.is_some()
    }

    pub(in crate::exchange) fn cancel_how(&self) -> How {
        let state = self.state.lock();
        match (state.cancelled_at, state.cancelled_by_deadline) {
            (Some(_), true) => How::Deadline,
            (Some(_), false) => How::Cancelled,
            (None, _) => How::Aborted("the service stopped".to_owned()),
        }
    }

    /// The exchange has had its end.
    pub(in crate::exchange) fn close(self: &Arc<Self>, how: EndKind) {
        self.finish(End { payload: None, how }, Some(Failure::Aborted("the exchange is over".to_owned())));
    }

    /// A frame from the caller.
    pub(crate) fn on_caller_frame(self: &Arc<Self>, message: Message) {
        match message.frame {
            Frame::Data { body, fin } => self.on_data(message.sequence, body, fin),
            // No caller of ours sends them; the body ends all the same.
            Frame::Trailers { .. } => self.on_data(message.sequence, Bytes::new(), true),
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
    pub(in crate::exchange) fn on_revoke(self: &Arc<Self>) {
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
