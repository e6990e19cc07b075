//! Runs that wait: in the policy's order, bounded in number and time, and nobody for ever.

use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::{finished, node, request, version};
use crate::{Learned, NodeView, Policy, RunRequest, ShortestMean, Waiting, WaitingRoom};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn of(number: u8) -> RunRequest {
    RunRequest { version: version(number), ..request() }
}

/// A policy that knows version 2 as short and version 3 as long.
fn taught<P: Policy>(mut policy: P) -> P {
    for _ in 0..20 {
        policy.observe(&finished(2, 100));
        policy.observe(&finished(3, 60_000));
    }
    policy
}

fn enter(room: &mut WaitingRoom<u32>, policy: &mut dyn Policy, number: u8, since: u64, owner: u32) {
    assert!(room.enter(policy, Waiting { request: of(number), since: secs(since), owner }).is_ok());
}

fn next(room: &mut WaitingRoom<u32>, policy: &mut dyn Policy, nodes: &[NodeView]) -> Option<u32> {
    let found = room.next(policy, nodes, secs(100), &mut SmallRng::seed_from_u64(1));
    found.map(|(waiting, placement)| {
        assert!(!placement.ranked.is_empty());
        waiting.owner
    })
}

#[test]
fn short_runs_go_first() {
    let mut policy = taught(ShortestMean::default());
    let mut room = WaitingRoom::new(8);
    for (number, owner) in [(3, 1), (2, 2), (3, 3), (2, 4)] {
        enter(&mut room, &mut policy, number, u64::from(owner), owner);
    }
    let nodes = [node(0)];
    let order: Vec<u32> = std::iter::from_fn(|| next(&mut room, &mut policy, &nodes)).collect();
    assert_eq!(order, [2, 4, 1, 3]);
    assert!(room.is_empty());
}

#[test]
fn with_ageing_a_long_run_is_not_overtaken_for_ever() {
    let mut policy = taught(Learned::default());
    let mut room = WaitingRoom::new(8);
    enter(&mut room, &mut policy, 3, 0, 1);
    enter(&mut room, &mut policy, 2, 10, 2);
    // It came hours later: by then it is the long one's turn.
    enter(&mut room, &mut policy, 2, 100_000, 3);
    let nodes = [node(0)];
    let order: Vec<u32> = std::iter::from_fn(|| next(&mut room, &mut policy, &nodes)).collect();
    assert_eq!(order, [2, 1, 3]);
}

#[test]
fn one_that_fits_nowhere_does_not_hold_back_the_others() {
    let mut policy = ShortestMean::default();
    let mut room = WaitingRoom::new(8);
    let mut huge = of(1);
    huge.limits.memory = protocol::ByteSize::mib(1 << 20);
    assert!(room.enter(&mut policy, Waiting { request: huge, since: secs(0), owner: 1 }).is_ok());
    enter(&mut room, &mut policy, 2, 1, 2);
    assert_eq!(next(&mut room, &mut policy, &[node(0)]), Some(2));
    assert_eq!(next(&mut room, &mut policy, &[node(0)]), None);
    assert_eq!(room.len(), 1);
}

#[test]
fn many_of_a_version_that_fits_nowhere_do_not_either() {
    let mut policy = ShortestMean::default();
    let mut room = WaitingRoom::new(1_000);
    let mut huge = of(1);
    huge.limits.memory = protocol::ByteSize::mib(1 << 20);
    for owner in 0..500 {
        assert!(room.enter(&mut policy, Waiting { request: huge.clone(), since: secs(0), owner }).is_ok());
    }
    enter(&mut room, &mut policy, 2, 1, 999);
    assert_eq!(next(&mut room, &mut policy, &[node(0)]), Some(999));
}

#[test]
fn room_and_waiting_are_bounded() {
    let mut policy = ShortestMean::default();
    let mut room = WaitingRoom::new(2);
    enter(&mut room, &mut policy, 1, 0, 1);
    enter(&mut room, &mut policy, 1, 5, 2);
    let refused = room.enter(&mut policy, Waiting { request: of(1), since: secs(6), owner: 3 });
    assert_eq!(refused.unwrap_err().owner, 3);
    let late: Vec<u32> = room.expire(secs(7), secs(5)).into_iter().map(|waiting| waiting.owner).collect();
    assert_eq!((late, room.len()), (vec![1], 1));
}
