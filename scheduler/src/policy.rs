//! The policies that order the nodes which may do a run.

use std::borrow::Cow;

use protocol::placement::{Candidate, Placement, Refused};
use rand::RngCore;

use crate::filter::refuse;
use crate::lane::lane_of;
use crate::{NodeView, RunRequest};

/// How many candidates a placement names: more are never asked for one run.
pub const RANKED_MAX: usize = 8;

/// Scores within this part of each other are near-equal: chance orders them, so that several gateways, which all
/// see the same reports, do not run to the same node.
pub const NEAR_EQUAL: f32 = 0.25;

/// A cold node counts as if so much more work for each core were there.
pub const COLD_PENALTY: f32 = 4.0;

/// Orders nodes for a run.
pub trait Policy: Send + Sync {
    /// The best nodes for this run, best first, and why the others may not do it.
    fn rank(&self, request: &RunRequest, nodes: &[NodeView], rng: &mut dyn RngCore) -> Placement;
}

/// The node with the least work for each core.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeastLoaded;

/// A node that has the artifact loaded, the least loaded of them; a cold one when all warm ones are far busier.
#[derive(Debug, Clone, Copy, Default)]
pub struct WarmFirst;

impl Policy for LeastLoaded {
    fn rank(&self, request: &RunRequest, nodes: &[NodeView], rng: &mut dyn RngCore) -> Placement {
        rank_by("least_loaded", request, nodes, rng, |pressure, _| pressure)
    }
}

impl Policy for WarmFirst {
    fn rank(&self, request: &RunRequest, nodes: &[NodeView], rng: &mut dyn RngCore) -> Placement {
        rank_by(
            "warm_first",
            request,
            nodes,
            rng,
            |pressure, warm| if warm { pressure } else { pressure + COLD_PENALTY },
        )
    }
}

/// Filters, scores, and keeps the best.
fn rank_by(
    policy: &'static str,
    request: &RunRequest,
    nodes: &[NodeView],
    rng: &mut dyn RngCore,
    score: impl Fn(f32, bool) -> f32,
) -> Placement {
    let (lane, lane_reason) = lane_of(request);
    let mut top = TopK::new();
    let mut refused = Vec::new();
    for node in nodes {
        if let Some(why) = refuse(request, lane, node) {
            refused.push(Refused { node: node.record.node, why });
            continue;
        }
        let warm = node.warm.contains(&request.artifact);
        let pressure = node.pressure();
        let score = score(pressure, warm) * jitter(rng);
        top.offer(Candidate {
            node: node.record.node,
            lane,
            lane_reason,
            warm,
            running: node.running(),
            pressure,
            score,
        });
    }
    Placement { ranked: top.into_sorted(), refused, policy: Cow::Borrowed(policy) }
}

/// A factor of 1 to 1 + `NEAR_EQUAL`.
#[allow(clippy::cast_precision_loss, reason = "24 bits fit an f32 exactly")]
fn jitter(rng: &mut dyn RngCore) -> f32 {
    const STEPS: u32 = 1 << 24;
    1.0 + NEAR_EQUAL * ((rng.next_u32() % STEPS) as f32 / STEPS as f32)
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
