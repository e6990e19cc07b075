//! The placement filter: which nodes may do a run at all.

use std::time::Duration;

use protocol::placement::Refusal;
use protocol::{Lane, PlacementClass};

use crate::{NodeView, RunRequest};

/// A node without a report for so long is not asked. Reports come each second.
pub const SILENT_AFTER: Duration = Duration::from_secs(3);

/// Why this node may not do this run in this lane; none where it may. What does not pass with time comes first.
#[must_use]
pub fn refuse(request: &RunRequest, lane: Lane, node: &NodeView) -> Option<Refusal> {
    if !trusted(request, node) {
        return Some(Refusal::PlacementClass);
    }
    let memory = request.limits.memory_in(lane);
    if request.arch.as_ref().is_some_and(|arch| *arch != node.record.arch) {
        return Some(Refusal::Architecture);
    }
    let Some(report) = node.report.as_ref().filter(|_| node.age < SILENT_AFTER) else {
        return Some(Refusal::Silent);
    };
    if report.draining {
        Some(Refusal::Draining)
    } else if !report.lanes.contains(&lane) {
        Some(Refusal::LaneMissing)
    } else if report.memory_total < memory || (lane == Lane::Vm && report.cores < request.limits.cpus) {
        Some(Refusal::TooSmall)
    } else if node.running() >= report.slots {
        Some(Refusal::NoSlot)
    } else if node.memory_free() < memory {
        Some(Refusal::NoMemory)
    } else {
        None
    }
}

/// Whether the version trusts this node. `verified` includes the operator's nodes; a node of one's own is not
/// verified by being one's own.
fn trusted(request: &RunRequest, node: &NodeView) -> bool {
    match request.placement {
        PlacementClass::Any => true,
        PlacementClass::Own => node.record.account == request.account,
        PlacementClass::Operator => node.record.class == PlacementClass::Operator,
        PlacementClass::Verified => {
            matches!(node.record.class, PlacementClass::Operator | PlacementClass::Verified)
        }
    }
}
