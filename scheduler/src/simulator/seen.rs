//! What a policy sees of a simulated node and of a run: the very types that a gateway has.

use std::time::Duration;

use protocol::node::{NodeRecord, NodeReport};
use protocol::{AccountId, ArtifactForm, ByteSize, Kind, Lane, LaneChoice, Limits, PlacementClass};
use uuid::Uuid;

use super::cluster::NodeSpec;
use super::workload::FunctionSpec;
use crate::{NodeView, RunRequest};

/// A node. Where runs wait at nodes (not `late`), it never says that it is full.
pub(super) fn view(node: &NodeSpec, late: bool) -> NodeView {
    let record = NodeRecord {
        node: node.id,
        account: AccountId::from_uuid(Uuid::nil()),
        name: String::new(),
        class: PlacementClass::Any,
        arch: String::new(),
        protocol: 1,
        trust: None,
        key: None,
        disks: Vec::new(),
    };
    let report = NodeReport {
        v: NodeReport::VERSION,
        node: node.id,
        sequence: 1,
        cores: node.cores,
        load: 0.0,
        memory_total: ByteSize::mib(node.memory_mib),
        memory_free: ByteSize::mib(node.memory_mib),
        slots: if late { node.cores } else { u32::MAX },
        running: 0,
        lanes: vec![Lane::Wasm, Lane::Vm],
        arch: String::new(),
        warm: Vec::new(),
        cached: Vec::new(),
        draining: false,
        vm: None,
        boot: None,
        lending: None,
        confinement: None,
        lists: None,
    };
    NodeView { report: Some(report), age: Duration::ZERO, ..NodeView::new(record) }
}

/// A run of this function.
pub(super) fn request(function: &FunctionSpec) -> RunRequest {
    RunRequest {
        version: function.version,
        account: AccountId::from_uuid(Uuid::nil()),
        artifact: function.artifact,
        kind: Kind::Http,
        lane: match function.lane {
            Lane::Wasm => LaneChoice::Wasm,
            Lane::Vm => LaneChoice::Vm,
        },
        placement: PlacementClass::Any,
        arch: None,
        form: ArtifactForm::Wasm,
        limits: Limits { memory: ByteSize::mib(function.memory_mib), ..Limits::default() },
        input: ByteSize(0),
        waited: Duration::ZERO,
        wait_max: Duration::MAX,
        slots_share: 100,
    }
}
