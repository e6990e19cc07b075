//! When the policy goes by its model, when it does not, and that several gateways do not run to the same node.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use protocol::placement::LaneReason;
use protocol::{ByteSize, Lane, NodeId};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::{any_nodes, any_request, finished, history, node, node_id, record, report, request, version};
use crate::{
    Finished, Knowledge, Learned, Memo, NodeTable, NodeView, Policy, Refusal, RunRequest, Snapshot, Standing, Tuning,
    Warmth, refuse,
};

static SNAPSHOT: LazyLock<Arc<Snapshot>> =
    LazyLock::new(|| Arc::new(Snapshot::train(&history(4_000, 5), Duration::from_secs(3_600)).unwrap()));

fn taught() -> Learned {
    let mut policy = Learned::default();
    policy.pass(Duration::from_secs(3_600));
    policy.adopt(&SNAPSHOT);
    policy
}

fn of(number: u8) -> RunRequest {
    RunRequest { version: version(number), input: ByteSize(50_000), ..request() }
}

fn used(policy: &mut Learned) -> String {
    policy.rank(&of(1), &[node(0)], &mut SmallRng::seed_from_u64(1)).policy.into_owned()
}

#[test]
fn without_a_model_it_falls_back() {
    assert_eq!(used(&mut Learned::default()), "fallback");
    assert_eq!(used(&mut taught()), "learned");
}

#[test]
fn an_old_model_is_not_used_until_a_new_one_comes() {
    let mut policy = taught();
    policy.pass(Duration::from_secs(3_600) + Tuning::default().age_max + Duration::from_secs(1));
    assert_eq!(used(&mut policy), "fallback");
    let mut newer = Snapshot::clone(&SNAPSHOT);
    newer.trained_at += Tuning::default().age_max;
    policy.adopt(&Arc::new(newer));
    assert_eq!(used(&mut policy), "learned");
}

#[test]
fn a_model_that_is_wrong_is_not_used() {
    let mut policy = taught();
    for run in history(1_000, 6).iter().filter(|run| run.version != version(7) && run.version != version(8)) {
        policy.observe(run);
    }
    assert_eq!(used(&mut policy), "learned");
    // What took 10 ms takes 1 ms or 30 s now, by turns: nothing that was learned holds.
    for nth in 0..400 {
        policy.observe(&finished(1, if nth % 2 == 0 { 1 } else { 30_000 }));
    }
    assert_eq!(used(&mut policy), "fallback", "with a live error of {}", policy.live_error());
    policy.adopt(&SNAPSHOT);
    assert_eq!(used(&mut policy), "learned");
}

#[test]
fn a_node_that_left_is_forgotten() {
    let mut policy = taught();
    let knows = |policy: &Learned| policy.knowledge().history().knows_node(node_id(1));
    assert!(knows(&policy));
    policy.forget_node(node_id(1));
    assert!(!knows(&policy));
    let usual = policy.knowledge().history().speed(node_id(99));
    assert_eq!(policy.knowledge().history().speed(node_id(1)), usual);
}

#[test]
fn it_goes_on_learning_between_models() {
    let mut policy = taught();
    let predicted = |policy: &mut Learned| policy.predict(version(40), ByteSize(0), Lane::Wasm).unwrap()[3].median_s();
    let before = predicted(&mut policy);
    for _ in 0..100 {
        policy.observe(&Finished { version: version(40), ..finished(40, 5) });
    }
    let after = predicted(&mut policy);
    assert!((0.002..0.02).contains(&after), "{before} s before, {after} s after runs of 5 ms");
}

#[test]
fn short_runs_take_fast_nodes_and_long_ones_leave_them() {
    let mut policy = taught();
    let nodes = [node(0), node(1), node(2)];
    let mut rng = SmallRng::seed_from_u64(1);
    let placement = policy.rank(&of(1), &nodes, &mut rng);
    assert_eq!(placement.ranked[0].node, node_id(1));
    // It is explained: twice as fast, half the time.
    let predicted = |number: usize| {
        placement.ranked.iter().find(|candidate| candidate.node == node_id(number)).unwrap().predicted_s.unwrap()
    };
    let faster = predicted(0) / predicted(1);
    assert!((1.4..2.8).contains(&faster), "{} s and {} s", predicted(0), predicted(1));
    let mut long = of(8);
    long.input = ByteSize(1_000_000);
    assert_ne!(policy.rank(&long, &nodes, &mut rng).ranked[0].node, node_id(1));
}

