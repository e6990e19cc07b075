//! Nodes that the platform no longer speaks with. Their connections may be open still: frames and reports of theirs are
//! dropped, and what was on its way to them is lost at once, instead of after three heartbeats.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::RwLock;
use protocol::NodeId;

use crate::client::Fabric;
use crate::dropped::Dropped;
use crate::exchange::caller::node_key;
use crate::exchange::window::Failure;

/// Nodes that are remembered; of further ones what they had is cut all the same.
const NODES_MAX: usize = 100_000;

/// Who is shut out.
#[derive(Default)]
pub(crate) struct ShutOut {
    /// Spares each frame the lock.
    any: AtomicBool,
    nodes: RwLock<HashSet<NodeId>>,
}

impl ShutOut {
    pub(crate) fn has(&self, node: NodeId) -> bool {
        self.any.load(Ordering::Acquire) && self.nodes.read().contains(&node)
    }

    fn add(&self, node: NodeId) {
        let mut nodes = self.nodes.write();
        if nodes.len() < NODES_MAX {
            nodes.insert(node);
        }
        self.any.store(true, Ordering::Release);
    }

    fn remove(&self, node: NodeId) {
        if self.any.load(Ordering::Acquire) {
            let mut nodes = self.nodes.write();
            nodes.remove(&node);
            self.any.store(!nodes.is_empty(), Ordering::Release);
        }
    }
}

impl Fabric {
    /// Shuts a node out: exchanges with it are lost at once, and its frames and reports are dropped. What it asks for is
    /// still asked, so that whoever is asked can say why not.
    pub fn shut_out(&self, node: NodeId) {
        let shared = self.shared();
        shared.shut_out.add(node);
        shared.lists.forget(node);
        let key = node_key(Some(node));
        for link in shared.table.collect(|link| link.key.caller && link.key.node == key) {
            link.fail(Failure::Lost);
        }
    }

    /// Hears a node again that may have been shut out.
    pub fn let_in(&self, node: NodeId) {
        self.shared().shut_out.remove(node);
    }

    /// Whether what a node says is dropped, which is then counted.
    pub(crate) fn drops(&self, node: NodeId, what: Dropped) -> bool {
        let dropped = self.shared().shut_out.has(node);
        if dropped {
            self.shared().drops.note(node, what, WHY, Instant::now());
        }
        dropped
    }
}

/// Why something of such a node is dropped.
pub(crate) const WHY: &str = "the platform has shut it out";
