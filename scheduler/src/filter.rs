//! The placement filter: which nodes may do a run at all.

use std::time::Duration;

use protocol::node::NodeReport;
use protocol::placement::Refusal;
use protocol::{AccountId, Lane, Limits, PlacementClass};

use crate::{NodeView, RunRequest};

/// A node without a report for so long is not asked. Reports come each second.
pub const SILENT_AFTER: Duration = Duration::from_secs(3);

/// Why this node may not do this run in this lane; none where it may. What does not pass with time comes first.
#[must_use]
pub fn refuse(request: &RunRequest, lane: Lane, node: &NodeView) -> Option<Refusal> {
    if !trusts(request.placement, request.account, Some(node.record.account), node.record.class) {
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
        return Some(Refusal::Draining);
    }
    if let Some(lacking) = lacks(&request.limits, lane, report) {
        return Some(lacking);
    }
    if node.running() >= report.slots {
        Some(Refusal::NoSlot)
    } else if node.memory_free() < memory {
        Some(Refusal::NoMemory)
    } else {
        None
    }
}

/// What a node of this kind lacks for such a run, even where it is idle.
#[must_use]
pub fn lacks(limits: &Limits, lane: Lane, report: &NodeReport) -> Option<Refusal> {
    let cpus = if lane == Lane::Vm { limits.cpus } else { 1 };
    if !report.lanes.contains(&lane) {
        Some(Refusal::LaneMissing)
    } else if report.memory_total < limits.memory_in(lane) || report.cores < cpus {
        Some(Refusal::TooSmall)
    } else {
        None
    }
}

/// Whether a version of the account `asker` may be on a node of this owner and class: the one rule, for deploys and for
/// placement. `verified` includes the operator's nodes; a node of one's own is not verified by being one's own.
#[must_use]
pub fn trusts(placement: PlacementClass, asker: AccountId, owner: Option<AccountId>, class: PlacementClass) -> bool {
    match placement {
        PlacementClass::Any => true,
        PlacementClass::Own => owner == Some(asker),
        PlacementClass::Operator => class == PlacementClass::Operator,
        PlacementClass::Verified => matches!(class, PlacementClass::Operator | PlacementClass::Verified),
    }
}

#[cfg(test)]
mod tests {
    use protocol::{AccountId, PlacementClass};

    use super::trusts;

    #[test]
    fn f39_a_node_is_not_verified_by_being_one_s_own() {
        use PlacementClass::{Any, Operator, Own, Verified};
        let (ada, eve) = (AccountId::new(), AccountId::new());
        let who = |placement, owner, class| trusts(placement, ada, Some(owner), class);
        assert!(who(Own, ada, Any) && !who(Own, eve, Operator));
        assert!(who(Verified, eve, Verified) && who(Verified, eve, Operator));
        assert!(!who(Verified, ada, Any), "whoever lends it");
        assert!(who(Operator, eve, Operator) && !who(Operator, ada, Verified));
        assert!(who(Any, eve, Any) && trusts(Any, ada, None, Any) && !trusts(Own, ada, None, Any));
    }
}
