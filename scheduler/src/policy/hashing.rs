//! Consistent hashing with bounded loads: a version has its own nodes, in its own order, and skips those that are
//! far above the average.

use protocol::Digest;
use protocol::placement::Placement;
use rand::RngCore;

use super::{Policy, rank_by};
use crate::{NodeView, RunRequest};

/// A node may have so much more than the average work for each core.
const BOUND: f32 = 1.25;

/// Nodes above the bound come after all others: rendezvous scores are below 1.
const ABOVE: f32 = 1.0;

/// Consistent hashing with bounded loads (Mirrokni et al.), with rendezvous hashing as the ring.
#[derive(Debug, Clone, Copy, Default)]
pub struct BoundedHash;

impl Policy for BoundedHash {
    fn name(&self) -> &'static str {
        "ch_bl"
    }

    #[allow(clippy::cast_precision_loss, reason = "counts of nodes are small")]
    fn rank(&mut self, request: &RunRequest, nodes: &[NodeView], rng: &mut dyn RngCore) -> Placement {
        let pressures = nodes.iter().filter(|node| node.report.is_some()).map(NodeView::pressure);
        let (sum, count) = pressures.fold((0.0_f32, 0_usize), |(sum, count), pressure| (sum + pressure, count + 1));
        let bound = BOUND * sum / count.max(1) as f32;
        rank_by(self.name(), request, nodes, rng, |node, pressure, _, _| {
            let score = rendezvous(&request.artifact, node);
            if pressure <= bound { score } else { score + ABOVE + pressure.min(f32::MAX / 2.0) }
        })
    }
}

/// A number from 0 to 1 that this artifact and this node always have together.
#[allow(clippy::cast_precision_loss, reason = "24 bits fit an f32 exactly")]
fn rendezvous(artifact: &Digest, node: &NodeView) -> f32 {
    let (left, right) = node.record.node.uuid().as_u64_pair();
    let first = artifact.0.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    // The finaliser of SplitMix64 mixes the three.
    let mut mixed = first ^ left.rotate_left(32) ^ right;
    for factor in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(factor);
    }
    (mixed >> 40) as f32 / (1_u64 << 24) as f32
}
