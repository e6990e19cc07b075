//! The explanation of a placement: which nodes may do a run, in which order, and why the others may not.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;
use crate::manifest::{ArtifactForm, Kind, Lane, LaneChoice, Limits};

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
    /// Whether it has the artifact compiled and loaded.
    pub warm: bool,
    /// Runs there, as estimated.
    pub running: u32,
    /// Work for each core, the new run included.
    pub pressure: f32,
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
    /// Another architecture.
    Architecture,
    /// It has not reported lately.
    Silent,
    /// It takes no new runs.
    Draining,
    /// It does not have the lane.
    LaneMissing,
    /// Not enough memory, even when idle.
    TooSmall,
    /// Not enough free memory now.
    NoMemory,
    /// No free slot now.
    NoSlot,
}

impl Refusal {
    /// Whether waiting may help: the node could do it, but not now.
    #[must_use]
    pub const fn passes(self) -> bool {
        matches!(self, Self::NoMemory | Self::NoSlot)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::PlacementClass => "not of the placement class that the version trusts",
            Self::Architecture => "of another architecture",
            Self::Silent => "silent",
            Self::Draining => "draining",
            Self::LaneMissing => "without the lane",
            Self::TooSmall => "too small for the limits",
            Self::NoMemory => "without free memory",
            Self::NoSlot => "without a free slot",
        })
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

    /// Why there is no candidate, for people: `2 nodes: 1 draining, 1 without a free slot`.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut counts = std::collections::BTreeMap::<Refusal, usize>::new();
        for refused in &self.refused {
            *counts.entry(refused.why).or_default() += 1;
        }
        if counts.is_empty() {
            return "no nodes".to_owned();
        }
        let parts: Vec<String> = counts.iter().map(|(why, count)| format!("{count} {why}")).collect();
        let total = self.refused.len();
        format!("{total} node{}: {}", if total == 1 { "" } else { "s" }, parts.join(", "))
    }
}
