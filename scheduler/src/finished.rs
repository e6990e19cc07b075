//! What the scheduler learns from: a run that ended.

use std::time::Duration;

use protocol::placement::Warmth;
use protocol::receipt::{Observation, Outcome};
use protocol::{ByteSize, Lane, NodeId, VersionId};
use serde::{Deserialize, Serialize};

/// A run that ended on a node.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// What was run.
    pub version: VersionId,
    /// Bytes of its input.
    pub input: ByteSize,
    /// Where.
    pub node: NodeId,
    /// In which lane.
    pub lane: Lane,
    /// What the node had of it.
    pub warmth: Warmth,
    /// From admission to the answer's end.
    pub wall: Duration,
    /// Whether it failed, by whosever fault.
    pub failed: bool,
}

impl Finished {
    /// From what a gateway saw; none where no node did the run, or the caller went away.
    #[must_use]
    pub fn of(seen: &Observation) -> Option<Self> {
        let end = seen.end.as_ref()?;
        let failed = match seen.outcome {
            Outcome::Succeeded => false,
            Outcome::Failed | Outcome::TimedOut | Outcome::PlatformFailed => true,
            Outcome::Cancelled => return None,
        };
        Some(Self {
            version: seen.version,
            input: seen.bytes_in,
            node: seen.node?,
            lane: seen.lane,
            warmth: end.warmth(),
            // A node cannot have worked longer than the gateway waited.
            wall: Duration::from_micros(end.usage.wall_us.min(seen.wall_us)),
            failed,
        })
    }
}
