//! The policies that order the nodes which may do a run, and the runs that wait.

mod hashing;
mod knowledge;
mod learned;
mod shortest;
mod simple;
mod tuning;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use protocol::Lane;
use protocol::placement::{Candidate, LaneReason, Placement, Refusal, Refused, Warmth};
use rand::RngCore;

use crate::filter::refuse;
use crate::lane::lane_of;
use crate::{Finished, NodeView, RunRequest, Snapshot};

pub use hashing::BoundedHash;
pub use knowledge::{Knowledge, Memo, Standing};
pub use learned::Learned;
pub use shortest::ShortestMean;
pub use simple::{LeastLoaded, PowerOfTwo, Random, RoundRobin, WarmFirst};
pub use tuning::Tuning;

/// How many candidates a placement names: more are never asked for one run.
pub const RANKED_MAX: usize = 8;

/// Scores within this part of each other are near-equal: chance orders them, so that several gateways, which all
/// see the same reports, do not run to the same node.
pub const NEAR_EQUAL: f32 = 0.25;

/// A cold node counts as if so much more work for each core were there.
pub const COLD_PENALTY: f32 = 4.0;

/// The same for one that only has to load the artifact.
pub(crate) const CACHED_PENALTY: f32 = 1.0;

/// When a run is given to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// At once: it waits in the node's own queue.
    Early,
    /// When a slot is free: it waits where the placement is made.
    Late,
}

/// Orders nodes for a run, and runs that wait for a node.
pub trait Policy: Send + Sync {
    /// What it is called in explanations and reports.
    fn name(&self) -> &'static str;

    /// The best nodes for this run, best first, and why the others may not do it.
    fn rank(&mut self, request: &RunRequest, nodes: &[NodeView], rng: &mut dyn RngCore) -> Placement;

    /// Whether runs wait at the nodes or before them.
    fn binding(&self) -> Binding {
        Binding::Early
    }

    /// The place among the waiting runs of one that came at `since` (of the caller's clock): the least goes first.
    fn order(&mut self, _request: &RunRequest, since: Duration) -> f64 {
        since.as_secs_f64()
    }

    /// Whether it can use a model.
    fn learns(&self) -> bool {
        false
    }

    /// A run ended.
    fn observe(&mut self, _finished: &Finished) {}

    /// Time went on, to this moment of the caller's clock.
    fn pass(&mut self, _now: Duration) {}

    /// A new model is there.
    fn adopt(&mut self, _snapshot: &Arc<Snapshot>) {}
}

/// Filters, scores, and keeps the best, in the lane that the rule names.
fn rank_by(
    policy: &'static str,
    request: &RunRequest,
    nodes: &[NodeView],
    rng: &mut dyn RngCore,
    mut score: impl FnMut(&NodeView, f32, Warmth, &mut dyn RngCore) -> f32,
) -> Placement {
    let by_rule = lane_of(request);
    let score =
        |(_, node): (usize, &NodeView), _, pressure, warmth, rng: &mut dyn RngCore| score(node, pressure, warmth, rng);
    rank_in(policy, request, nodes, rng, |_| by_rule, score)
}

/// The same, each node in a lane of its own, and with its place among the nodes.
fn rank_in(
    policy: &'static str,
    request: &RunRequest,
    nodes: &[NodeView],
    rng: &mut dyn RngCore,
    lane_on: impl Fn(&NodeView) -> (Lane, LaneReason),
    mut score: impl FnMut((usize, &NodeView), Lane, f32, Warmth, &mut dyn RngCore) -> f32,
) -> Placement {
    let mut top = TopK::new();
    let mut refused = Vec::new();
    for (place, node) in nodes.iter().enumerate() {
        let (lane, lane_reason) = lane_on(node);
        if let Some(why) = refuse(request, lane, node) {
            let agreed = (why == Refusal::New).then(|| node.record.trust().agreed);
            refused.push(Refused { node: node.record.node, why, agreed });
            continue;
        }
        let warmth = node.warmth(&request.artifact);
        let pressure = node.pressure();
        let score = score((place, node), lane, pressure, warmth, rng);
        top.offer(Candidate {
            node: node.record.node,
            lane,
            lane_reason,
            warmth,
            running: node.running(),
            pressure,
            predicted_s: None,
            predicted_failure: None,
            distance_s: Some(node.distance.get()).filter(|away| !away.is_zero()).map(|away| away.as_secs_f32()),
            score,
        });
    }
    Placement { ranked: top.into_sorted(), refused, policy: Cow::Borrowed(policy) }
}

/// A factor of 1 to 1 + `NEAR_EQUAL`.
fn jitter(rng: &mut dyn RngCore) -> f32 {
    jitter_of(NEAR_EQUAL, rng)
}

/// A factor of 1 to 1 + `part`.
fn jitter_of(part: f32, rng: &mut dyn RngCore) -> f32 {
    1.0 + part * unit(rng)
}

/// From 0 to 1, evenly.
#[allow(clippy::cast_precision_loss, reason = "24 bits fit an f32 exactly")]
fn unit(rng: &mut dyn RngCore) -> f32 {
    const STEPS: u32 = 1 << 24;
    (rng.next_u32() % STEPS) as f32 / STEPS as f32
}

/// The best `RANKED_MAX` seen so far, sorted: most nodes are turned away by one comparison.
struct TopK(Vec<Candidate>);

impl TopK {
    fn new() -> Self {
        Self(Vec::with_capacity(RANKED_MAX + 1))
    }

    fn offer(&mut self, candidate: Candidate) {
        if self.0.len() == RANKED_MAX && self.0.last().is_some_and(|worst| worst.score <= candidate.score) {
            return;
        }
        let place = self.0.partition_point(|better| better.score <= candidate.score);
        self.0.insert(place, candidate);
        self.0.truncate(RANKED_MAX);
    }

    fn into_sorted(self) -> Vec<Candidate> {
        self.0
    }
}
