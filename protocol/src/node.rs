//! What a node says of itself, and what it is told: hello, reports, the spec of a version, logs.

mod boot;
mod caps;
mod check;
mod confinement;
mod disk;
mod join;
mod keys;
mod lending;
mod state;
mod token;
mod trust;
mod wish;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::boot::BootKey;
pub use self::caps::{Above, Below, Caps, CapsWish};
pub use self::check::{CACHED_MAX, Malformed, REPORT_BYTES_MAX, TEXT_BYTES_MAX, WARM_MAX, printable};
pub use self::confinement::Confinement;
pub use self::disk::{DISKS_MAX, DiskMark, DiskSegment, DiskSpace, Mark, StoreDisk};
pub use self::join::{
    Admission, Connection, Fingerprint, NodeRequest, NodeWant, PlatformStatement, Probe, Registration, TokenQuery,
    TokenTerms,
};
pub use self::keys::{Nonce, ParseKeyError, PublicKey, PublicKeys, Signature};
pub use self::lending::{CapUse, Lending, PauseReason, Paused};
pub use self::state::{NodeEvent, NodeState};
pub use self::token::{JoinToken, ParseTokenError, TokenSeed, is_of_this_machine};
pub use self::trust::{
    CHECKS_NEEDED, CheckOutcome, Missing, NEW_FOR, NodeTrust, OPERATOR_CHECKS_NEEDED, PROVEN_FOR, TrustLevel,
    TrustRecord,
};
pub use self::wish::{HeldPause, NodeStatus, NodeToday, NodeWish, PauseSource, RevisedWish, WishedPause};
use crate::ids::{AccountId, FunctionId, NodeId, RunId, VersionId};
use crate::manifest::{ArtifactForm, Base, Kind, Lane, LaneChoice, Limits, PlacementClass};
use crate::ticket::{NodeKey, TwoDays};
use crate::units::{ByteSize, Digest, Timestamp};
use crate::wire;

/// The versions of the node protocol that this code speaks. In the first, tickets were signed JSON.
pub const PROTOCOL_MIN: u16 = 2;
/// The newest of them.
pub const PROTOCOL_MAX: u16 = 2;

/// The first message of a node (`POST /hello` at its `api` subject).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The oldest protocol version that it speaks.
    pub protocol_min: u16,
    /// The newest.
    pub protocol_max: u16,
    /// The software's version.
    pub software: String,
    /// The machine's architecture, as Rust names it (`x86_64`).
    pub arch: String,
    /// The operating system, as Rust names it (`linux`).
    pub os: String,
    /// A name for people.
    pub name: String,
    /// Cores lent.
    pub cores: u32,
    /// Memory lent.
    pub memory: ByteSize,
    /// The lanes that it has.
    #[serde(deserialize_with = "wire::known")]
    pub lanes: Vec<Lane>,
    /// Runs that it takes at once.
    pub slots: u32,
    /// Ed25519 public key for its checkpoints, base64url.
    pub public_key: String,
    /// All of its public keys, which are compared with those that are registered; an earlier release names only the one
    /// above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<PublicKeys>,
    /// Which start of the node this is; none where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootKey>,
    /// The caps that were agreed when it was started; none where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wire::optional")]
    pub agreed: Option<Caps>,
    /// What tells its machine from a copy of its disk; none where it says nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// How far it is confined; none where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wire::optional")]
    pub confinement: Option<Confinement>,
    /// The disks that it has for blobs, at most [`DISKS_MAX`]: of the operator's own nodes alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<StoreDisk>,
}

/// The answer to a hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloReply {
    /// The protocol version that both speak from now on.
    pub protocol: u16,
    /// What this node checks tickets with: it is asked for again before they are over.
    pub node_keys: TwoDays<NodeKey>,
    /// The last checkpoint that the control plane has committed of this node (0: none).
    pub checkpoint: u64,
    /// The digest of that checkpoint; zeros where there is none.
    pub checkpoint_digest: Digest,
    /// The platform's time.
    pub now: Timestamp,
    /// What the owner wants of it from afar; none where they never wanted anything.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wire::optional")]
    pub wish: Option<RevisedWish>,
}

/// What a node publishes each second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    /// The form's version.
    pub v: u8,
    /// Who.
    pub node: NodeId,
    /// Counts up from the agent's start.
    pub sequence: u64,
    /// Cores lent.
    pub cores: u32,
    /// The machine's load: busy cores over all cores, 0 to 1, over the last second.
    pub load: f32,
    /// Memory lent.
    pub memory_total: ByteSize,
    /// Of that, not promised to a run.
    pub memory_free: ByteSize,
    /// Runs that it takes at once.
    pub slots: u32,
    /// Runs now.
    pub running: u32,
    /// The lanes that it has.
    #[serde(deserialize_with = "wire::known")]
    pub lanes: Vec<Lane>,
    /// The machine's architecture.
    pub arch: String,
    /// Artifacts compiled and loaded: a run of them starts warm. The most recent, at most 512.
    pub warm: Vec<Digest>,
    /// Artifacts on disk, compiled or converted, that only have to be loaded. The most recent, at most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cached: Vec<Digest>,
    /// It takes no new runs.
    pub draining: bool,
    /// How its VM lane is; none where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wire::optional")]
    pub vm: Option<VmLane>,
    /// Which start of the node this is; none where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootKey>,
    /// What its owner keeps of the machine; none where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wire::optional")]
    pub lending: Option<Lending>,
    /// How far it is confined; none where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wire::optional")]
    pub confinement: Option<Confinement>,
    /// Where `warm` and `cached` are left out: the sequence of the report that listed the same. None: what is not listed is
    /// not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lists: Option<u64>,
}

