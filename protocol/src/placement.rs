//! The explanation of a placement: which nodes may do a run, in which order, and why the others may not.

mod summary;

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;
use crate::manifest::{ArtifactForm, Kind, Lane, LaneChoice, Limits};
use crate::node::{CHECKS_NEEDED, PauseReason};
use crate::wire;

use self::summary::counts;
pub use self::summary::{NO_OWN_NODE, summary};

/// Why this lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LaneReason {
    /// The version asks for it.
    Asked,
    /// A wasm artifact runs in wasmtime.
    Wasm,
    /// It is a server on `$PORT`, which only a VM can be.
    Server,
    /// It asks for more CPUs than the wasm lane grants.
    Cpus,
    /// It asks for more memory than the wasm lane grants.
    Memory,
    /// It asks for more time than the wasm lane grants.
    Timeout,
    /// The artifact is an image, an executable or a script.
    Image,
    /// Either lane could, and it is predicted to be done sooner in the VM of that node.
    Faster,
}

/// The lane of a version's runs, and why. What the version asks for always holds; with `auto`, wasm unless it cannot
/// grant the request. A VM is never chosen just because a node has one.
#[must_use]
pub const fn lane_of(asked: LaneChoice, kind: Kind, limits: &Limits, form: ArtifactForm) -> (Lane, LaneReason) {
    match (asked, form, kind) {
        (LaneChoice::Wasm, ..) => (Lane::Wasm, LaneReason::Asked),
        (LaneChoice::Vm, ..) => (Lane::Vm, LaneReason::Asked),
        (LaneChoice::Auto, _, Kind::Server) => (Lane::Vm, LaneReason::Server),
        (LaneChoice::Auto, ArtifactForm::Image, _) => (Lane::Vm, LaneReason::Image),
        (LaneChoice::Auto, ..) if limits.cpus > Limits::WASM_MAX.cpus => (Lane::Vm, LaneReason::Cpus),
        (LaneChoice::Auto, ..) if limits.memory.0 > Limits::WASM_MAX.memory.0 => (Lane::Vm, LaneReason::Memory),
        (LaneChoice::Auto, ..) if limits.timeout.0 > Limits::WASM_MAX.timeout.0 => (Lane::Vm, LaneReason::Timeout),
        (LaneChoice::Auto, ..) => (Lane::Wasm, LaneReason::Wasm),
    }
}

impl std::fmt::Display for LaneReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Asked => "asked for",
            Self::Wasm => "it is WebAssembly",
            Self::Server => "it is a server",
            Self::Cpus => "it asks for more than one CPU",
            Self::Memory => "it asks for more memory than the wasm lane grants",
            Self::Timeout => "it asks for more time than the wasm lane grants",
            Self::Image => "it is not WebAssembly",
            Self::Faster => "it is predicted to be done sooner in a VM there",
        })
    }
}

/// What a node has of an artifact before a run of it comes. Written as two fields among those of whoever has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "WarmthFields", into = "WarmthFields")]
pub enum Warmth {
    /// It is loaded: the run starts at once.
    Warm,
    /// It is on disk, compiled or converted, and has to be loaded.
    Cached,
    /// Nothing: it has to be fetched, and compiled or converted.
    Cold,
}

impl Warmth {
    /// What the two fields say.
    #[must_use]
    pub const fn of(warm: bool, cached: bool) -> Self {
        match (warm, cached) {
            (true, _) => Self::Warm,
            (false, true) => Self::Cached,
            (false, false) => Self::Cold,
        }
    }
}

/// `Warmth` as it is written.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WarmthFields {
    /// The artifact is loaded: the run starts at once.
    warm: bool,
    /// It is not loaded, but on disk, compiled or converted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    cached: bool,
}

impl From<Warmth> for WarmthFields {
    fn from(warmth: Warmth) -> Self {
        Self { warm: warmth == Warmth::Warm, cached: warmth == Warmth::Cached }
    }
}

impl From<WarmthFields> for Warmth {
    fn from(fields: WarmthFields) -> Self {
        Self::of(fields.warm, fields.cached)
    }
}

impl std::fmt::Display for Warmth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Warm => "warm",
            Self::Cached => "cached",
            Self::Cold => "cold",
        })
    }
}

