//! Nobody's run lands where it must not.

use std::time::Duration;

use protocol::node::{Lending, NodeTrust, PauseReason, Paused, TrustLevel};
use protocol::{ArtifactForm, ByteSize, Kind, Lane, LaneChoice, Limits, PlacementClass};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::{account, node, request};
use crate::{
    LaneReason, LeastLoaded, NodeView, Policy as _, Refusal, RunRequest, SILENT_AFTER, lane_of, part_of_slots, refuse,
};

/// Who trusts whom: the version's class against the node's, for a node of another account and one of the same, by records of
/// releases that know no levels.
#[test]
fn the_placement_class_is_kept() {
    use PlacementClass::{Any, Operator, Own, Verified};
    let table = [
        // wanted, node's class, foreign node allowed, own node allowed
        (Own, Any, false, true),
        (Own, Verified, false, true),
        (Own, Operator, false, true),
        (Operator, Any, false, false),
        (Operator, Verified, false, false),
        (Operator, Operator, true, true),
        (Verified, Any, false, true),
        (Verified, Verified, true, true),
        (Verified, Operator, true, true),
        (Any, Any, true, true),
        (Any, Verified, true, true),
        (Any, Operator, true, true),
    ];
    for (wanted, class, foreign, own) in table {
        for (lender, allowed) in [(account(9), foreign), (account(1), own)] {
            let mut node = node(1);
            node.record.class = class;
            node.record.account = lender;
            let request = RunRequest { placement: wanted, ..request() };
            let expected = (!allowed).then_some(Refusal::PlacementClass);
            assert_eq!(refuse(&request, Lane::Wasm, &node), expected, "{wanted:?} on {class:?} of {lender}");
        }
    }
}

#[test]
fn a_new_node_is_refused_with_its_checks() {
    let mut new = node(1);
    new.record.trust = Some(NodeTrust { level: TrustLevel::New, confirmed: false, lied: false, agreed: 3 });
    let placement = LeastLoaded.rank(&request(), &[new.clone()], &mut SmallRng::seed_from_u64(1));
    assert_eq!(placement.summary(), "1 node: 1 new: 3 of 20 checks agreed");
    assert!(!placement.only_full() && !placement.only_paused(), "a moment's wait does not help");
    assert_eq!(placement.explain(Duration::ZERO).refused[0].agreed, Some(3));
    new.record.account = account(1);
    assert_eq!(refuse(&request(), Lane::Wasm, &new), None, "its own account's");
    let own = RunRequest { placement: PlacementClass::Own, ..request() };
    assert_eq!(refuse(&own, Lane::Wasm, &new), Some(Refusal::Unconfirmed));
}

/// Why a node that could do everything may not, once it is changed.
fn why(request: &RunRequest, change: impl FnOnce(&mut NodeView)) -> Option<Refusal> {
    let mut node = node(1);
    change(&mut node);
    refuse(request, lane_of(request).0, &node)
}

#[test]
fn each_reason_is_named() {
    let run = request();
    let elsewhere = RunRequest { arch: Some("aarch64".to_owned()), ..request() };
    let exactly_full = |node: &mut NodeView| node.running_known = 64;
    assert_eq!(why(&run, |_| ()), None);
    assert_eq!(why(&elsewhere, |_| ()), Some(Refusal::Architecture));
    assert_eq!(why(&run, |node| node.report = None), Some(Refusal::Silent));
    assert_eq!(why(&run, |node| node.age = SILENT_AFTER), Some(Refusal::Silent));
    assert_eq!(why(&run, |node| node.age = SILENT_AFTER - Duration::from_millis(1)), None);
    assert_eq!(why(&run, |node| node.report.as_mut().unwrap().draining = true), Some(Refusal::Draining));
    let paused = |reason| {
        why(&run, |node| {
            let paused = Some(Paused::open(reason));
            let lending = Lending { paused, egress: true, disk: None, traffic: None };
            node.report.as_mut().unwrap().lending = Some(lending);
        })
    };
    assert_eq!(paused(PauseReason::QuietHours), Some(Refusal::QuietHours));
    assert_eq!(paused(PauseReason::ByOwner), Some(Refusal::PausedByOwner));
    assert_eq!(paused(PauseReason::Leaving), Some(Refusal::Draining));
    assert_eq!(why(&run, |node| node.report.as_mut().unwrap().lanes.clear()), Some(Refusal::LaneMissing));
    assert_eq!(
        why(&run, |node| node.report.as_mut().unwrap().memory_total = ByteSize::mib(127)),
        Some(Refusal::TooSmall)
    );
    assert_eq!(
        why(&run, |node| node.report.as_mut().unwrap().memory_free = ByteSize::mib(127)),
        Some(Refusal::NoMemory)
    );
    assert_eq!(why(&run, exactly_full), Some(Refusal::NoSlot));
    assert_eq!(why(&run, |node| node.running_known = 63), None);
    assert_eq!(why(&run, |node| (node.running_known, node.started_since) = (60, 4)), Some(Refusal::NoSlot));
    assert_eq!(why(&run, |node| node.own_running = 64), Some(Refusal::NoSlot));
}

