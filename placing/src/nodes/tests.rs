//! Room that is given back, and nodes that are asked last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::node::{NodeRecord, NodeReport};
use protocol::placement::Placement;
use protocol::{AccountId, ByteSize, Lane, NodeId, PlacementClass};
use scheduler::{LastWord, NodeView};

use super::Nodes;

const SUSPECT_FOR: Duration = Duration::from_secs(3);

fn report(node: NodeId) -> NodeReport {
    NodeReport {
        v: NodeReport::VERSION,
        node,
        sequence: 1,
        cores: 4,
        load: 0.0,
        memory_total: ByteSize::mib(1024),
        memory_free: ByteSize::mib(1024),
        slots: 8,
        running: 0,
        lanes: vec![Lane::Wasm],
        arch: "x86_64".to_owned(),
        warm: Vec::new(),
        cached: Vec::new(),
        draining: false,
        vm: None,
        boot: None,
        lending: None,
        confinement: None,
        lists: None,
    }
}

fn with(count: usize) -> (Arc<Nodes>, Vec<NodeId>) {
    let nodes = Nodes::new(SUSPECT_FOR);
    let ids: Vec<NodeId> = (0..count).map(|_| NodeId::new()).collect();
    for &node in &ids {
        let (account, class) = (AccountId::new(), PlacementClass::Operator);
        let (name, arch) = ("node".to_owned(), "x86_64".to_owned());
        nodes.upsert(NodeRecord {
            node,
            account,
            name,
            class,
            arch,
            protocol: 1,
            trust: None,
            key: None,
            disks: Vec::new(),
        });
        nodes.heard(report(node), Instant::now());
    }
    (nodes, ids)
}

fn view<R>(nodes: &Nodes, node: NodeId, look: impl FnOnce(&NodeView) -> R) -> R {
    nodes.look(|views| look(views.iter().find(|view| view.record.node == node).unwrap()))
}

/// Whatever a policy would say: the nodes in their order.
fn as_they_are(views: &[NodeView]) -> Placement {
    let ranked = views.iter().map(|view| candidate(view.record.node)).collect();
    Placement { ranked, refused: Vec::new(), policy: "test".into() }
}

fn candidate(node: NodeId) -> protocol::placement::Candidate {
    protocol::placement::Candidate {
        node,
        lane: Lane::Wasm,
        lane_reason: protocol::placement::LaneReason::Wasm,
        warmth: protocol::placement::Warmth::Warm,
        running: 0,
        pressure: 0.0,
        predicted_s: None,
        predicted_failure: None,
        distance_s: None,
        score: 0.0,
    }
}

#[test]
fn room_is_given_back_however_a_run_ends() {
    let (nodes, ids) = with(1);
    let free = |nodes: &Nodes| view(nodes, ids[0], |view| (view.running(), view.memory_free()));
    let dropped = nodes.reserve(ids[0], Lane::Wasm, ByteSize::mib(100));
    let ended = nodes.reserve(ids[0], Lane::Wasm, ByteSize::mib(100));
    assert_eq!(free(&nodes), (2, ByteSize::mib(824)));
    drop(dropped);
    assert_eq!(free(&nodes), (1, ByteSize::mib(924)));
    ended.release(Some(LastWord { running: 5, beside_the_run: Duration::ZERO }));
    assert_eq!(free(&nodes), (5, ByteSize::mib(1024)), "the node has said how many runs it has");
    // A process that starts anew may drop what it had before.
    let old = nodes.reserve(ids[0], Lane::Wasm, ByteSize::mib(100));
    nodes.clear();
    drop(old);
    assert_eq!(nodes.look(<[NodeView]>::len), 0);
}

#[test]
fn a_suspect_is_asked_last_until_it_reports_or_some_time_has_passed() {
    let (nodes, ids) = with(3);
    let now = Instant::now();
    let first = |at: Instant| nodes.rank(at, as_they_are).ranked[0].node;
    assert_eq!(first(now), ids[0]);
    nodes.suspect(ids[0], now);
    assert_eq!(first(now), ids[1]);
    assert_eq!(nodes.rank(now, as_they_are).ranked.last().unwrap().node, ids[0]);
    assert_eq!(first(now + SUSPECT_FOR), ids[0]);
    nodes.heard(report(ids[0]), now);
    assert_eq!(first(now), ids[0]);
}

#[test]
fn lanes_are_those_of_nodes_that_are_there() {
    let (nodes, ids) = with(2);
    let now = Instant::now();
    nodes.heard(NodeReport { lanes: vec![Lane::Vm], draining: true, ..report(ids[1]) }, now);
    assert_eq!(nodes.lanes(), [Lane::Wasm]);
    nodes.heard(NodeReport { lanes: vec![Lane::Vm], ..report(ids[1]) }, now);
    assert_eq!(nodes.lanes(), [Lane::Wasm, Lane::Vm]);
    nodes.pass(now + Duration::from_secs(60));
    assert!(nodes.lanes().is_empty(), "all are silent");
}
