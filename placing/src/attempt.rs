//! A run from its placement to its observation.
//!
//! ```text
//!            send                  node accepts         head comes              leave
//! placed ------------> sent ----------------> accepted ----------> answering ----------> ended
//!    ^  reservation,    |  |                     |                     |          last word, conclude
//!    |  ticket, call    |  +---------------------+---------------------+
//!    |                  |       lost, timed out, failed, cancelled
//!    +------------------+
//!      surely not begun, or given up with next_node: another node may be asked
//! ```
//!
//! | state | what the attempt holds |
//! | --- | --- |
//! | placed | facts, and why the run goes where it goes |
//! | sent, accepted | room on the node, and the future of the exchange's end; `send` is pending, dropping it cancels |
//! | answering | the same; the response's body is in a [`crate::ResponseBody`], dropping it cancels |
//! | ended | a verdict; the node's last word is waited for, and changes verdict and observation |
//!
//! Dropping an attempt in any state gives back its room; nothing is observed then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fabric::profile::{self, Part};
use fabric::{CallOptions, EndFuture, Fabric, NodeEndpoint, Target};
use futures::FutureExt as _;
use http::{Request, Response};
use protocol::placement::Explanation;
use protocol::receipt::{Observation, RunEnd};
use protocol::{ByteSize, Code, Digest, Limits, Timestamp, VersionId};
use scheduler::LastWord;

use crate::Placing;
use crate::nodes::Reservation;
use crate::observation::{ObservationDraft, RunFacts};
use crate::verdict::{Fate, Verdict};
use crate::{problem, tickets};

/// A run on its way. Its owner has begun it with [`Placing::begin`].
pub struct Attempt {
    placing: Arc<Placing>,
    draft: ObservationDraft,
    artifact: Digest,
    limits: Limits,
    received: Instant,
    /// When the node that has it was asked.
    asked: Option<Instant>,
    /// When the response's head came.
    head: Option<Instant>,
    /// When all was over here.
    left: Option<Instant>,
    /// The node that has it now, or had it when it was lost.
    on_node: Option<Reservation>,
    /// The end of the exchange with that node; none once it has come.
    end: Option<EndFuture>,
    last_word: Option<RunEnd>,
    verdict: Option<Verdict>,
}

/// A run that is over, for its owner to keep.
#[derive(Debug)]
pub struct Concluded {
    /// What was seen of it.
    pub seen: Observation,
    /// What has become of it.
    pub verdict: Verdict,
}

impl Attempt {
    pub(crate) fn begin(placing: Arc<Placing>, facts: &RunFacts<'_>, artifact: Digest, received: Instant) -> Self {
        let draft = ObservationDraft::begin(placing.instance, facts, Timestamp::now());
        Self {
            placing,
            draft,
            artifact,
            limits: facts.limits,
            received,
            asked: None,
            head: None,
            left: None,
            on_node: None,
            end: None,
            last_word: None,
            verdict: None,
        }
    }

    /// What is seen of it so far.
    #[must_use]
    pub fn so_far(&self) -> &Observation {
        self.draft.so_far()
    }

    /// What is learned of it is this version's, of which it is one of many that do the same.
    pub fn learned_as(&mut self, version: VersionId) {
        self.draft.learned_as(version);
    }

    /// Why it goes where it goes.
    pub fn placed(&mut self, why: Explanation) {
        self.draft.placed(why);
    }

    /// Bytes of the request's body that have come.
    pub fn bytes_in(&mut self, bytes: ByteSize) {
        self.draft.bytes_in(bytes);
    }

