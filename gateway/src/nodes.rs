//! The nodes' records, as the `cc-nodes` bucket has them. A node whose record goes was shut out, or has left: runs that it
//! has are lost at once, what was learned of it goes, and its connection is cut.

use std::collections::HashSet;
use std::sync::Arc;

use fabric::Fabric;
use parking_lot::Mutex;
use placing::Placing;
use protocol::node::NodeRecord;
use protocol::{NodeId, wire};

use crate::mirror::Sink;
use crate::node_connections::NodeConnections;

/// Passes records on to where placements look.
pub(crate) struct NodeRecords {
    placing: Arc<Placing>,
    /// Where nodes are.
    fabric: Fabric,
    connections: Arc<NodeConnections>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    records: HashSet<NodeId>,
    /// Those of the snapshot that is being read.
    seen: Option<HashSet<NodeId>>,
}

impl NodeRecords {
    pub(crate) fn new(placing: Arc<Placing>, fabric: Fabric, connections: Arc<NodeConnections>) -> Self {
        Self { placing, fabric, connections, known: Mutex::default() }
    }

    fn gone(&self, node: NodeId) {
        self.placing.left(node);
        self.fabric.shut_out(node);
        self.connections.gone(node);
    }
}

impl Sink for NodeRecords {
    fn begin(&self) {
        self.known.lock().seen = Some(HashSet::new());
    }

    fn put(&self, key: &str, value: &[u8]) {
        match wire::read::<NodeRecord>(value) {
            Ok(record) => {
                let mut known = self.known.lock();
                known.records.insert(record.node);
                if let Some(seen) = &mut known.seen {
                    seen.insert(record.node);
                }
                self.fabric.let_in(record.node);
                self.connections.known(record.node, record.key);
                self.placing.nodes.upsert(record);
            }
            Err(error) => tracing::error!(key, %error, "a node's record is not understood"),
        }
    }

    fn remove(&self, key: &str) {
        if let Ok(node) = key.parse() {
            self.known.lock().records.remove(&node);
            self.gone(node);
        }
    }

    fn complete(&self) {
        let mut known = self.known.lock();
        let Some(seen) = known.seen.take() else { return };
        for gone in known.records.difference(&seen) {
            self.gone(*gone);
        }
        known.records = seen;
    }
}
