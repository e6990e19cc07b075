//! Subjects: built and parsed here, nowhere else.
//!
//! | subject | who publishes | who listens |
//! | --- | --- | --- |
//! | `cc.core.svc.<name>` | core | one of the core (queue group) |
//! | `cc.core.in.<instance>.<exchange>` | core | that instance |
//! | `cc.core.events.<name>` | core | core |
//! | `cc.node.<id>.{api,blob,kv,log,receipt}` | that node | one of the core (queue group) |
//! | `cc.node.<id>.out.report` | that node | core |
//! | `cc.node.<id>.out.x.<instance>.<exchange>` | that node | that instance of the core |
//! | `cc.node.<id>.in.{run,control,store}` | core | that node |
//! | `cc.node.<id>.in.{r,s}.<exchange>` | core | that node; `s` is the connection of its disks |
//! | `cc.blob.<bucket>.<blob>.<number>` | core | JetStream, the bucket's stream: a segment, or its end |
//! | `cc.blob.<bucket>.<blob>.<number>.<piece>` | core | JetStream, the bucket's stream: what comes before |
//! | `cc.blob.<bucket>.mark` | core | JetStream, the bucket's stream: whose segments these are |
//! | `cc.chunk.<bucket>.<digest>` | nobody any more | JetStream, the stream of a store before there were blobs |

use protocol::{BlobId, Digest, InstanceId, NodeId};

use crate::address::{CoreService, Mount, NodeEndpoint, NodeService, Target, Way};

/// All nodes' reports, for trusted parts.
pub const REPORTS: &str = "cc.node.*.out.report";
/// The control plane's pulse.
pub const CONTROL_PULSE: &str = "cc.core.events.control";
/// Each gateway's pulse.
pub const GATEWAY_PULSE: &str = "cc.core.events.gateway";
/// Which start of a node the control plane has taken for the node.
pub const NODE_BOOTS: &str = "cc.core.events.boots";
/// KV bucket of routes.
pub const ROUTES_BUCKET: &str = "cc-routes";
/// KV bucket of node records.
pub const NODES_BUCKET: &str = "cc-nodes";
/// KV bucket that says which model is the newest.
pub const MODELS_BUCKET: &str = "cc-models";

/// The queue group of every service of the core.
pub(crate) const QUEUE: &str = "core";

/// Reports of one node, published by it each second.
pub fn report(node: NodeId) -> String {
    format!("cc.node.{node}.out.report")
}

/// Which node published on this subject: proven by its permissions.
pub fn node_of(subject: &str) -> Option<NodeId> {
    subject.strip_prefix("cc.node.")?.split('.').next()?.parse().ok()
}

/// One segment of a blob in a bucket of the store: all of it, or its end.
pub fn segment(bucket: &str, blob: BlobId, number: u32) -> String {
    format!("cc.blob.{bucket}.{blob}.{number:08x}")
}

/// One piece of what comes before a segment's end.
pub fn segment_piece(bucket: &str, blob: BlobId, number: u32, piece: u64) -> String {
    format!("cc.blob.{bucket}.{blob}.{number:08x}.{piece}")
}

/// All pieces of what comes before a segment's end.
pub fn segment_pieces(bucket: &str, blob: BlobId, number: u32) -> String {
    format!("cc.blob.{bucket}.{blob}.{number:08x}.*")
}

/// All segments of a bucket, with all their pieces.
pub fn segments(bucket: &str) -> String {
    format!("cc.blob.{bucket}.>")
}

/// Whose segments a bucket has.
pub fn segments_mark(bucket: &str) -> String {
    format!("cc.blob.{bucket}.mark")
}

/// Which segment of a bucket a subject is of, as its blob and its number.
pub fn segment_of(bucket: &str, subject: &str) -> Option<(BlobId, u32)> {
    let mut tokens = subject.strip_prefix("cc.blob.")?.strip_prefix(bucket)?.strip_prefix('.')?.split('.');
    let blob = tokens.next()?.parse().ok()?;
    let number = u32::from_str_radix(tokens.next()?, 16).ok()?;
    Some((blob, number))
}

