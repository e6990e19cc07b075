//! The placement filter: which nodes may do a run at all.

use std::time::Duration;

use protocol::node::{NodeReport, NodeTrust, TrustLevel};
use protocol::placement::Refusal;
use protocol::{Lane, Limits, PlacementClass};

use crate::{NodeView, RunRequest};

/// A node without a report for so long is not asked. Reports come each second.
pub const SILENT_AFTER: Duration = Duration::from_secs(3);

/// Why this node may not do this run in this lane; none where it may. What does not pass with time comes first.
#[must_use]
pub fn refuse(request: &RunRequest, lane: Lane, node: &NodeView) -> Option<Refusal> {
    let own = node.record.account == request.account;
    if let Some(distrusted) = distrusts(request.placement, own, node.record.trust()) {
        return Some(distrusted);
    }
    let memory = request.limits.memory_in(lane);
    if request.arch.as_ref().is_some_and(|arch| *arch != node.record.arch) {
        return Some(Refusal::Architecture);
    }
    let Some(report) = node.report.as_ref().filter(|_| node.age < SILENT_AFTER) else {
        return Some(Refusal::Silent);
    };
    if let Some(paused) = report.paused() {
        return Some(paused.reason.into());
    }
    if let Some(lacking) = lacks(&request.limits, lane, report) {
        return Some(lacking);
    }
    let own_max = part_of_slots(report.slots, request.slots_share);
    if node.running() >= report.slots || node.own_running >= own_max {
        Some(Refusal::NoSlot)
    } else if node.memory_free() < memory {
        Some(Refusal::NoMemory)
    } else {
        None
    }
}

/// So many percent of a node's slots; always one.
#[must_use]
pub fn part_of_slots(slots: u32, percent: u32) -> u32 {
    let part = u64::from(slots) * u64::from(percent) / 100;
    u32::try_from(part).unwrap_or(slots).max(1).min(slots)
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

/// Why a version may not be on a node, which may be its account's `own`; none where it may: the one rule, for deploys and
/// for placement. `verified` includes the operator's nodes and own ones, as far as their owner has confirmed them: whoever
/// has found a token of the account makes a node of it, and must not be sent its secrets.
#[must_use]
pub fn distrusts(placement: PlacementClass, own: bool, trust: NodeTrust) -> Option<Refusal> {
    let (confirmed, level) = (own && trust.confirmed, trust.level);
    let trusted = match placement {
        PlacementClass::Any => own || level >= TrustLevel::Proven,
        PlacementClass::Own => confirmed,
        PlacementClass::Operator => level == TrustLevel::Operator,
        PlacementClass::Verified => confirmed || level >= TrustLevel::Verified,
    };
    if trusted {
        return None;
    }
    Some(match placement {
        PlacementClass::Any if trust.lied => Refusal::Lied,
        PlacementClass::Any => Refusal::New,
        PlacementClass::Own | PlacementClass::Verified if own => Refusal::Unconfirmed,
        PlacementClass::Own | PlacementClass::Verified | PlacementClass::Operator => Refusal::PlacementClass,
    })
}

#[cfg(test)]
mod tests {
    use protocol::PlacementClass;
    use protocol::node::{NodeTrust, TrustLevel};
    use protocol::placement::Refusal;

    use super::distrusts;

    const fn trust(level: TrustLevel) -> NodeTrust {
        NodeTrust { level, confirmed: false, lied: false, agreed: 0 }
    }

    #[test]
    fn f39_each_level_gets_what_it_is_trusted_with() {
        use PlacementClass::{Any, Operator, Own, Verified};
        let table = [
            // level, then whether a version of others with this placement may be there: any, verified, operator
            (TrustLevel::New, false, false, false),
            (TrustLevel::Proven, true, false, false),
            (TrustLevel::Verified, true, true, false),
            (TrustLevel::Operator, true, true, true),
        ];
        for (level, any, verified, operator) in table {
            let may = |placement| distrusts(placement, false, trust(level)).is_none();
            assert_eq!((may(Any), may(Verified), may(Operator), may(Own)), (any, verified, operator, false), "{level}");
        }
        assert_eq!(distrusts(Any, false, trust(TrustLevel::New)), Some(Refusal::New));
        assert_eq!(distrusts(Verified, false, trust(TrustLevel::New)), Some(Refusal::PlacementClass));
    }

    #[test]
    fn f39_a_node_is_one_s_own_once_it_is_confirmed() {
        use PlacementClass::{Any, Operator, Own, Verified};
        let joined = trust(TrustLevel::New);
        assert_eq!(distrusts(Any, true, joined), None, "its own account's runs");
        assert_eq!(distrusts(Own, true, joined), Some(Refusal::Unconfirmed));
        assert_eq!(distrusts(Verified, true, joined), Some(Refusal::Unconfirmed));
        let confirmed = NodeTrust { confirmed: true, ..joined };
        assert_eq!((distrusts(Own, true, confirmed), distrusts(Verified, true, confirmed)), (None, None));
        assert_eq!(distrusts(Own, false, confirmed), Some(Refusal::PlacementClass), "another's");
        assert_eq!(distrusts(Operator, true, confirmed), Some(Refusal::PlacementClass));
    }

    #[test]
    fn who_has_lied_keeps_its_own_account_alone() {
        let lied = NodeTrust { lied: true, confirmed: true, ..trust(TrustLevel::New) };
        assert_eq!(distrusts(PlacementClass::Any, false, lied), Some(Refusal::Lied));
        assert_eq!(distrusts(PlacementClass::Any, true, lied), None);
        assert_eq!(distrusts(PlacementClass::Own, true, lied), None);
    }
}
