//! Where the learned policy sends a run: what a node has of the artifact, how far away it is, and whether it fails.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use protocol::{ByteSize, VersionId};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use uuid::Uuid;

use super::{finished, history, node, node_id, request, version};
use crate::{Candidate, Finished, Learned, NodeView, Policy as _, RunRequest, Snapshot, Warmth};

static SNAPSHOT: LazyLock<Arc<Snapshot>> =
    LazyLock::new(|| Arc::new(Snapshot::train(&history(4_000, 5), Duration::ZERO).unwrap()));

fn taught() -> Learned {
    let mut policy = Learned::default();
    policy.adopt(&SNAPSHOT);
    policy
}

fn of(number: u8) -> RunRequest {
    RunRequest { version: version(number), input: ByteSize(50_000), ..request() }
}

/// Nodes that nothing is known of: of average speed.
fn strangers() -> [NodeView; 2] {
    [node(100), node(101)]
}

fn with(mut node: NodeView, warmth: Warmth) -> NodeView {
    node.artifacts.insert(request().artifact, warmth);
    node
}

fn ranked(policy: &mut Learned, request: &RunRequest, nodes: &[NodeView]) -> Vec<Candidate> {
    policy.rank(request, nodes, &mut SmallRng::seed_from_u64(1)).ranked
}

#[test]
fn what_is_on_disk_is_worth_more_than_nothing_and_less_than_what_is_loaded() {
    let mut policy = taught();
    for _ in 0..200 {
        policy.observe(&Finished { warmth: Warmth::Cached, ..finished(1, 20) });
    }
    let [one, other] = strangers();
    let found = ranked(&mut policy, &of(1), &[one.clone(), with(other.clone(), Warmth::Cached)]);
    assert_eq!((found[0].node, found[0].warmth), (node_id(101), Warmth::Cached));
    let [cached, cold] = [0, 1].map(|place: usize| found[place].predicted_s.unwrap());
    assert!(cold > cached + 0.02, "{cached} s with it on disk, {cold} s without");
    let found = ranked(&mut policy, &of(1), &[with(one, Warmth::Warm), with(other, Warmth::Cached)]);
    assert_eq!(found[0].node, node_id(100));
    assert!(found[0].predicted_s.unwrap() < cached);
}

#[test]
fn a_short_run_stays_near_and_a_long_one_goes_where_there_is_room() {
    let mut policy = taught();
    let [mut near, mut far] = strangers();
    near.running_known = 6;
    far.distance.saw(Duration::from_millis(80));
    let nodes = [near, far];
    let first = |policy: &mut Learned, number| ranked(policy, &of(number), &nodes)[0];
    assert_eq!(first(&mut policy, 1).node, node_id(100));
    let to = first(&mut policy, 6);
    assert_eq!(to.node, node_id(101));
    assert!((0.079..0.081).contains(&to.distance_s.unwrap()));
}

#[test]
fn a_node_where_runs_fail_comes_last_and_a_version_that_fails_is_no_nodes_fault() {
    let mut policy = taught();
    let on = |nth: usize, number: u8, failed: bool| Finished {
        node: node_id(100 + nth % 2),
        version: version(number),
        failed,
        ..finished(1, 10)
    };
    // Two in three of the first node's runs fail, of a version that is well elsewhere.
    for nth in 0..400 {
        policy.observe(&on(nth, 1, nth % 2 == 0 && nth % 3 != 0));
    }
    let [bad, good] = [0, 1].map(|nth| policy.knowledge().history().speed(node_id(100 + nth)).failures());
    assert!(bad > 0.2 && good < 0.02, "{bad} and {good}");
    let found = ranked(&mut policy, &of(3), &strangers());
    assert_eq!(found[0].node, node_id(101));
    let [there, here] = [0, 1].map(|place: usize| found[place].predicted_failure.unwrap());
    assert!(here > there + 0.2, "{there} there, {here} here");

    // A version that fails everywhere says nothing of where it runs.
    let mut policy = taught();
    for nth in 0..400 {
        policy.observe(&on(nth, 77, true));
    }
    let failures = policy.knowledge().history().speed(node_id(100)).failures();
    assert!(failures < 0.02, "{failures}");
}

#[test]
fn a_version_that_often_fails_is_predicted_to() {
    let runs: Vec<Finished> = history(4_000, 5)
        .into_iter()
        .enumerate()
        .map(|(nth, run)| Finished { failed: run.version == version(2) && nth % 2 == 0, ..run })
        .collect();
    let mut policy = Learned::default();
    policy.adopt(&Arc::new(Snapshot::train(&runs, Duration::ZERO).unwrap()));
    let [sick, well] =
        [2, 3].map(|number| ranked(&mut policy, &of(number), &strangers())[0].predicted_failure.unwrap());
    assert!(sick > 0.3 && well < 0.1, "{sick} and {well}");
}

#[test]
fn a06_ever_new_versions_do_not_keep_others_from_being_known() {
    let new = |number: u128| VersionId::from_uuid(Uuid::from_u128(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let mut history = crate::History::default();
    (0..50).for_each(|_| history.observe(&finished(1, 20)));
    (10..30_000).for_each(|number| history.observe(&Finished { version: new(number), ..finished(1, 20) }));
    assert!(history.knows(version(1)), "what runs stays known");
    (0..50).for_each(|_| history.observe(&finished(2, 20)));
    assert!(history.knows(version(2)), "and what comes later is learned");
}