/// A node that may do the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Candidate {
    /// Which node.
    pub node: NodeId,
    /// The lane there.
    pub lane: Lane,
    /// Why this lane.
    pub lane_reason: LaneReason,
    /// What it has of the artifact in that lane.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(value_type = WarmthFields))]
    pub warmth: Warmth,
    /// Runs there, as estimated.
    pub running: u32,
    /// Work for each core, the new run included.
    pub pressure: f32,
    /// How long the run is predicted to take there, in seconds; none where the policy does not predict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_s: Option<f32>,
    /// The chance that it fails there, 0 to 1; none where the policy does not predict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_failure: Option<f32>,
    /// How long a message takes there and back, in seconds, as measured; none below a millisecond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distance_s: Option<f32>,
    /// What it was ordered by: less is better. Near-equals differ by chance.
    pub score: f32,
}

/// Why a node may not do the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The version does not trust nodes of this class.
    PlacementClass,
    /// Too few of its results were checked yet.
    New,
    /// It has returned a wrong result.
    Lied,
    /// It is of the version's account, whose owner has not confirmed which machine it is.
    Unconfirmed,
    /// Another architecture.
    Architecture,
    /// It has not reported lately.
    Silent,
    /// It takes no new runs.
    Draining,
    /// Its owner has paused it.
    PausedByOwner,
    /// It is paused while its owner uses it.
    OwnerActive,
    /// It is paused while it runs on its battery.
    OnBattery,
    /// The traffic that it lends in a month is used up.
    TrafficUsed,
    /// It is one of the hours in which it is not lent.
    QuietHours,
    /// It is paused for a reason of a later release.
    Paused,
    /// It does not have the lane.
    LaneMissing,
    /// Not enough memory, even when idle.
    TooSmall,
    /// Not enough free memory now.
    NoMemory,
    /// No free slot now.
    NoSlot,
    /// Its last free slots are kept for shorter runs, for a while.
    KeptForShorter,
    /// It would start cold, while a node that is warm is only full.
    WarmElsewhere,
}

impl Refusal {
    /// Whether waiting may help: the node could do it, but not now.
    #[must_use]
    pub const fn passes(self) -> bool {
        matches!(self, Self::NoMemory | Self::NoSlot | Self::KeptForShorter | Self::WarmElsewhere)
    }

    /// Whether its owner keeps it for now: for minutes or hours, and not for a moment.
    #[must_use]
    pub const fn is_pause(self) -> bool {
        matches!(
            self,
            Self::PausedByOwner
                | Self::OwnerActive
                | Self::OnBattery
                | Self::TrafficUsed
                | Self::QuietHours
                | Self::Paused
        )
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::PlacementClass => "not of the placement class that the version trusts",
            Self::New => "new",
            Self::Lied => "caught with a wrong result",
            Self::Unconfirmed => "not confirmed by its owner",
            Self::Architecture => "of another architecture",
            Self::Silent => "silent",
            Self::Draining => "draining",
            Self::PausedByOwner => "paused by its owner",
            Self::OwnerActive => "paused while its owner uses it",
            Self::OnBattery => "paused on battery",
            Self::TrafficUsed => "paused, as its monthly traffic is used up",
            Self::QuietHours => "paused in its quiet hours",
            Self::Paused => "paused",
            Self::LaneMissing => "without the lane",
            Self::TooSmall => "too small for the limits",
            Self::NoMemory => "without free memory",
            Self::NoSlot => "without a free slot",
            Self::KeptForShorter => "kept free for shorter runs",
            Self::WarmElsewhere => "cold, while a warm one is only full",
        })
    }
}

impl From<PauseReason> for Refusal {
    fn from(reason: PauseReason) -> Self {
        match reason {
            PauseReason::Leaving | PauseReason::Draining => Self::Draining,
            PauseReason::ByOwner => Self::PausedByOwner,
            PauseReason::OwnerActive => Self::OwnerActive,
            PauseReason::OnBattery => Self::OnBattery,
            PauseReason::TrafficUsed => Self::TrafficUsed,
            PauseReason::QuietHours => Self::QuietHours,
            PauseReason::Other => Self::Paused,
        }
    }
}

/// A node that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Refused {
    /// Which node.
    pub node: NodeId,
    /// Why.
    pub why: Refusal,
    /// Of one that is new: its agreed checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed: Option<u32>,
}

