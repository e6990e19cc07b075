//! Who is on the fabric, and where calls go.

use protocol::{InstanceId, NodeId};

/// Who a process is on the fabric. Decides subjects and permissions.
#[derive(Debug, Clone)]
pub enum Identity {
    /// A trusted part.
    Core(InstanceId),
    /// A lender's node.
    Node(NodeId),
}

/// A service of the core, answered by one of its instances (queue group).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CoreService {
    ControlPlane,
    /// The control plane that leads settlement.
    Settlement,
}

/// What nodes may ask of the core: `cc.node.<id>.<name>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeService {
    Api,
    Blob,
    Kv,
    Log,
    Receipt,
}

/// What the core may ask of a node: `cc.node.<id>.in.<name>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeEndpoint {
    /// A run: the request is the function's own.
    Run,
    /// Prepare, drain.
    Control,
    /// Segments of blobs, on the disks that an operator's node has for them.
    Store,
}

/// Which of a node's connections an exchange is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The node's own.
    Runs,
    /// The one of its disks.
    Store,
}

impl Way {
    /// What is sent to this endpoint.
    pub(crate) fn to(endpoint: NodeEndpoint) -> Self {
        match endpoint {
            NodeEndpoint::Run | NodeEndpoint::Control => Self::Runs,
            NodeEndpoint::Store => Self::Store,
        }
    }
}

/// Where a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// From the core to the core.
    Core(CoreService),
    /// From the core to a node.
    Node(NodeId, NodeEndpoint),
    /// From a node to the core.
    FromNode(NodeService),
}

/// Where a service is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mount {
    /// In the core, for the core.
    Core(CoreService),
    /// In the core, for every node.
    ForNodes(NodeService),
    /// On a node, for the core.
    OnNode(NodeEndpoint),
}

/// Who called: proven by the subject that the call came on. An extension of every served request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    Core(InstanceId),
    Node(NodeId),
}
