//! What people see of a node, by what is kept and what it reports.

use super::sample::report;
use crate::node::{Lending, NodeReport, NodeState, PauseReason, Paused};

#[test]
fn what_is_seen_is_what_the_report_says() {
    let paused = |reason| {
        let lending = Lending { paused: Some(Paused::open(reason)), egress: true, disk: None, traffic: None };
        NodeReport { lending: Some(lending), ..report() }
    };
    let seen = |report: &NodeReport| NodeState::Online.seen(Some(report));
    assert_eq!(NodeState::Online.seen(None), NodeState::Offline);
    assert!(!NodeState::Offline.reports() && NodeState::Paused.reports());
    assert_eq!(seen(&report()), NodeState::Online);
    assert_eq!(seen(&NodeReport { draining: true, ..report() }), NodeState::Draining);
    assert_eq!(seen(&paused(PauseReason::Draining)), NodeState::Draining);
    assert_eq!(seen(&paused(PauseReason::QuietHours)), NodeState::Paused);
    assert_eq!(NodeState::Calibrating.seen(Some(&report())), NodeState::Calibrating, "it is not measured yet");
    assert_eq!(NodeState::Calibrating.seen(Some(&paused(PauseReason::QuietHours))), NodeState::Paused);
    assert_eq!(NodeState::Calibrating.seen(None), NodeState::Offline);
    for state in [NodeState::Joining, NodeState::Suspended, NodeState::Left, NodeState::Revoked] {
        assert_eq!((state.seen(None), state.seen(Some(&report()))), (state, state));
    }
}
