//! Warm-first with shortest job first by the running mean: the baseline that counts. It uses no hindsight.

use std::collections::HashMap;
use std::time::Duration;

use protocol::VersionId;
use protocol::placement::Placement;
use rand::RngCore;

use super::simple::warm_first;
use super::{Binding, Policy, rank_by};
use crate::{Finished, NodeView, RunRequest};

/// Runs wait centrally; the version with the shortest mean run so far goes first, to a warm node if one is free.
#[derive(Debug, Clone, Default)]
pub struct ShortestMean {
    means: HashMap<VersionId, Mean>,
    all: Mean,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    count: f64,
    seconds: f64,
}

impl Mean {
    fn add(&mut self, wall: Duration) {
        self.count += 1.0;
        self.seconds += (wall.as_secs_f64() - self.seconds) / self.count;
    }
}

impl Policy for ShortestMean {
    fn name(&self) -> &'static str {
        "warm_first_sjf"
    }

    fn rank(&mut self, request: &RunRequest, nodes: &[NodeView], rng: &mut dyn RngCore) -> Placement {
        rank_by(self.name(), request, nodes, rng, |_, pressure, warmth, rng| warm_first(pressure, warmth, rng))
    }

    fn binding(&self) -> Binding {
        Binding::Late
    }

    /// A version that never ran counts as the mean of all runs.
    fn order(&mut self, request: &RunRequest, _: Duration) -> f64 {
        self.means.get(&request.version).unwrap_or(&self.all).seconds
    }

    fn observe(&mut self, finished: &Finished) {
        self.means.entry(finished.version).or_default().add(finished.wall);
        self.all.add(finished.wall);
    }
}