#[test]
fn a_vm_is_chosen_where_it_is_predicted_to_be_much_faster() {
    let with_vm = |number: usize| {
        let mut node = node(number);
        node.report.as_mut().unwrap().lanes.push(Lane::Vm);
        node
    };
    let nodes = [with_vm(0), node(1)];
    let lanes_after = |wasm_ms: u64, vm_ms: u64| {
        let both = |nth: u64| {
            let lane = if (nth / 4).is_multiple_of(2) { Lane::Wasm } else { Lane::Vm };
            let wall_ms = if lane == Lane::Wasm { wasm_ms } else { vm_ms };
            Finished { lane, ..finished(u8::try_from(nth % 4).unwrap(), wall_ms + nth % 7) }
        };
        let runs: Vec<Finished> = (0..4_000).map(both).collect();
        let mut policy = Learned::default();
        policy.adopt(&Arc::new(Snapshot::train(&runs, Duration::ZERO).unwrap()));
        let placement = policy.rank(&of(1), &nodes, &mut SmallRng::seed_from_u64(1));
        assert_eq!(placement.policy, "learned");
        let mut lanes: Vec<_> = placement.ranked.iter().map(|one| (one.node, one.lane, one.lane_reason)).collect();
        lanes.sort_by_key(|(node, ..)| *node);
        lanes
    };
    let (wasm, vm) = ((Lane::Wasm, LaneReason::Wasm), (Lane::Vm, LaneReason::Faster));
    let on = |first: (Lane, LaneReason), second: (Lane, LaneReason)| {
        vec![(node_id(0), first.0, first.1), (node_id(1), second.0, second.1)]
    };
    assert_eq!(lanes_after(4_000, 200), on(vm, wasm), "only where there is one");
    assert_eq!(lanes_after(200, 4_000), on(wasm, wasm));
    assert_eq!(lanes_after(300, 250), on(wasm, wasm), "not for a little");
    // A version that never ran in one is not tried there, however slow it seems.
    let mut policy = taught();
    for _ in 0..100 {
        policy.observe(&finished(1, 2_000));
    }
    let placement = policy.rank(&of(1), &nodes, &mut SmallRng::seed_from_u64(1));
    assert!(placement.ranked.iter().all(|one| one.lane == Lane::Wasm));
}

#[test]
fn the_last_cores_are_kept_for_short_runs_but_not_for_ever() {
    let mut policy = taught();
    let mut nodes = [node(0), node(1)];
    for node in &mut nodes {
        node.running_known = 62;
    }
    let mut rng = SmallRng::seed_from_u64(1);
    assert!(!policy.rank(&of(1), &nodes, &mut rng).ranked.is_empty());
    let mut long = of(8);
    long.input = ByteSize(1_000_000);
    let held = policy.rank(&long, &nodes, &mut rng);
    assert!(held.refused.iter().all(|refused| refused.why == Refusal::KeptForShorter));
    assert!(held.only_full(), "{}", held.summary());
    long.waited = Duration::from_secs(3_600);
    assert!(!policy.rank(&long, &nodes, &mut rng).ranked.is_empty());
}

#[test]
fn a_run_waits_a_little_for_a_warm_node_that_is_full() {
    let mut policy = taught();
    let mut warm = node(0);
    warm.artifacts.insert(request().artifact, Warmth::Warm);
    warm.running_known = 64;
    let nodes = [warm, node(1)];
    let mut rng = SmallRng::seed_from_u64(1);
    let mut wanted = of(5);
    let waits = policy.rank(&wanted, &nodes, &mut rng);
    assert!(waits.ranked.is_empty() && waits.only_full());
    assert!(waits.refused.iter().any(|it| it.node == node_id(1) && it.why == Refusal::WarmElsewhere));
    wanted.waited = Duration::from_secs(5);
    assert_eq!(policy.rank(&wanted, &nodes, &mut rng).ranked[0].node, node_id(1));
}

/// A call is not held back for longer than its caller would bear: there is room, though not the best.
#[test]
fn a_call_is_held_back_for_a_moment_only() {
    let moment = Duration::from_millis(250);
    let knowledge = taught().knowledge().clone();
    let mut rng = SmallRng::seed_from_u64(1);
    let mut places = |wanted: &RunRequest, nodes: &[NodeView]| {
        !knowledge.rank(&mut Memo::default(), wanted, nodes, &mut rng).ranked.is_empty()
    };
    let mut busy = [node(0), node(1)];
    for node in &mut busy {
        node.running_known = 4;
    }
    let long = RunRequest { input: ByteSize(1_000_000), wait_max: moment, ..of(8) };
    assert!(!places(&long, &busy));
    assert!(places(&RunRequest { waited: moment, ..long }, &busy));

    let mut warm = node(0);
    warm.artifacts.insert(request().artifact, Warmth::Warm);
    warm.running_known = 64;
    let nodes = [warm, node(1)];
    let call = RunRequest { wait_max: Duration::from_millis(1), ..of(5) };
    assert!(!places(&call, &nodes));
    assert!(places(&RunRequest { waited: Duration::from_millis(1), ..call }, &nodes));
}

/// Nodes have far more slots than cores: what runs beyond the cores shares them, and is predicted so.
#[test]
fn runs_spread_over_cores_before_they_share_one() {
    let knowledge = taught().knowledge().clone();
    let mut crowded = node(100);
    crowded.running_known = 11;
    let placement =
        knowledge.rank(&mut Memo::default(), &of(3), &[crowded, node(101)], &mut SmallRng::seed_from_u64(1));
    assert_eq!(placement.ranked[0].node, node_id(101));
    let [idle, crowded] = [0, 1].map(|place: usize| placement.ranked[place].predicted_s.unwrap());
    assert!((2.9..3.1).contains(&(crowded / idle)), "12 runs on 4 cores take {crowded} s, and {idle} s alone");
}

