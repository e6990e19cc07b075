//! The order of candidates, and that the explanation is whole.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use proptest::prelude::*;
use protocol::{NodeId, PlacementClass};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::{any_nodes, any_request, artifact, finished, node, node_id, request, version};
use crate::{
    BoundedHash, COLD_PENALTY, Learned, LeastLoaded, NEAR_EQUAL, NodeView, Policy, PowerOfTwo, RANKED_MAX, Random,
    Refusal, RoundRobin, ShortestMean, WarmFirst, Warmth, refuse,
};

/// Every policy, with the name that it gives its placements.
fn policies() -> [(&'static str, Box<dyn Policy>); 8] {
    [
        ("random", Box::new(Random)),
        ("round_robin", Box::new(RoundRobin::default())),
        ("least_loaded", Box::new(LeastLoaded)),
        ("power_of_two", Box::new(PowerOfTwo)),
        ("ch_bl", Box::new(BoundedHash)),
        ("warm_first", Box::new(WarmFirst)),
        ("warm_first_sjf", Box::new(ShortestMean::default())),
        ("fallback", Box::new(Learned::default())),
    ]
}

proptest! {
    #[test]
    fn every_node_is_accounted_for(request in any_request(), nodes in any_nodes(), seed: u64) {
        for (name, mut policy) in policies() {
            let placement = policy.rank(&request, &nodes, &mut SmallRng::seed_from_u64(seed));
            prop_assert_eq!(&placement.policy, name);
            let ranked: BTreeSet<NodeId> = placement.ranked.iter().map(|candidate| candidate.node).collect();
            let refused: BTreeSet<NodeId> = placement.refused.iter().map(|refused| refused.node).collect();
            prop_assert!(ranked.is_disjoint(&refused));
            prop_assert_eq!(ranked.len(), placement.ranked.len());
            prop_assert_eq!(ranked.len(), (nodes.len() - refused.len()).min(RANKED_MAX));
            for candidate in &placement.ranked {
                let node = nodes.iter().find(|node| node.record.node == candidate.node).unwrap();
                prop_assert_eq!(refuse(&request, candidate.lane, node), None);
                prop_assert!(candidate.score.is_finite());
            }
            prop_assert!(placement.ranked.is_sorted_by(|a, b| a.score <= b.score));
        }
    }

    /// No policy sends a run where it may not go: no slot, no memory, a node that it does not trust.
    #[test]
    fn a_full_or_distrusted_node_is_never_named(request in any_request(), nodes in any_nodes(), seed: u64) {
        for (_, mut policy) in policies() {
            for candidate in policy.rank(&request, &nodes, &mut SmallRng::seed_from_u64(seed)).ranked {
                let node = nodes.iter().find(|node| node.record.node == candidate.node).unwrap();
                let report = node.report.as_ref().unwrap();
                prop_assert!(node.running() < report.slots);
                prop_assert!(node.memory_free() >= request.limits.memory);
                prop_assert!(request.placement != PlacementClass::Own || node.record.account == request.account);
                prop_assert!(request.placement != PlacementClass::Operator || node.record.class == PlacementClass::Operator);
            }
        }
    }

    /// Chance only orders near-equals, and nobody who was left out is clearly better than one who was named.
    #[test]
    fn less_work_comes_first(request in any_request(), nodes in any_nodes(), seed: u64) {
        let placement = LeastLoaded.rank(&request, &nodes, &mut SmallRng::seed_from_u64(seed));
        let slack = 1.0 + NEAR_EQUAL * 1.01;
        prop_assert!(placement.ranked.is_sorted_by(|a, b| a.pressure <= b.pressure * slack));
        let Some(worst) = placement.ranked.last() else { return Ok(()) };
        for node in &nodes {
            let id = node.record.node;
            let named = placement.ranked.iter().any(|candidate| candidate.node == id);
            let refused = placement.refused.iter().any(|refused| refused.node == id);
            prop_assert!(named || refused || worst.pressure <= node.pressure() * slack);
        }
    }

    /// The same nodes, in whatever order and with the same chance for all, give the same explanation.
    #[test]
    fn refusals_do_not_depend_on_the_order(request in any_request(), nodes in any_nodes()) {
        let mut backwards = nodes.clone();
        backwards.reverse();
        let refused = |nodes: &[NodeView]| {
            let placement = WarmFirst.rank(&request, nodes, &mut SmallRng::seed_from_u64(1));
            placement.refused.into_iter().collect::<std::collections::HashSet<_>>()
        };
        prop_assert_eq!(refused(&nodes), refused(&backwards));
    }
}

#[test]
fn a_warm_node_is_preferred_until_it_is_far_busier() {
    let first = |warm_running: u32| {
        let mut warm = node(1);
        warm.artifacts.insert(artifact(1), Warmth::Warm);
        warm.running_known = warm_running;
        let nodes = [node(0), warm, node(2)];
        let placement = WarmFirst.rank(&request(), &nodes, &mut SmallRng::seed_from_u64(3));
        (placement.ranked[0].node, placement.ranked[0].warmth == Warmth::Warm)
    };
    assert_eq!(first(0), (node_id(1), true));
    assert_eq!(first(8), (node_id(1), true));
    // Four cores; the cold ones count as COLD_PENALTY for each core busier.
    const { assert!(COLD_PENALTY * 4.0 * (1.0 + NEAR_EQUAL) < 40.0) };
    assert!(!first(40).1);
}

#[test]
fn least_loaded_does_not_care_for_warmth() {
    let mut warm = node(0);
    warm.artifacts.insert(artifact(1), Warmth::Warm);
    warm.running_known = 8;
    let placement = LeastLoaded.rank(&request(), &[warm, node(1)], &mut SmallRng::seed_from_u64(3));
    assert_eq!(placement.ranked[0].node, node_id(1));
}

#[test]
fn several_gateways_do_not_run_to_the_same_of_equal_nodes() {
    let nodes: Vec<NodeView> = (0..10).map(node).collect();
    let mut rng = SmallRng::seed_from_u64(7);
    let mut firsts = HashMap::<NodeId, u32>::new();
    for _ in 0..10_000 {
        *firsts.entry(WarmFirst.rank(&request(), &nodes, &mut rng).ranked[0].node).or_default() += 1;
    }
    assert_eq!(firsts.len(), nodes.len());
    for (node, count) in firsts {
        assert!((850..1150).contains(&count), "{node} came first {count} times of 10,000");
    }
}

/// A node that keeps its machine busy with something else is asked later.
#[test]
fn work_that_is_not_ours_counts() {
    let mut busy = node(0);
    busy.report.as_mut().unwrap().load = 0.9;
    let placement = LeastLoaded.rank(&request(), &[busy, node(1)], &mut SmallRng::seed_from_u64(3));
    assert_eq!(placement.ranked[0].node, node_id(1));
}

#[test]
fn nobody_left_says_why() {
    let mut rng = SmallRng::seed_from_u64(1);
    let mut wanted = request();
    let none = WarmFirst.rank(&wanted, &[], &mut rng);
    assert_eq!((none.summary().as_str(), none.only_full()), ("no nodes", false));

    let mut full = node(1);
    full.running_known = 64;
    let full = WarmFirst.rank(&wanted, &[full], &mut rng);
    assert_eq!((full.summary().as_str(), full.only_full()), ("1 node: 1 without a free slot", true));

    wanted.placement = PlacementClass::Own;
    let foreign = WarmFirst.rank(&wanted, &[node(1), node(2)], &mut rng);
    assert_eq!(foreign.refused[0].why, Refusal::PlacementClass);
    assert!(!foreign.only_full());
    assert_eq!(foreign.summary(), "2 nodes: 2 not of the placement class that the version trusts");
}

#[test]
fn round_robin_goes_round() {
    let nodes: Vec<NodeView> = (0..3).map(node).collect();
    let mut policy = RoundRobin::default();
    let mut rng = SmallRng::seed_from_u64(1);
    let firsts: Vec<NodeId> = (0..6).map(|_| policy.rank(&request(), &nodes, &mut rng).ranked[0].node).collect();
    assert_eq!(firsts, [0, 1, 2, 0, 1, 2].map(node_id));
}

#[test]
fn the_less_loaded_of_two_is_taken() {
    let mut busy = node(0);
    busy.running_known = 20;
    let nodes = [busy, node(1)];
    let mut rng = SmallRng::seed_from_u64(1);
    assert!((0..50).all(|_| PowerOfTwo.rank(&request(), &nodes, &mut rng).ranked[0].node == node_id(1)));
}

#[test]
fn a_version_has_its_own_node_until_that_is_too_busy() {
    let mut nodes: Vec<NodeView> = (0..10).map(node).collect();
    let mut rng = SmallRng::seed_from_u64(1);
    let mut first = |nodes: &[NodeView]| BoundedHash.rank(&request(), nodes, &mut rng).ranked[0].node;
    let home = first(&nodes);
    assert!((0..20).all(|_| first(&nodes) == home));
    nodes.iter_mut().find(|node| node.record.node == home).unwrap().running_known = 30;
    assert_ne!(first(&nodes), home);
    nodes.retain(|node| node.record.node != home);
    assert_ne!(first(&nodes), home);
}

#[test]
fn shortest_first_goes_by_the_mean_so_far() {
    let mut policy = ShortestMean::default();
    let (mut short, mut long) = (request(), request());
    (short.version, long.version) = (version(2), version(3));
    for (version, seconds) in [(2, 1), (3, 10), (2, 3), (3, 20)] {
        policy.observe(&finished(version, seconds * 1_000));
    }
    assert_eq!(policy.order(&short, Duration::ZERO), 2.0);
    assert_eq!(policy.order(&long, Duration::from_secs(9)), 15.0);
    // Nobody knows the third: the mean of all.
    assert_eq!(policy.order(&request(), Duration::ZERO), 8.5);
}
