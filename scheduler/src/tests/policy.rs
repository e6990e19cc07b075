//! The order of candidates, and that the explanation is whole.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;
use protocol::{NodeId, PlacementClass};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::{any_nodes, any_request, artifact, node, node_id, request};
use crate::{COLD_PENALTY, LeastLoaded, NEAR_EQUAL, NodeView, Policy, RANKED_MAX, Refusal, WarmFirst, refuse};

const POLICIES: [(&str, &dyn Policy); 2] = [("least_loaded", &LeastLoaded), ("warm_first", &WarmFirst)];

proptest! {
    #[test]
    fn every_node_is_accounted_for(request in any_request(), nodes in any_nodes(), seed: u64) {
        for (name, policy) in POLICIES {
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
        warm.warm.insert(artifact(1));
        warm.running_known = warm_running;
        let nodes = [node(0), warm, node(2)];
        let placement = WarmFirst.rank(&request(), &nodes, &mut SmallRng::seed_from_u64(3));
        (placement.ranked[0].node, placement.ranked[0].warm)
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
    warm.warm.insert(artifact(1));
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