/// Placements on many threads share what is known, and what is learned meanwhile does not change it under them.
#[test]
fn knowledge_is_shared_and_stays_as_it_is() {
    let mut policy = taught();
    let knowledge = Arc::new(policy.knowledge().clone());
    let predicted =
        |knowledge: &Knowledge| knowledge.predict(&mut Memo::default(), version(1), ByteSize(0), Lane::Wasm).unwrap();
    let before = predicted(&knowledge);
    for _ in 0..300 {
        policy.observe(&finished(1, 14));
    }
    assert_ne!(predicted(policy.knowledge()), before);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| assert_eq!(predicted(&knowledge), before));
        }
    });
}

#[test]
fn it_says_how_it_stands() {
    let standing = |policy: &Learned| policy.knowledge().standing();
    assert_eq!(standing(&Learned::default()), Standing::Missing);
    let mut policy = taught();
    assert_eq!(standing(&policy), Standing::Trusted);
    policy.pass(Duration::from_secs(3_601) + Tuning::default().age_max);
    assert_eq!(standing(&policy), Standing::Old);
    // Clocks jump, also back.
    policy.pass(Duration::ZERO);
    assert_eq!(standing(&policy), Standing::Trusted);
    for nth in 0..400 {
        policy.observe(&finished(1, if nth % 2 == 0 { 1 } else { 30_000 }));
    }
    assert_eq!(standing(&policy), Standing::Wrong);
}

/// Three gateways see the same reports, a second old, and not each other's starts.
#[test]
fn three_gateways_do_not_herd() {
    const NODES: usize = 60;
    const RUNS: usize = 60;
    let now = Instant::now();
    let mut on = HashMap::<NodeId, u32>::new();
    for gateway in 0..3 {
        let mut policy = taught();
        let mut rng = SmallRng::seed_from_u64(gateway);
        let mut table = NodeTable::new();
        // Nobody knows anything of them: all are equal.
        for number in 100..100 + NODES {
            table.upsert(record(number));
            table.heard(report(number), now);
        }
        for _ in 0..RUNS {
            let best = policy.rank(&of(3), table.views(now), &mut rng).ranked[0].node;
            table.started(best, ByteSize::mib(128));
            *on.entry(best).or_default() += 1;
        }
    }
    // 180 runs on 60 nodes: 3 each, by chance 11 at most. In a herd one node would have 60 of a gateway, or 180.
    let most = on.values().max().unwrap();
    assert!(*most <= 11, "{most} runs on one node");
    assert!(on.len() >= 45, "only {} nodes are used", on.len());
}

/// Nor to a node that is twice as fast: each fills its cores, then the others look better.
#[test]
fn a_fast_node_is_not_buried_by_three_gateways() {
    let now = Instant::now();
    let (mut on_fast, mut used) = (0, HashMap::<NodeId, u32>::new());
    for gateway in 0..3 {
        let knowledge = taught().knowledge().clone();
        let (mut rng, mut memo) = (SmallRng::seed_from_u64(gateway), Memo::default());
        let mut table = NodeTable::new();
        for number in [1].into_iter().chain(100..119) {
            table.upsert(record(number));
            table.heard(report(number), now);
        }
        for _ in 0..60 {
            let best = knowledge.rank(&mut memo, &of(3), table.views(now), &mut rng).ranked[0].node;
            table.started(best, ByteSize::mib(128));
            on_fast += u32::from(best == node_id(1));
            *used.entry(best).or_default() += 1;
        }
    }
    // 180 runs on 20 nodes of 4 cores. A herd would put 64 of each gateway there, as many as it has slots.
    assert!((12..=36).contains(&on_fast), "{on_fast} runs on the fast node");
    assert!(used.len() == 20, "only {} nodes are used", used.len());
}

proptest! {
    /// With a model too, every node is named or refused, and none that may not do the run is named.
    #[test]
    fn the_filter_holds_with_a_model(wanted in any_request(), nodes in any_nodes(), waited_s in 0..100_u64, seed: u64) {
        let mut policy = taught();
        let wanted = RunRequest { waited: Duration::from_secs(waited_s), ..wanted };
        let placement = policy.rank(&wanted, &nodes, &mut SmallRng::seed_from_u64(seed));
        for candidate in &placement.ranked {
            let node: &NodeView = nodes.iter().find(|node| node.record.node == candidate.node).unwrap();
            prop_assert_eq!(refuse(&wanted, candidate.lane, node), None);
            prop_assert!(candidate.score.is_finite());
        }
        for node in &nodes {
            let id = node.record.node;
            let named = placement.ranked.iter().any(|candidate| candidate.node == id);
            let refused = placement.refused.iter().any(|refused| refused.node == id);
            prop_assert!(named != refused || (!named && placement.ranked.len() == crate::RANKED_MAX));
        }
    }
}
