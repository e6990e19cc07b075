//! What is seen of a run, from what is known before a node is asked to the node's last word. Pure.

#[cfg(test)]
mod tests;

use std::time::Duration;

use protocol::placement::{Explanation, lane_of};
use protocol::receipt::{Observation, Outcome, RunEnd};
use protocol::route::VersionRoute;
use protocol::{
    AccountId, ByteSize, FunctionId, InstanceId, JobId, Lane, Limits, NodeId, RunId, RunPrincipal, RunSource,
    Timestamp, VersionId,
};

use crate::verdict::{Fate, Verdict};

/// Characters of a path that an observation keeps.
pub const PATH_CHARS_MAX: usize = 256;

/// What is known of a run before a node is asked.
#[derive(Debug, Clone, Copy)]
pub struct RunFacts<'a> {
    /// Which run.
    pub run: RunId,
    /// Who pays.
    pub account: AccountId,
    /// What is run.
    pub function: FunctionId,
    /// Which version of it.
    pub version: VersionId,
    /// Its number.
    pub version_number: u32,
    /// What the run may use, a job's own limits for example.
    pub limits: Limits,
    /// The lane, as far as it is known: node and lane are chosen together.
    pub lane: Lane,
    /// The job that it is a try of.
    pub job: Option<JobId>,
    /// The request's method.
    pub method: &'a str,
    /// The request's path, with or without its query.
    pub path: &'a str,
    /// What made the run, where that is known.
    pub source: Option<RunSource>,
    /// On whose behalf, where that is known.
    pub principal: Option<&'a RunPrincipal>,
}

impl RunFacts<'static> {
    /// A run of this version, in the lane that the rule names; neither method nor path, of no job, and of unknown source.
    #[must_use]
    pub fn of(run: RunId, account: AccountId, function: FunctionId, version: &VersionRoute) -> Self {
        Self {
            run,
            account,
            function,
            version: version.version,
            version_number: version.number,
            limits: version.limits,
            lane: lane_of(version.lane, version.kind, &version.limits, version.form).0,
            job: None,
            method: "",
            path: "",
            source: None,
            principal: None,
        }
    }
}

/// An observation that is not complete yet.
#[derive(Debug, Clone)]
pub struct ObservationDraft {
    seen: Observation,
}

impl ObservationDraft {
    /// `observer` is the process that sees the run, which came to it at `received`.
    #[must_use]
    pub fn begin(observer: InstanceId, facts: &RunFacts<'_>, received: Timestamp) -> Self {
        let path = facts.path.split('?').next().unwrap_or_default();
        let seen = Observation {
            run: facts.run,
            gateway: observer,
            account: facts.account,
            function: facts.function,
            version: facts.version,
            version_number: facts.version_number,
            node: None,
            lane: facts.lane,
            received,
            head_us: 0,
            wall_us: 0,
            outcome: Outcome::Cancelled,
            status: 0,
            code: None,
            method: facts.method.to_owned(),
            path: path.chars().take(PATH_CHARS_MAX).collect(),
            bytes_in: ByteSize(0),
            bytes_out: ByteSize(0),
            end: None,
            placement: None,
            job: facts.job,
            limits: Some(facts.limits),
            source: facts.source,
            principal: facts.principal.cloned(),
        };
        Self { seen }
    }

    /// What is seen so far.
    #[must_use]
    pub fn so_far(&self) -> &Observation {
        &self.seen
    }

    /// What is learned of it is this version's.
    pub fn learned_as(&mut self, version: VersionId) {
        self.seen.version = version;
    }

    /// Why it goes where it goes.
    pub fn placed(&mut self, why: Explanation) {
        self.seen.placement = Some(why);
    }

    /// The node that has it, or had it when it was lost; in that lane.
    pub fn on_node(&mut self, node: Option<NodeId>, lane: Lane) {
        (self.seen.node, self.seen.lane) = (node, lane);
    }

    /// The response's status.
    pub fn status(&mut self, status: u16) {
        self.seen.status = status;
    }

    /// Bytes of the request's body that have come.
    pub fn bytes_in(&mut self, bytes: ByteSize) {
        self.seen.bytes_in = bytes;
    }

    /// More of the response's body has passed; says how much in all.
    pub fn passed_out(&mut self, bytes: usize) -> ByteSize {
        self.seen.bytes_out = self.seen.bytes_out.saturating_add(ByteSize(bytes as u64));
        self.seen.bytes_out
    }

    /// From the request's arrival to the response's head, and to its end.
    pub fn took(&mut self, head: Duration, whole: Duration) {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        (self.seen.head_us, self.seen.wall_us) = (micros(head), micros(whole));
    }

    /// Completes it with the node's last word, where there is one; and the verdict, which that may have changed.
    #[must_use]
    pub fn conclude(mut self, verdict: Verdict, end: Option<RunEnd>) -> (Observation, Verdict) {
        let verdict = verdict.with_last_word(end.as_ref());
        (self.seen.outcome, self.seen.code) = (verdict.outcome(), verdict.code);
        // A caller has had the status that came; a job's is kept until all has come, so that nobody has had it.
        if self.seen.job.is_some() && verdict.fate != Fate::Answered {
            self.seen.status = verdict.code.map_or(0, |code| code.status());
        }
        self.seen.take_end(end);
        (self.seen, verdict)
    }
}
