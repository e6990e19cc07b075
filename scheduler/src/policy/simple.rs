//! The policies that know nothing of how long a run takes: what the learned one must beat.

use protocol::placement::{Placement, Warmth};
use rand::RngCore;

use super::{CACHED_PENALTY, COLD_PENALTY, Policy, jitter, rank_by, unit};
use crate::{NodeView, RunRequest};

/// Any node.
#[derive(Debug, Clone, Copy, Default)]
pub struct Random;

/// One node after the other.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoundRobin {
    next: usize,
}

/// The node with the least work for each core.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeastLoaded;

/// The less loaded of two that chance names.
#[derive(Debug, Clone, Copy, Default)]
pub struct PowerOfTwo;

/// A node that has the artifact loaded, the least loaded of them; another when all warm ones are far busier: first one
/// that only has to load it.
#[derive(Debug, Clone, Copy, Default)]
pub struct WarmFirst;

impl Policy for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn rank(&mut self, request: &RunRequest, nodes: &[NodeView], rng: &mut dyn RngCore) -> Placement {
        rank_by(self.name(), request, nodes, rng, |_, _, _, rng| unit(rng))
    }
}

impl Policy for RoundRobin {
    fn name(&self) -> &'static str {
        "round_robin"
    }

    #[allow(clippy::cast_precision_loss, reason = "nodes are few")]
    fn rank(&mut self, request: &RunRequest, nodes: &[NodeView], rng: &mut dyn RngCore) -> Placement {
        let first = self.next;
        let count = nodes.len().max(1);
        let mut place = 0;
        let mut places = Vec::with_capacity(nodes.len());
        let placement = rank_by(self.name(), request, nodes, rng, |node, _, _, _| {
            // `rank_by` keeps the order of `nodes`, but leaves refused ones out.
            while nodes.get(place).is_some_and(|other| other.record.node != node.record.node) {
                place += 1;
            }
            let distance = (place + count - first % count) % count;
            places.push((distance, place));
            distance as f32
        });
        if let Some((_, chosen)) = places.into_iter().min() {
            self.next = chosen + 1;
        }
        placement
    }
}

impl Policy for LeastLoaded {
    fn name(&self) -> &'static str {
        "least_loaded"
    }

    fn rank(&mut self, request: &RunRequest, nodes: &[NodeView], rng: &mut dyn RngCore) -> Placement {
        rank_by(self.name(), request, nodes, rng, |_, pressure, _, rng| pressure * jitter(rng))
    }
}

impl Policy for PowerOfTwo {
    fn name(&self) -> &'static str {
        "power_of_two"
    }

    /// A random order, the first two of it by load.
    fn rank(&mut self, request: &RunRequest, nodes: &[NodeView], rng: &mut dyn RngCore) -> Placement {
        let mut placement = rank_by(self.name(), request, nodes, rng, |_, _, _, rng| unit(rng));
        if let [first, second, ..] = placement.ranked.as_mut_slice()
            && second.pressure < first.pressure
        {
            std::mem::swap(first, second);
            std::mem::swap(&mut first.score, &mut second.score);
        }
        placement
    }
}

impl Policy for WarmFirst {
    fn name(&self) -> &'static str {
        "warm_first"
    }

    fn rank(&mut self, request: &RunRequest, nodes: &[NodeView], rng: &mut dyn RngCore) -> Placement {
        rank_by(self.name(), request, nodes, rng, |_, pressure, warmth, rng| warm_first(pressure, warmth, rng))
    }
}

/// The score that `WarmFirst` gives a node.
pub(super) fn warm_first(pressure: f32, warmth: Warmth, rng: &mut dyn RngCore) -> f32 {
    let penalty = match warmth {
        Warmth::Warm => 0.0,
        Warmth::Cached => CACHED_PENALTY,
        Warmth::Cold => COLD_PENALTY,
    };
    (pressure + penalty) * jitter(rng)
}
