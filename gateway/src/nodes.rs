//! The nodes' records, as the `cc-nodes` bucket has them.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use placing::Nodes;
use protocol::node::NodeRecord;
use protocol::{NodeId, wire};

use crate::mirror::Sink;

/// Passes records on to where placements look.
pub(crate) struct NodeRecords {
    nodes: Arc<Nodes>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    records: HashSet<NodeId>,
    /// Those of the snapshot that is being read.
    seen: Option<HashSet<NodeId>>,
}

impl NodeRecords {
    pub(crate) fn new(nodes: Arc<Nodes>) -> Self {
        Self { nodes, known: Mutex::default() }
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
                self.nodes.upsert(record);
            }
            Err(error) => tracing::error!(key, %error, "a node's record is not understood"),
        }
    }

    fn remove(&self, key: &str) {
        if let Ok(node) = key.parse() {
            self.known.lock().records.remove(&node);
            self.nodes.remove(node);
        }
    }

    fn complete(&self) {
        let mut known = self.known.lock();
        let Some(seen) = known.seen.take() else { return };
        for gone in known.records.difference(&seen) {
            self.nodes.remove(*gone);
        }
        known.records = seen;
    }
}
