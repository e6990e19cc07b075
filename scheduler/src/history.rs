//! What is remembered of each version and node: streaming quantiles and moments, from one run that ended to the next.

mod speed;
mod version;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use protocol::placement::Warmth;
use protocol::{Lane, NodeId, VersionId};
use serde::{Deserialize, Serialize};

use crate::Finished;

pub use speed::{NodeClass, NodeSpeed};
pub use version::VersionHistory;
pub(crate) use version::log_of;

/// Ids are random in their last bytes already; a placement looks up each of a thousand nodes.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let word = bytes
            .last_chunk::<8>()
            .map_or_else(|| bytes.iter().map(|b| u64::from(*b)).sum(), |last| u64::from_be_bytes(*last));
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }
}

type Map<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Of a version that ran so often, a run says something of the node.
const KNOWN_RUNS: f64 = 8.0;
/// A node's first runs move its speed by their mean, later ones by this part at most.
const PENALTY_STEP: f64 = 0.02;

/// So many versions are remembered one by one.
const VERSIONS_MAX: usize = 20_000;
/// With more of them, one of so many makes room: that which ran the least.
const LOOKED_AT: usize = 16;

/// What starts cost that are not warm, on a node of speed 1, in seconds: running medians.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Starts {
    cached: RunningMedian,
    cold: RunningMedian,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct RunningMedian {
    value: f64,
    count: f64,
}

impl RunningMedian {
    /// It moves towards each new value by a part of it, and never further than to it.
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let off = value - self.value;
        let step = (1.0 / self.count).max(PENALTY_STEP) * value.abs().min(10.0);
        self.value = (self.value + step.min(off.abs()) * off.signum()).max(0.0);
    }
}

/// All that is remembered. A clone shares what has not changed since.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct History {
    versions: Map<VersionId, Arc<VersionHistory>>,
    nodes: Map<NodeId, NodeSpeed>,
    all: Arc<VersionHistory>,
    starts: [Starts; 2],
}

impl History {
    /// A run ended.
    pub fn observe(&mut self, finished: &Finished) {
        let node = self.speed(finished.node);
        let speed = node.factor();
        let mut work_s = (finished.wall.as_secs_f64() * speed).max(1e-6);
        let expected = self.version(finished.version).failures();
        self.nodes.entry(finished.node).or_default().ended(finished.failed, expected);
        self.version_mut(finished.version).ended(finished.failed);
        Arc::make_mut(&mut self.all).ended(finished.failed);
        if finished.failed {
            return;
        }
        let known = self.versions.get(&finished.version).filter(|version| version.runs() >= KNOWN_RUNS);
        let usual = known.map(|version| (version.median_s(), version.log_mean(), version.log_deviation()));
        if finished.warmth != Warmth::Warm {
            if let Some((median_s, ..)) = usual.filter(|(median_s, ..)| *median_s < 1.0) {
                let starts = &mut self.starts[lane_place(finished.lane)];
                let start = if finished.warmth == Warmth::Cached { &mut starts.cached } else { &mut starts.cold };
                start.add(work_s - median_s);
            }
            // History is about warm runs.
            work_s = (work_s - self.start_s(finished.lane, finished.warmth)).max(work_s * 0.1);
        } else if let Some((_, log_mean, log_deviation)) = usual {
            let faster = log_mean - finished.wall.as_secs_f64().max(1e-6).ln();
            self.nodes.entry(finished.node).or_default().observe(faster, log_deviation);
        }
        let class = node.class();
        self.version_mut(finished.version).observe(work_s, finished.input, class, finished.lane);
        Arc::make_mut(&mut self.all).observe(work_s, finished.input, class, finished.lane);
    }

    /// A node has left.
    pub fn forget_node(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }

    /// All nodes but these have left.
    pub(crate) fn keep_nodes(&mut self, is_there: impl Fn(NodeId) -> bool) {
        self.nodes.retain(|node, _| is_there(*node));
    }

    /// Whether a node is remembered.
    #[must_use]
    pub fn knows_node(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node)
    }

    fn version_mut(&mut self, version: VersionId) -> &mut VersionHistory {
        if self.versions.len() >= VERSIONS_MAX && !self.knows(version) {
            self.forget_one(version);
        }
        Arc::make_mut(self.versions.entry(version).or_default())
    }

    /// Makes room for a version. Whoever makes ever new ones must not keep all others from being known: which ones are
    /// looked at is the new one's chance.
    fn forget_one(&mut self, newest: VersionId) {
        let chance = usize::try_from(newest.uuid().as_u64_pair().1 >> 1).unwrap_or(0);
        let looked_at = self.versions.iter().skip(chance % (VERSIONS_MAX - LOOKED_AT)).take(LOOKED_AT);
        let least = looked_at.min_by(|(_, a), (_, b)| a.runs().total_cmp(&b.runs()));
        if let Some(least) = least.map(|(version, _)| *version) {
            self.versions.remove(&least);
        }
    }

    /// A version's; that of all versions where it never ran.
    #[must_use]
    pub fn version(&self, version: VersionId) -> &VersionHistory {
        self.versions.get(&version).unwrap_or(&self.all)
    }

    /// Whether a version ran at all.
    #[must_use]
    pub fn knows(&self, version: VersionId) -> bool {
        self.versions.contains_key(&version)
    }

    /// All versions taken together.
    #[must_use]
    pub fn all(&self) -> &VersionHistory {
        &self.all
    }

    /// A node's speed; that of an average one where it never worked.
    #[must_use]
    pub fn speed(&self, node: NodeId) -> NodeSpeed {
        self.nodes.get(&node).copied().unwrap_or_default()
    }

    /// Whether enough of a version's runs were in VMs to say what those take.
    #[must_use]
    pub fn knows_in_vm(&self, version: VersionId) -> bool {
        self.versions.get(&version).is_some_and(|version| version.vm_runs() >= KNOWN_RUNS)
    }

    /// What a start costs on a node of speed 1 that has so much of the artifact, in seconds.
    #[must_use]
    pub fn start_s(&self, lane: Lane, warmth: Warmth) -> f64 {
        let Starts { cached, cold } = self.starts[lane_place(lane)];
        match warmth {
            Warmth::Warm => 0.0,
            Warmth::Cached => cached.value,
            // To fetch is to load, and more.
            Warmth::Cold => cold.value.max(cached.value),
        }
    }
}

fn lane_place(lane: Lane) -> usize {
    match lane {
        Lane::Wasm => 0,
        Lane::Vm => 1,
    }
}
