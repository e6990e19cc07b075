//! Which lane a run takes, by rule.

use protocol::placement::LaneReason;
use protocol::{Kind, Lane, LaneChoice};

use crate::RunRequest;

/// The CPUs that the wasm lane grants.
const WASM_CPUS: u32 = 1;

/// The lane of a run, and why. What the version asks for always holds; with `auto`, wasm unless it cannot grant
/// the request. A VM is never chosen just because a node has one.
#[must_use]
pub fn lane_of(request: &RunRequest) -> (Lane, LaneReason) {
    match request.lane {
        LaneChoice::Wasm => (Lane::Wasm, LaneReason::Asked),
        LaneChoice::Vm => (Lane::Vm, LaneReason::Asked),
        LaneChoice::Auto if request.kind == Kind::Server => (Lane::Vm, LaneReason::Server),
        LaneChoice::Auto if request.limits.cpus > WASM_CPUS => (Lane::Vm, LaneReason::Cpus),
        LaneChoice::Auto => (Lane::Wasm, LaneReason::Wasm),
    }
}