/// One account's calls may hold three quarters of a node; others' jobs go on.
#[test]
fn a06_what_one_process_may_place_is_counted_apart_from_what_others_place() {
    let job = RunRequest { slots_share: 75, ..request() };
    let with = |own: u32, all: u32| why(&job, |node| (node.own_running, node.running_known) = (own, all));
    assert_eq!(with(0, 63), None);
    assert_eq!(with(47, 47), None);
    assert_eq!(with(48, 48), Some(Refusal::NoSlot));
    assert_eq!(with(0, 64), Some(Refusal::NoSlot));
}

#[test]
fn a_part_of_the_slots_is_always_one() {
    assert_eq!(part_of_slots(128, 75), 96);
    assert_eq!(part_of_slots(2, 75), 1);
    assert_eq!(part_of_slots(1, 75), 1);
    assert_eq!(part_of_slots(0, 75), 0);
}

#[test]
fn the_lane_follows_the_rules() {
    let lane = |lane, kind, cpus| {
        let mut request = RunRequest { lane, kind, ..request() };
        request.limits.cpus = cpus;
        lane_of(&request)
    };
    assert_eq!(lane(LaneChoice::Auto, Kind::Http, 1), (Lane::Wasm, LaneReason::Wasm));
    assert_eq!(lane(LaneChoice::Auto, Kind::Command, 1), (Lane::Wasm, LaneReason::Wasm));
    assert_eq!(lane(LaneChoice::Auto, Kind::Http, 2), (Lane::Vm, LaneReason::Cpus));
    assert_eq!(lane(LaneChoice::Auto, Kind::Server, 1), (Lane::Vm, LaneReason::Server));
    assert_eq!(lane(LaneChoice::Vm, Kind::Http, 1), (Lane::Vm, LaneReason::Asked));
    assert_eq!(lane(LaneChoice::Wasm, Kind::Http, 2), (Lane::Wasm, LaneReason::Asked));
    let grown = |grow: fn(&mut Limits)| {
        let mut request = request();
        grow(&mut request.limits);
        lane_of(&request)
    };
    assert_eq!(grown(|limits| *limits = Limits::WASM_MAX), (Lane::Wasm, LaneReason::Wasm));
    assert_eq!(grown(|limits| limits.memory.0 = Limits::WASM_MAX.memory.0 + 1), (Lane::Vm, LaneReason::Memory));
    assert_eq!(grown(|limits| limits.timeout.0 = Limits::WASM_MAX.timeout.0 + 1), (Lane::Vm, LaneReason::Timeout));
    let image = RunRequest { form: ArtifactForm::Image, kind: Kind::Command, ..request() };
    assert_eq!(lane_of(&image), (Lane::Vm, LaneReason::Image));
}

#[test]
fn a_vm_takes_more_memory_than_its_function_and_needs_the_cores() {
    let mut image = RunRequest { form: ArtifactForm::Image, ..request() };
    image.limits.cpus = 4;
    assert_eq!(image.memory_in(lane_of(&image).0), ByteSize::mib(224), "a kernel beside 128 MiB");
    let with_vm = |node: &mut NodeView| node.report.as_mut().unwrap().lanes.push(Lane::Vm);
    assert_eq!(why(&image, |_| ()), Some(Refusal::LaneMissing));
    assert_eq!(why(&image, with_vm), None);
    let small = |node: &mut NodeView| (with_vm(node), node.report.as_mut().unwrap().memory_free = ByteSize::mib(223)).1;
    assert_eq!(why(&image, small), Some(Refusal::NoMemory));
    image.limits.cpus = 5;
    assert_eq!(why(&image, with_vm), Some(Refusal::TooSmall));
}