/// How a node's VM lane is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum VmLane {
    /// It looks which accelerator works.
    Starting,
    /// It is there.
    Ready {
        /// What runs the guests.
        accelerator: Accelerator,
        /// Turns of a fixed loop of integer work in a millisecond, measured in a guest.
        turns_per_ms: u32,
    },
    /// It is not there.
    Missing {
        /// Why.
        why: String,
    },
}

/// What runs a VM's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The processor itself.
    Kvm,
    /// A translator, many times slower.
    Tcg,
}

impl std::fmt::Display for Accelerator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

impl NodeReport {
    /// The form that this code writes.
    pub const VERSION: u8 = 1;

    /// Why it takes no runs; none where it does.
    #[must_use]
    pub fn paused(&self) -> Option<Paused> {
        if self.draining {
            return Some(Paused::open(PauseReason::Draining));
        }
        self.lending.as_ref().and_then(|lending| lending.paused)
    }

    /// Whether it takes new runs, if they fit.
    #[must_use]
    pub fn takes_runs(&self) -> bool {
        self.paused().is_none()
    }
}

/// What trusted parts know of a node beside its report. The value of its key in the `nodes` bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Who.
    pub node: NodeId,
    /// The lender.
    pub account: AccountId,
    /// A name for people.
    pub name: String,
    /// `Own` is never stored: it depends on who asks. `Operator`, `Verified` or `Any`.
    pub class: PlacementClass,
    /// The machine's architecture.
    pub arch: String,
    /// The negotiated protocol version.
    pub protocol: u16,
    /// How far it is trusted; none where an earlier release wrote the record.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wire::optional")]
    pub trust: Option<NodeTrust>,
    /// The key that signs its receipts and its connections; none before it has joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PublicKey>,
    /// The disks that it has for blobs, as its last hello says: none but of the operator's own nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<StoreDisk>,
}

impl NodeRecord {
    /// How far it is trusted.
    #[must_use]
    pub fn trust(&self) -> NodeTrust {
        self.trust.unwrap_or_else(|| NodeTrust::of_class(self.class))
    }
}

/// The immutable description of a version, as a node needs it (`GET /versions/{id}` at its `blob` subject,
/// with a ticket).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionSpec {
    /// Which version.
    pub version: VersionId,
    /// Of which function.
    pub function: FunctionId,
    /// Whose.
    pub account: AccountId,
    /// The artifact's digest.
    pub artifact: Digest,
    /// The artifact's size.
    pub artifact_size: ByteSize,
    /// How it is spoken to; none before the first prepare found out.
    pub kind: Option<Kind>,
    /// The lane.
    pub lane: LaneChoice,
    /// What one run may use.
    pub limits: Limits,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Hosts that it may call.
    pub egress: Vec<String>,
    /// What it stands on in the VM lane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// What to start in the VM lane, in place of what the image says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
}

/// A node's answer to a prepare that went well (a problem document otherwise).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// How the artifact is spoken to.
    pub kind: Kind,
    /// What the artifact is, for people: `component (wasi:http@0.2)`, `module (wasi p1)`.
    pub format: String,
    /// How long compiling took.
    pub compile_ms: u64,
    /// The machine code's size, or the image's.
    pub code_size: ByteSize,
    /// What the artifact is to the lanes.
    #[serde(default, skip_serializing_if = "ArtifactForm::is_wasm")]
    pub form: ArtifactForm,
    /// What was found and decided, and what was left out: whole sentences for the deployer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Where a line of a log came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// The guest's standard output.
    Stdout,
    /// The guest's standard error.
    Stderr,
    /// The platform: a trap's message, a cut log.
    Platform,
}

/// One line that a run wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogLine {
    /// The run.
    pub run: RunId,
    /// Its place in the run's log, from 0.
    pub sequence: u32,
    /// When, by the node's clock.
    pub at: Timestamp,
    /// Where it came from.
    pub stream: LogStream,
    /// The text, without the line's end; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// Lines of one run (`POST /logs` at the node's `log` subject, a JSON array of these).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunLog {
    /// The run.
    pub run: RunId,
    /// The permission, which says whose run it is.
    pub ticket: crate::ticket::SignedTicket,
    /// The lines.
    pub lines: Vec<LogLine>,
}

impl RunLog {
    /// The lines of one run that are kept: lines with this number and greater ones are not. What a guest writes ends
    /// earlier; the rest is left for the platform's own lines.
    pub const LINES_MAX: u32 = 4096 + 64;
}
