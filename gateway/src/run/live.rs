//! A run from its ticket to its observation. However it ends (answered, refused, cut, or its future dropped because
//! the caller went away), dropping it gives back what it held and spools what was seen.

use std::sync::Arc;
use std::time::Instant;

use fabric::EndFuture;
use futures::FutureExt as _;
use protocol::placement::Explanation;
use protocol::receipt::{Observation, Outcome, RunEnd};
use protocol::{ByteSize, Code, Limits, NodeId};
use scheduler::LastWord;

use super::gate::Passed;
use crate::state::Gateway;
use crate::upload::Upload;

/// A run that is going on.
pub(crate) struct LiveRun(Option<Box<Inner>>);

struct Inner {
    gateway: Arc<Gateway>,
    received: Instant,
    head: Option<Instant>,
    seen: Observation,
    upload: Option<Upload>,
    limits: Limits,
    /// The node that has it now.
    on_node: Option<NodeId>,
    end: Option<EndFuture>,
    outcome: Option<Outcome>,
    passed: Passed,
}

impl LiveRun {
    /// Begins; `seen` holds what is known so far.
    pub(crate) fn begin(
        gateway: Arc<Gateway>,
        received: Instant,
        seen: Observation,
        upload: Option<Upload>,
        limits: Limits,
        passed: Passed,
    ) -> Self {
        Self(Some(Box::new(Inner {
            gateway,
            received,
            head: None,
            seen,
            upload,
            limits,
            on_node: None,
            end: None,
            outcome: None,
            passed,
        })))
    }

    /// A node is asked; `end` will say what the run used there, also when the call fails.
    pub(crate) fn sent_to(&mut self, node: NodeId, lane: protocol::Lane, end: EndFuture) {
        let Some(inner) = &mut self.0 else { return };
        inner.seen.lane = lane;
        inner.gateway.nodes.started(node, inner.limits.memory_in(lane));
        inner.on_node = Some(node);
        inner.end = Some(end);
    }

    /// Why it goes where it goes.
    pub(crate) fn placed(&mut self, why: Explanation) {
        if let Some(inner) = &mut self.0 {
            inner.seen.placement = Some(why);
        }
    }

    /// It did not take the run.
    pub(crate) fn not_taken(&mut self) {
        let Some(inner) = &mut self.0 else { return };
        if let Some(node) = inner.on_node.take() {
            inner.gateway.nodes.ended(node, inner.limits.memory_in(inner.seen.lane), None);
        }
        (inner.head, inner.end) = (None, None);
    }

    /// It has answered.
    pub(crate) fn answered(&mut self) {
        if let Some(inner) = &mut self.0 {
            inner.head = Some(Instant::now());
        }
    }

    /// The answer's status.
    pub(crate) fn status(&mut self, status: u16) {
        if let Some(inner) = &mut self.0 {
            inner.seen.status = status;
        }
    }

    /// More of the answer has passed; says how much in all.
    pub(crate) fn passed_out(&mut self, bytes: usize) -> u64 {
        let Some(inner) = &mut self.0 else { return 0 };
        inner.seen.bytes_out = inner.seen.bytes_out.saturating_add(ByteSize(bytes as u64));
        inner.seen.bytes_out.0
    }

    /// It is over, as the function would have it.
    pub(crate) fn completed(&mut self) {
        if let Some(inner) = &mut self.0 {
            inner.outcome.get_or_insert(Outcome::Succeeded);
        }
    }

    /// It is over, and we answer instead.
    pub(crate) fn refused(&mut self, code: Code) {
        self.status(code.status());
        self.failed(code);
    }

    /// It is over, and we know why.
    pub(crate) fn failed(&mut self, code: Code) {
        if let Some(inner) = &mut self.0 {
            inner.seen.code.get_or_insert(code);
            inner.outcome.get_or_insert(Outcome::of(code));
        }
    }
}

impl Drop for LiveRun {
    fn drop(&mut self) {
        let Some(mut inner) = self.0.take() else { return };
        let now = Instant::now();
        inner.seen.head_us = micros(inner.received, inner.head.unwrap_or(now));
        inner.seen.wall_us = micros(inner.received, now);
        inner.seen.bytes_in = inner.upload.as_ref().map_or(ByteSize(0), Upload::received);
        inner.seen.outcome = inner.outcome.unwrap_or(Outcome::Cancelled);
        // A node that was asked and then lost may have begun.
        inner.seen.node = inner.on_node;
        let head = inner.head.unwrap_or(now).saturating_duration_since(inner.received);
        inner.gateway.meters.run_ended(head, now.saturating_duration_since(inner.received));
        let Some(mut end) = inner.end.take() else {
            inner.conclude(None);
            return;
        };
        // A short answer has brought its end with it.
        match (&mut end).now_or_never() {
            Some(end) => inner.conclude(end.payload.as_deref()),
            None => {
                let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
                let gateway = Arc::clone(&inner.gateway);
                let last_word = async move {
                    let end = inner.gateway.leaving.run_until_cancelled(end).await;
                    inner.conclude(end.and_then(|end| end.payload).as_deref());
                };
                gateway.concluding.spawn_on(last_word, &runtime);
            }
        }
    }
}

impl Inner {
    fn conclude(self, end: Option<&[u8]>) {
        let Self { gateway, mut seen, limits, on_node, passed, .. } = self;
        let end: Option<RunEnd> = end.and_then(|payload| protocol::wire::read(payload).ok());
        if let Some(end) = &end {
            // The node knows why an answer broke off; whether the caller went away, only we do.
            let told = matches!(end.outcome, Outcome::Failed | Outcome::TimedOut | Outcome::PlatformFailed);
            if told && seen.outcome != Outcome::Cancelled {
                seen.outcome = end.outcome;
                seen.code = end.code.or(seen.code);
            }
        }
        seen.take_end(end);
        if let Some(node) = on_node {
            gateway.nodes.ended(node, limits.memory_in(seen.lane), LastWord::of(&seen));
        }
        drop(passed);
        gateway.learning.ended(&seen);
        gateway.spool.push(seen);
    }
}

fn micros(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_micros()).unwrap_or(u64::MAX)
}