/// One chunk of a bucket of a store before there were blobs.
pub fn chunk(bucket: &str, digest: Digest) -> String {
    format!("cc.chunk.{bucket}.{digest}")
}

const NODE_SERVICES: [NodeService; 5] =
    [NodeService::Api, NodeService::Blob, NodeService::Kv, NodeService::Log, NodeService::Receipt];

/// All that a node may publish.
pub(crate) fn node_may_publish(node: NodeId) -> Vec<String> {
    let mut allowed = vec![format!("cc.node.{node}.out.>")];
    allowed.extend(NODE_SERVICES.map(|service| format!("cc.node.{node}.{}", service.name())));
    allowed
}

/// All that a node may listen to.
pub(crate) fn node_may_subscribe(node: NodeId) -> Vec<String> {
    vec![format!("cc.node.{node}.in.>")]
}

/// Where the first frame of a call goes. `own` is the calling node, if it is one. None: not from here.
pub(crate) fn target(to: Target, own: Option<NodeId>) -> Option<String> {
    match (to, own) {
        (Target::Core(service), None) => Some(format!("cc.core.svc.{}", service.name())),
        (Target::Node(node, endpoint), None) => Some(format!("cc.node.{node}.in.{}", endpoint.name())),
        (Target::FromNode(service), Some(own)) => Some(format!("cc.node.{own}.{}", service.name())),
        _ => None,
    }
}

/// What a mounted service listens to, and whether as a queue group.
pub(crate) fn mount(at: Mount, own: Option<NodeId>) -> Option<(String, bool)> {
    match (at, own) {
        (Mount::Core(service), None) => Some((format!("cc.core.svc.{}", service.name()), true)),
        (Mount::ForNodes(service), None) => Some((format!("cc.node.*.{}", service.name()), true)),
        (Mount::OnNode(endpoint), Some(own)) => Some((format!("cc.node.{own}.in.{}", endpoint.name()), false)),
        _ => None,
    }
}

/// Subjects of one end's own: where it hears all frames after the first.
pub(crate) mod inbox {
    use super::{InstanceId, NodeId, Way};

    /// Of an instance of the core, for the core.
    pub(crate) fn core(instance: InstanceId, exchange: u128) -> String {
        format!("cc.core.in.{instance}.{exchange:032x}")
    }

    /// Of an instance of the core, for this node.
    pub(crate) fn core_for_node(instance: InstanceId, node: NodeId, exchange: u128) -> String {
        format!("cc.node.{node}.out.x.{instance}.{exchange:032x}")
    }

    /// Of a node.
    pub(crate) fn node(node: NodeId, way: Way, exchange: u128) -> String {
        format!("cc.node.{node}.in.{}.{exchange:032x}", way.name())
    }

    pub(crate) fn all_core(instance: InstanceId) -> String {
        format!("cc.core.in.{instance}.*")
    }

    pub(crate) fn all_core_for_nodes(instance: InstanceId) -> String {
        format!("cc.node.*.out.x.{instance}.*")
    }

    pub(crate) fn all_node(node: NodeId, way: Way) -> String {
        format!("cc.node.{node}.in.{}.*", way.name())
    }

    /// The exchange that an inbox subject ends with.
    pub(crate) fn exchange_of(subject: &str) -> Option<u128> {
        let (_, last) = subject.rsplit_once('.')?;
        if last.len() == 32 { u128::from_str_radix(last, 16).ok() } else { None }
    }
}

impl CoreService {
    fn name(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Settlement => "settlement",
        }
    }
}

impl NodeService {
    fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Blob => "blob",
            Self::Kv => "kv",
            Self::Log => "log",
            Self::Receipt => "receipt",
        }
    }
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Runs => "r",
            Self::Store => "s",
        }
    }
}

impl NodeEndpoint {
    fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Control => "control",
            Self::Store => "store",
        }
    }
}
