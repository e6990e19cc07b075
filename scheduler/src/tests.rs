//! What must hold of every placement, whatever nodes report.

mod filter;
mod learned;
mod model;
mod placed;
mod policy;
mod queue;
mod table;

use std::time::Duration;

use proptest::prelude::*;
use protocol::node::{NodeRecord, NodeReport};
use protocol::{
    AccountId, ArtifactForm, ByteSize, Digest, Kind, Lane, LaneChoice, Limits, NodeId, PlacementClass, VersionId,
};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use uuid::Uuid;

use crate::{Distance, Finished, NodeView, RunRequest, Warmth};

pub(super) fn account(number: u8) -> AccountId {
    AccountId::from_uuid(Uuid::from_u128(u128::from(number)))
}

pub(super) fn version(number: u8) -> VersionId {
    VersionId::from_uuid(Uuid::from_u128(u128::from(number)))
}

pub(super) fn node_id(number: usize) -> NodeId {
    NodeId::from_uuid(Uuid::from_u128(number as u128))
}

pub(super) fn artifact(number: u8) -> Digest {
    Digest::of(&[number])
}

pub(super) fn request() -> RunRequest {
    RunRequest {
        version: version(1),
        account: account(1),
        artifact: artifact(1),
        kind: Kind::Http,
        lane: LaneChoice::Auto,
        placement: PlacementClass::Any,
        arch: None,
        form: ArtifactForm::Wasm,
        limits: Limits::default(),
        input: ByteSize(0),
        waited: Duration::ZERO,
        wait_max: Duration::MAX,
        slots_share: 100,
    }
}

/// A warm run of this version on the first node.
pub(super) fn finished(number: u8, wall_ms: u64) -> Finished {
    Finished {
        version: version(number),
        input: ByteSize(0),
        node: node_id(0),
        lane: Lane::Wasm,
        warmth: Warmth::Warm,
        wall: Duration::from_millis(wall_ms),
        failed: false,
    }
}

/// Runs as a platform would see them: versions 1 to 8 take from 10 ms to 10 s, versions 7 and 8 take longer for more
/// input, node 1 is twice as fast as node 0 and node 2 half, every twentieth start is cold, node 2 fails now and then.
pub(super) fn history(runs: usize, seed: u64) -> Vec<Finished> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let one = |rng: &mut SmallRng| {
        let number = rng.random_range(1..=8_u8);
        let on = rng.random_range(0..3_usize);
        let input = rng.random_range(1_000..1_000_000_u64);
        let by_input = if number >= 7 { input as f64 / 1e5 } else { 1.0 };
        let warm = !rng.random_bool(0.05);
        let noise = rng.random_range(0.8..1.25);
        let work_s = 0.01 * 10_f64.powf(f64::from(number - 1) * 3.0 / 7.0) * by_input * noise;
        let cold_s = if warm { 0.0 } else { 0.05 };
        Finished {
            node: node_id(on),
            input: ByteSize(input),
            warmth: if warm { Warmth::Warm } else { Warmth::Cold },
            wall: Duration::from_secs_f64((work_s + cold_s) / [1.0, 2.0, 0.5][on]),
            failed: on == 2 && rng.random_bool(0.2),
            ..finished(number, 0)
        }
    };
    (0..runs).map(|_| one(&mut rng)).collect()
}

pub(super) fn record(number: usize) -> NodeRecord {
    NodeRecord {
        node: node_id(number),
        account: account(9),
        name: format!("node {number}"),
        class: PlacementClass::Operator,
        arch: "x86_64".to_owned(),
        protocol: 1,
        trust: None,
        key: None,
        disks: Vec::new(),
    }
}

pub(super) fn report(number: usize) -> NodeReport {
    NodeReport {
        v: NodeReport::VERSION,
        node: node_id(number),
        sequence: 1,
        cores: 4,
        load: 0.0,
        memory_total: ByteSize::mib(8192),
        memory_free: ByteSize::mib(8192),
        slots: 64,
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

/// An idle node that could do everything.
pub(super) fn node(number: usize) -> NodeView {
    NodeView { report: Some(report(number)), age: Duration::ZERO, ..NodeView::new(record(number)) }
}

pub(super) fn any_class() -> impl Strategy<Value = PlacementClass> {
    prop_oneof![
        Just(PlacementClass::Own),
        Just(PlacementClass::Operator),
        Just(PlacementClass::Verified),
        Just(PlacementClass::Any),
    ]
}

pub(super) fn any_request() -> impl Strategy<Value = RunRequest> {
    let lane = prop_oneof![Just(LaneChoice::Auto), Just(LaneChoice::Wasm), Just(LaneChoice::Vm)];
    let kind = prop_oneof![Just(Kind::Http), Just(Kind::Command), Just(Kind::Server)];
    let arch = prop_oneof![Just(None), Just(Some("x86_64".to_owned())), Just(Some("aarch64".to_owned()))];
    (0..3_u8, 0..3_u8, lane, kind, arch, any_class(), 1..512_u64, 1..4_u32).prop_map(
        |(payer, digest, lane, kind, arch, placement, memory_mib, cpus)| RunRequest {
            version: version(digest),
            account: account(payer),
            artifact: artifact(digest),
            kind,
            lane,
            placement,
            arch,
            form: ArtifactForm::Wasm,
            limits: Limits { memory: ByteSize::mib(memory_mib), cpus, ..Limits::default() },
            input: ByteSize(0),
            waited: Duration::ZERO,
            wait_max: Duration::MAX,
            slots_share: 100,
        },
    )
}

prop_compose! {
    /// A node that may report anything, nonsense included.
    pub(super) fn any_node()(
        (lender, class, old_arch, reported) in (0..3_u8, any_class(), any::<bool>(), prop::bool::weighted(0.9)),
        age_ms in 0..5_000_u64,
        (cores, load, slots, running) in (0..8_u32, any::<f32>(), 0..16_u32, 0..16_u32),
        (total_mib, free_mib) in (0..1024_u64, 0..1024_u64),
        (wasm, vm, draining) in (prop::bool::weighted(0.9), any::<bool>(), prop::bool::weighted(0.1)),
        artifacts in prop::collection::vec((0..3_u8, any::<bool>()), 0..3),
        (started_since, own_running, own_memory_since) in (0..8_u32, 0..8_u32, any::<i64>()),
    ) -> NodeView {
        let arch = if old_arch { "aarch64" } else { "x86_64" };
        let lanes = [(wasm, Lane::Wasm), (vm, Lane::Vm)];
        let report = NodeReport {
            cores, load, slots, running, draining,
            memory_total: ByteSize::mib(total_mib),
            memory_free: ByteSize::mib(free_mib),
            lanes: lanes.into_iter().filter(|(has, _)| *has).map(|(_, lane)| lane).collect(),
            ..report(0)
        };
        NodeView {
            record: NodeRecord { account: account(lender), class, arch: arch.to_owned(), ..record(0) },
            report: reported.then_some(report),
            age: Duration::from_millis(age_ms),
            artifacts: artifacts.into_iter().map(|(number, warm)| (artifact(number), if warm { Warmth::Warm } else { Warmth::Cached })).collect(),
            running_known: running, started_since, own_running, own_memory_since,
            distance: Distance::default(),
        }
    }
}

/// Up to 20 of them, each with its own id.
pub(super) fn any_nodes() -> impl Strategy<Value = Vec<NodeView>> {
    prop::collection::vec(any_node(), 0..20).prop_map(|mut nodes| {
        for (number, node) in nodes.iter_mut().enumerate() {
            node.record.node = node_id(number);
        }
        nodes
    })
}
