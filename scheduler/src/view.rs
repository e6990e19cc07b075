//! What is known of one node at the moment of a placement.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use protocol::node::{NodeRecord, NodeReport};
use protocol::placement::Warmth;
use protocol::{ByteSize, Digest};

use crate::Distance;

/// What a node has of the artifacts that it has at all: one look answers, for a placement looks at a thousand nodes.
pub type Artifacts = HashMap<Digest, Warmth, BuildHasherDefault<FirstBytes>>;

/// Hashes a digest by its first bytes: it is uniform already.
#[derive(Default)]
pub struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    // A digest's length, which is always the same.
    fn write_usize(&mut self, _: usize) {}
}

/// A node: its record, its last report, and what happened since.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// Who it is and whose.
    pub record: NodeRecord,
    /// What it last said of itself; its lists of artifacts are in `artifacts`.
    pub report: Option<NodeReport>,
    /// How old that is.
    pub age: Duration,
    /// The artifacts that it has.
    pub artifacts: Artifacts,
    /// Runs at the last report, or at the last `end` since, which is newer.
    pub running_known: u32,
    /// Own starts since then.
    pub started_since: u32,
    /// Own runs that are there now.
    pub own_running: u32,
    /// Memory of own starts since the report, less that of own ends.
    pub own_memory_since: i64,
    /// How long a message takes there and back.
    pub distance: Distance,
}

impl NodeView {
    /// A node that has not reported yet.
    #[must_use]
    pub fn new(record: NodeRecord) -> Self {
        Self {
            record,
            report: None,
            age: Duration::MAX,
            artifacts: Artifacts::default(),
            running_known: 0,
            started_since: 0,
            own_running: 0,
            own_memory_since: 0,
            distance: Distance::default(),
        }
    }

    /// What it has of this artifact.
    #[must_use]
    pub fn warmth(&self, artifact: &Digest) -> Warmth {
        self.artifacts.get(artifact).copied().unwrap_or(Warmth::Cold)
    }

    /// Runs there now, as estimated: what is known, own starts since; never less than the own runs.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.running_known.saturating_add(self.started_since).max(self.own_running)
    }

    /// Free memory now, as estimated.
    #[must_use]
    pub fn memory_free(&self) -> ByteSize {
        let reported = self.report.as_ref().map_or(0, |report| report.memory_free.0);
        let taken = self.own_memory_since;
        ByteSize(match u64::try_from(taken) {
            Ok(taken) => reported.saturating_sub(taken),
            Err(_) => reported.saturating_add(taken.unsigned_abs()),
        })
    }

    /// Work for each core if one more run came: runs, and what else keeps the machine busy.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts of runs and cores are small")]
    pub fn pressure(&self) -> f32 {
        let Some(report) = &self.report else { return f32::MAX };
        let cores = report.cores.max(1) as f32;
        let others = (report.load - report.running as f32 / cores).clamp(0.0, 1.0);
        // A node may report anything: NaN must not decide an order.
        let others = if others.is_finite() { others } else { 1.0 };
        (self.running() as f32 + 1.0) / cores + others
    }
}
