//! What placement must know of a run.

use std::time::Duration;

use protocol::route::VersionRoute;
use protocol::{AccountId, ArtifactForm, ByteSize, Digest, Kind, Lane, LaneChoice, Limits, PlacementClass, VersionId};

/// A run that looks for a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRequest {
    /// What is run: its history tells how long it will take.
    pub version: VersionId,
    /// Who pays.
    pub account: AccountId,
    /// The artifact: nodes that have it loaded start warm.
    pub artifact: Digest,
    /// How it is spoken to.
    pub kind: Kind,
    /// The lane that the version asks for.
    pub lane: LaneChoice,
    /// Whose nodes it trusts.
    pub placement: PlacementClass,
    /// The architecture that it needs; none where any will do, as for wasm.
    pub arch: Option<String>,
    /// What the artifact is to the lanes.
    pub form: ArtifactForm,
    /// What it may use; `memory` and `cpus` are what a node must have.
    pub limits: Limits,
    /// Bytes of the input; zero where it is not known yet.
    pub input: ByteSize,
    /// How long it has waited for a node already.
    pub waited: Duration,
    /// How long it may be held back for a better node than there is now: a job for ever, a call for a moment.
    pub wait_max: Duration,
    /// What all that this process places may take of a node's slots, in percent; the rest stays for others.
    pub slots_share: u32,
}

impl RunRequest {
    /// A run of this version, paid by `account`. Wasm needs no architecture.
    #[must_use]
    pub fn of(version: &VersionRoute, account: AccountId) -> Self {
        Self {
            version: version.version,
            account,
            artifact: version.artifact,
            kind: version.kind,
            lane: version.lane,
            placement: version.placement,
            arch: None,
            form: version.form,
            limits: version.limits,
            input: ByteSize(0),
            waited: Duration::ZERO,
            wait_max: Duration::MAX,
            slots_share: 100,
        }
    }

    /// What it takes of a node's memory in a lane.
    #[must_use]
    pub fn memory_in(&self, lane: Lane) -> ByteSize {
        self.limits.memory_in(lane)
    }
}
