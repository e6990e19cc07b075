//! The disks of all nodes, as a process of the core knows them: the engines of its store.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fabric::Fabric;
use parking_lot::Mutex;
use protocol::node::StoreDisk;
use protocol::{DiskId, NodeId};

use crate::engine::NodeDisk;
use crate::{Engine, Store};

/// Tells a store which disks nodes have.
pub struct NodeDisks {
    store: Store,
    /// Where nodes are.
    fabric: Fabric,
    known: Mutex<BTreeMap<DiskId, Arc<NodeDisk>>>,
    /// Those that several nodes say they have: they are told once.
    twice: Mutex<BTreeSet<DiskId>>,
}

impl NodeDisks {
    /// For this store; none where it is not on nodes' disks.
    #[must_use]
    pub fn of(store: &Store, fabric: &Fabric) -> Option<Self> {
        let (store, fabric) = (store.clone(), fabric.clone());
        store.is_changing().then(|| Self { store, fabric, known: Mutex::default(), twice: Mutex::default() })
    }

    /// These are all disks, by their nodes, each with when the node said so: what is newer is a larger number. One that is
    /// silent is among them as long as its node is on record: its segments are not lost. One that was moved is where it was
    /// told of last.
    pub fn know<'a>(&self, nodes: impl IntoIterator<Item = (NodeId, i64, &'a [StoreDisk])>) {
        let mut known = self.known.lock();
        let failing = self.store.failing();
        let serves = |node: NodeId, disk: &StoreDisk| {
            known.get(&disk.id).is_some_and(|engine| engine.is(node, disk) && !failing.contains(engine.name()))
        };
        let mut told: Vec<(NodeId, i64, &StoreDisk)> = Vec::new();
        for (node, said, disks) in nodes {
            told.extend(disks.iter().map(|disk| (node, said, disk)));
        }
        // Of several that tell of one disk the present one stays as long as it serves it.
        told.sort_by_key(|(node, said, disk)| (!serves(*node, disk), Reverse(*said), *node));
        let mut next = BTreeMap::<DiskId, Arc<NodeDisk>>::new();
        let mut twice = BTreeSet::new();
        for (node, _, disk) in told {
            if next.contains_key(&disk.id) {
                twice.insert(disk.id);
                if !self.twice.lock().contains(&disk.id) {
                    tracing::error!(%node, disk = %disk.id, "another node tells of this disk, too, and is asked for it");
                }
                continue;
            }
            let engine = match known.get(&disk.id) {
                Some(engine) if engine.is(node, disk) => Arc::clone(engine),
                _ => Arc::new(NodeDisk::new(self.fabric.clone(), node, disk.clone())),
            };
            next.insert(disk.id, engine);
        }
        *self.twice.lock() = twice;
        let same = next.len() == known.len() && next.values().zip(known.values()).all(|(a, b)| Arc::ptr_eq(a, b));
        if same {
            return;
        }
        for engine in next.values().filter(|engine| !known.contains_key(&engine.id())) {
            tracing::info!(disk = ?engine, domain = engine.domain(), "the store has a further disk");
        }
        for engine in known.values().filter(|engine| !next.contains_key(&engine.id())) {
            tracing::warn!(disk = ?engine, domain = engine.domain(), "the store has lost a disk");
        }
        self.store.set_engines(next.values().map(|engine| Arc::clone(engine) as Arc<dyn Engine>).collect());
        *known = next;
    }
}
