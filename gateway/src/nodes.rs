//! The nodes' records, as the `cc-nodes` bucket has them. A node whose record goes was shut out, or has left: runs that it
//! has are lost at once, what was learned of it goes, and its connection is cut.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use fabric::Fabric;
use parking_lot::Mutex;
use placing::Placing;
use protocol::node::{NodeRecord, StoreDisk};
use protocol::{NodeId, wire};
use store::NodeDisks;

use crate::mirror::Sink;
use crate::node_connections::NodeConnections;

/// Passes records on to where placements look.
pub(crate) struct NodeRecords {
    placing: Arc<Placing>,
    /// Where nodes are.
    fabric: Fabric,
    connections: Arc<NodeConnections>,
    /// None where the store is not on nodes' disks.
    disks: Option<NodeDisks>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    records: HashSet<NodeId>,
    /// Of those that have some, with how many others had been told of before.
    disks: BTreeMap<NodeId, (i64, Vec<StoreDisk>)>,
    told: i64,
    /// Those of the snapshot that is being read.
    seen: Option<HashSet<NodeId>>,
}

impl NodeRecords {
    pub(crate) fn new(
        placing: Arc<Placing>,
        fabric: Fabric,
        connections: Arc<NodeConnections>,
        disks: Option<NodeDisks>,
    ) -> Self {
        Self { placing, fabric, connections, disks, known: Mutex::default() }
    }

    /// The store learns which disks there are, of a list that is whole.
    fn tell_disks(&self, known: &Known) {
        if let Some(disks) = self.disks.as_ref().filter(|_| known.seen.is_none()) {
            disks.know(known.disks.iter().map(|(node, (told, disks))| (*node, *told, disks.as_slice())));
        }
    }

    fn gone(&self, node: NodeId) {
        self.placing.left(node);
        self.fabric.shut_out(node);
        self.connections.gone(node);
    }
}

impl Known {
    /// Records come in the order in which they were written.
    fn has(&mut self, node: NodeId, disks: &[StoreDisk]) {
        if disks.is_empty() {
            self.disks.remove(&node);
        } else if self.disks.get(&node).is_none_or(|(_, known)| known != disks) {
            self.told += 1;
            self.disks.insert(node, (self.told, disks.to_vec()));
        }
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
                known.has(record.node, &record.disks);
                self.tell_disks(&known);
                self.fabric.let_in(record.node);
                self.connections.known(record.node, record.key);
                self.placing.nodes.upsert(record);
            }
            Err(error) => tracing::error!(key, %error, "a node's record is not understood"),
        }
    }

    fn remove(&self, key: &str) {
        if let Ok(node) = key.parse() {
            let mut known = self.known.lock();
            known.records.remove(&node);
            known.disks.remove(&node);
            self.tell_disks(&known);
            drop(known);
            self.gone(node);
        }
    }

    fn complete(&self) {
        let mut known = self.known.lock();
        let Some(seen) = known.seen.take() else { return };
        for gone in known.records.difference(&seen) {
            self.gone(*gone);
        }
        known.disks.retain(|node, _| seen.contains(node));
        known.records = seen;
        self.tell_disks(&known);
    }
}
