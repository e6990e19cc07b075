//! What a placement takes: it stands on the path of every run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use protocol::node::{NodeRecord, NodeReport};
use protocol::{
    AccountId, ArtifactForm, ByteSize, Digest, Kind, Lane, LaneChoice, Limits, NodeId, PlacementClass, VersionId,
};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use scheduler::{
    Finished, Learned, LeastLoaded, Memo, NodeTable, NodeView, Policy, RANKED_MAX, RunRequest, Snapshot, WarmFirst,
    Warmth,
};

use crate::checks::{Bound, Goal};
use crate::figures::Figure;

const NODES: usize = 1_000;
const ROUNDS: usize = 7;
const PLACEMENTS: usize = 1_000;
/// The goal: 50 us at the 99th percentile.
const P99_MAX_US: f64 = 50.0;
/// Versions that the model has seen.
const VERSIONS: usize = 8;
const RUNS: usize = 4_000;

/// The figures, and which goals they reach.
pub(crate) fn measure() -> anyhow::Result<(Vec<Figure>, Vec<Goal>)> {
    let mut table = NodeTable::new();
    let (nodes, versions) = fill(&mut table);
    let request = |version: VersionId| RunRequest {
        version,
        account: AccountId::new(),
        artifact: artifact(0),
        kind: Kind::Http,
        lane: LaneChoice::Auto,
        placement: PlacementClass::Any,
        arch: None,
        form: ArtifactForm::Wasm,
        limits: Limits::default(),
        input: ByteSize(1_000),
        waited: Duration::ZERO,
        wait_max: Duration::MAX,
        slots_share: 100,
    };
    let requests: Vec<RunRequest> = versions.iter().map(|version| request(*version)).collect();
    let runs = history(&nodes, &versions);
    let mut learned = Learned::default();
    learned.adopt(&Arc::new(Snapshot::train(&runs, Duration::ZERO)?));
    ensure!(learned.knowledge().model().is_some(), "the model is not trusted");
    let knowledge = learned.knowledge().clone();
    let views = table.seen();

    let mut rng = SmallRng::seed_from_u64(1);
    let mut memo = Memo::default();
    let least = time("least_loaded", &requests, |request| LeastLoaded.rank(request, views, &mut rng).ranked.len())?;
    let warm = time("warm_first", &requests, |request| WarmFirst.rank(request, views, &mut rng).ranked.len())?;
    let known = time("learned", &requests, |request| knowledge.rank(&mut memo, request, views, &mut rng).ranked.len())?;
    // As if each run were the first of its version since something was learned of it.
    let anew = time("learned, predicted anew", &requests, |request| {
        memo.forget_predictions();
        knowledge.rank(&mut memo, request, views, &mut rng).ranked.len()
    })?;
    let figures = vec![least, warm, known, anew];
    let goals = figures.iter().map(|figure| {
        let what = format!("{}: a placement among {NODES} nodes, p99 in us", figure.of);
        Goal::new(what, Bound::AtMost, P99_MAX_US, figure.median)
    });
    let goals = goals.collect();
    Ok((figures, goals))
}

/// The 99th percentile of each round.
fn time(of: &str, requests: &[RunRequest], mut place: impl FnMut(&RunRequest) -> usize) -> anyhow::Result<Figure> {
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let mut times = Vec::with_capacity(PLACEMENTS);
        for nth in 0..PLACEMENTS {
            let request = &requests[nth % requests.len()];
            let started = Instant::now();
            let ranked = place(request);
            times.push(started.elapsed());
            ensure!(ranked == RANKED_MAX, "{of} names {ranked} nodes");
        }
        times.sort_unstable();
        rounds.push(times[PLACEMENTS * 99 / 100].as_secs_f64() * 1e6);
    }
    Ok(Figure::new(of, "placement_p99_us", None, rounds))
}

/// A thousand nodes with room; each tenth has the artifact loaded, half have it on disk, and all have two hundred others.
fn fill(table: &mut NodeTable) -> (Vec<NodeId>, Vec<VersionId>) {
    let now = Instant::now();
    let nodes: Vec<NodeId> = (0..NODES).map(|_| NodeId::new()).collect();
    for (nth, &node) in nodes.iter().enumerate() {
        table.upsert(NodeRecord {
            node,
            account: AccountId::new(),
            name: String::new(),
            class: PlacementClass::Any,
            arch: "x86_64".to_owned(),
            protocol: 1,
            trust: None,
            key: None,
            disks: Vec::new(),
        });
        table.heard(report(node, nth), now);
    }
    table.pass(now);
    debug_assert!(table.seen().iter().all(|view: &NodeView| view.report.is_some()));
    (nodes, (0..VERSIONS).map(|_| VersionId::new()).collect())
}

fn report(node: NodeId, nth: usize) -> NodeReport {
    let others = (1..=100).map(artifact);
    NodeReport {
        v: NodeReport::VERSION,
        node,
        sequence: 1,
        cores: 4,
        load: 0.25,
        memory_total: ByteSize::mib(8192),
        memory_free: ByteSize::mib(8192),
        slots: 64,
        running: u32::from(nth.is_multiple_of(3)),
        lanes: vec![Lane::Wasm],
        arch: "x86_64".to_owned(),
        warm: nth.is_multiple_of(10).then(|| artifact(0)).into_iter().chain(others).collect(),
        cached: nth.is_multiple_of(2).then(|| artifact(0)).into_iter().chain((101..=200).map(artifact)).collect(),
        draining: false,
        vm: None,
        boot: None,
        lending: None,
        confinement: None,
        lists: None,
    }
}

fn artifact(number: usize) -> Digest {
    Digest::of(&number.to_le_bytes())
}

/// Runs of 10 ms to 80 ms on all nodes, a few of them cold.
fn history(nodes: &[NodeId], versions: &[VersionId]) -> Vec<Finished> {
    let run = |nth: usize| Finished {
        version: versions[nth % VERSIONS],
        input: ByteSize(1_000 + nth as u64 % 97),
        node: nodes[nth * 7 % NODES],
        lane: Lane::Wasm,
        warmth: if nth.is_multiple_of(20) { Warmth::Cold } else { Warmth::Warm },
        wall: Duration::from_micros(10_000 * (nth as u64 % VERSIONS as u64 + 1) + nth as u64 * 31 % 2_000),
        failed: nth.is_multiple_of(211),
    };
    (0..RUNS).map(run).collect()
}