    /// Sends the function's request to a node, with a ticket for it, and waits for the head of the function's response.
    /// `accepted` is called where the node says before that it has taken the run. Dropping the future cancels the run on
    /// the node; the attempt then still waits for its last word.
    ///
    /// # Errors
    /// Says what has become of the run instead. A node that has surely not begun it is forgotten.
    pub async fn send(
        &mut self,
        over: &Fabric,
        to: Reservation,
        mut request: Request<fabric::Body>,
        deadline: Instant,
        accepted: impl FnOnce() + Send,
    ) -> Result<Response<fabric::Body>, Verdict> {
        let settings = self.placing.settings;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Verdict::of_code(Code::TimedOut));
        }
        let of = tickets::for_run(self.draft.so_far(), (self.artifact, self.limits), &to);
        let issue = || self.placing.tickets.issue(of, Timestamp::now(), settings.ticket_life);
        let ticket = profile::within(Part::Ticket, issue);
        if !ticket.is_some_and(|ticket| tickets::attach(ticket, request.headers_mut())) {
            return Err(Verdict::no_ticket());
        }
        let options =
            CallOptions { deadline: left + settings.deadline_slack, accept_within: settings.accept_within.min(left) };
        let target = Target::Node(to.node(), NodeEndpoint::Run);
        let (call, end) = over.start_with(target, request, options, accepted);
        self.sent(to, end);
        let verdict = match call.await {
            Ok((response, _)) => {
                self.head = Some(Instant::now());
                let Some(code) = problem::code_of(response.headers()) else {
                    self.draft.status(response.status().as_u16());
                    return Ok(response);
                };
                let said = problem::read(response.into_body(), settings.problem_max).await;
                Verdict::of_problem(code, said.filter(|problem| problem.code == code))
            }
            Err(error) => Verdict::of_error(&error),
        };
        self.judge(&verdict);
        if verdict.surely_not_started() {
            self.next_node();
        }
        Err(verdict)
    }

    fn sent(&mut self, to: Reservation, end: EndFuture) {
        self.draft.on_node(Some(to.node()), to.lane());
        (self.on_node, self.end, self.head) = (Some(to), Some(end), None);
        self.asked = Some(Instant::now());
    }

    /// Others are asked before a node that loses runs.
    fn judge(&self, verdict: &Verdict) {
        if let Some(on) = &self.on_node
            && verdict.suspect()
        {
            self.placing.nodes.suspect(on.node(), Instant::now());
        }
    }

    /// The node that was asked is given up: another one may be asked, and what it says of the run is not waited for.
    pub fn next_node(&mut self) {
        if let Some(on) = self.on_node.take() {
            self.draft.on_node(None, on.lane());
        }
        (self.end, self.head) = (None, None);
    }

    /// More of the response's body has passed; says how much in all.
    pub fn passed_out(&mut self, bytes: usize) -> ByteSize {
        self.draft.passed_out(bytes)
    }

    /// All of the response has passed.
    pub fn completed(&mut self) {
        self.verdict.get_or_insert(Verdict::ANSWERED);
    }

    /// It is over, and its owner knows why. Of several causes the first counts; that all has passed is none, for its owner
    /// may fail to do something with it.
    pub fn fail(&mut self, verdict: Verdict) {
        if self.verdict.as_ref().is_none_or(|known| known.fate == Fate::Answered) {
            self.verdict = Some(verdict);
        }
    }

    /// It is over, and its owner answers with this code instead of the function.
    pub fn refuse(&mut self, code: Code) {
        self.draft.status(code.status());
        self.fail(Verdict::of_code(code));
    }

    /// The request's body broke off so. That is the cause where the response did not come to its end, or was lost.
    pub fn broke_off(&mut self, code: Code) {
        if self.verdict.as_ref().is_none_or(|known| known.fate == Fate::Lost) {
            self.verdict = Some(Verdict::of_code(code));
        }
    }

    /// Nobody waits for more of it: the clock stops. Says how long the head and all of it took.
    pub fn leave(&mut self) -> (Duration, Duration) {
        let left = *self.left.get_or_insert_with(Instant::now);
        let whole = left.saturating_duration_since(self.received);
        let head = self.head.map_or(whole, |head| head.saturating_duration_since(self.received));
        (head, whole)
    }

    /// Whether the node's last word is there, or none will come. A short response brings it along.
    pub fn has_last_word(&mut self) -> bool {
        let Some(end) = &mut self.end else { return true };
        let Some(end) = end.now_or_never() else { return false };
        self.heard(end.payload.as_deref());
        true
    }

    /// Waits for the node's last word, not for ever. What was dropped before is cancelled on the node by now.
    pub async fn last_word(&mut self) {
        let Some(end) = &mut self.end else { return };
        let end = tokio::time::timeout(self.placing.settings.last_word_within, end).await;
        self.heard(end.ok().and_then(|end| end.payload).as_deref());
    }

    fn heard(&mut self, payload: Option<&[u8]>) {
        self.end = None;
        self.last_word = payload.and_then(|payload| protocol::wire::read(payload).ok());
    }

    /// It is over, and all is known of it that will be: room is given back, and what is to be learned is. Without a verdict
    /// whoever it was for went away.
    #[must_use]
    pub fn conclude(mut self) -> Concluded {
        let (head, whole) = self.leave();
        self.draft.took(head, whole);
        let verdict = self.verdict.take().unwrap_or(Verdict::CANCELLED);
        let (seen, verdict) = self.draft.conclude(verdict, self.last_word.take());
        if let Some(on) = self.on_node {
            if verdict.suspect() {
                self.placing.nodes.suspect(on.node(), Instant::now());
            }
            let called = self.left.zip(self.asked).map(|(left, asked)| left.saturating_duration_since(asked));
            on.release(LastWord::of(&seen, called.unwrap_or(whole)));
        }
        self.placing.learning.ended(&seen);
        Concluded { seen, verdict }
    }
}
