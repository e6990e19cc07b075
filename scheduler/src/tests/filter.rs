//! Nobody's run lands where it must not.

use std::time::Duration;

use protocol::{ArtifactForm, ByteSize, Kind, Lane, LaneChoice, Limits, PlacementClass};

use super::{account, node, request};
use crate::{LaneReason, NodeView, Refusal, RunRequest, SILENT_AFTER, lane_of, refuse};

/// Who trusts whom: the version's class against the node's, for a node of another account and one of the same.
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
        (Verified, Any, false, false),
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