impl Refused {
    /// Refused for a reason that says all.
    #[must_use]
    pub const fn of(node: NodeId, why: Refusal) -> Self {
        Self { node, why, agreed: None }
    }
}

impl std::fmt::Display for Refused {
    /// Why, without which node.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.agreed {
            Some(agreed) => write!(f, "{}: {agreed} of {CHECKS_NEEDED} checks agreed", self.why),
            None => std::fmt::Display::fmt(&self.why, f),
        }
    }
}

/// Where a run may go, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Placement {
    /// The best nodes, best first.
    pub ranked: Vec<Candidate>,
    /// Nodes that may not do it.
    pub refused: Vec<Refused>,
    /// The policy that ordered them.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub policy: Cow<'static, str>,
}

impl Placement {
    /// Whether some node could do the run as soon as it has room.
    #[must_use]
    pub fn only_full(&self) -> bool {
        self.ranked.is_empty() && self.refused.iter().any(|refused| refused.why.passes())
    }

    /// Whether those that could do the run are kept by their owners, so that a moment's wait brings none.
    #[must_use]
    pub fn only_paused(&self) -> bool {
        let may_come = |why: Refusal| why.passes() || matches!(why, Refusal::Silent | Refusal::Draining);
        self.ranked.is_empty()
            && self.refused.iter().any(|refused| refused.why.is_pause())
            && !self.refused.iter().any(|refused| may_come(refused.why))
    }

    /// What is kept of it with the run, which waited so long for it.
    #[must_use]
    pub fn explain(&self, waited: Duration) -> Explanation {
        let candidates = self.ranked.iter().take(Explanation::CANDIDATES_MAX).map(Considered::from).collect();
        let refused = counts(&self.refused);
        Explanation { policy: self.policy.clone(), candidates, refused, waited_ms: saturated(waited.as_millis()) }
    }
}

/// What is kept of a placement with its run: short, for there are thousands each second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Explanation {
    /// The policy that ordered the nodes; `fallback` is the learned one without a model that it trusts.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub policy: Cow<'static, str>,
    /// The best nodes, best first. The run went to the first that took it.
    pub candidates: Vec<Considered>,
    /// How many nodes might not do it, by reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "wire::known")]
    pub refused: Vec<RefusedNodes>,
    /// How long it had waited for a node.
    pub waited_ms: u32,
}

impl Explanation {
    /// So many candidates are kept.
    pub const CANDIDATES_MAX: usize = 3;
}

/// A node that was considered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Considered {
    /// Which node.
    pub node: NodeId,
    /// What it had of the artifact, as far as was known.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(value_type = WarmthFields))]
    pub warmth: Warmth,
    /// Runs there, as estimated.
    pub running: u32,
    /// How long the run was predicted to take there, in microseconds; none where the policy did not predict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_us: Option<u64>,
    /// The chance that it fails there, in thousandths; none where the policy did not predict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_failure_permille: Option<u16>,
}

impl From<&Candidate> for Considered {
    fn from(candidate: &Candidate) -> Self {
        let predicted = candidate.predicted_s.and_then(|seconds| Duration::try_from_secs_f32(seconds).ok());
        Self {
            node: candidate.node,
            warmth: candidate.warmth,
            running: candidate.running,
            predicted_us: predicted.map(|predicted| u64::try_from(predicted.as_micros()).unwrap_or(u64::MAX)),
            predicted_failure_permille: candidate.predicted_failure.map(permille),
        }
    }
}

/// Nodes that were refused for the same reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RefusedNodes {
    /// Why.
    pub why: Refusal,
    /// How many.
    pub nodes: u32,
    /// Of new ones: the most agreed checks that one of them has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed: Option<u32>,
}

impl std::fmt::Display for RefusedNodes {
    /// Why, without how many.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.agreed {
            Some(agreed) if self.nodes > 1 => {
                write!(f, "{}: at most {agreed} of {CHECKS_NEEDED} checks agreed", self.why)
            }
            Some(agreed) => write!(f, "{}: {agreed} of {CHECKS_NEEDED} checks agreed", self.why),
            None => std::fmt::Display::fmt(&self.why, f),
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
fn permille(share: f32) -> u16 {
    (share.clamp(0.0, 1.0) * 1000.0).round() as u16
}

fn saturated(count: impl TryInto<u32>) -> u32 {
    count.try_into().unwrap_or(u32::MAX)
}
