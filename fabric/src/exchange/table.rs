//! All live exchanges of one connection, found by peer and id. Sharded, so that no lock is held long or often shared.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use protocol::NodeId;

use super::Link;

const SHARDS: usize = 32;
/// Revoked exchanges that are remembered.
const REVOKED_MAX: usize = 4096;

/// An exchange's name at one end. The node is part of it, so that a frame from another node finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// Whether this end is the caller.
    pub(crate) caller: bool,
    /// The peer, where it is a node: proven by the subject. Else 0.
    pub(crate) node: u128,
    pub(crate) id: u128,
}

impl Key {
    /// The peer, where it is a node.
    pub(crate) fn calling_node(&self) -> Option<NodeId> {
        (self.node != 0).then(|| NodeId::from_uuid(uuid::Uuid::from_u128(self.node)))
    }
}

#[derive(Default)]
pub(crate) struct Table {
    shards: [Mutex<HashMap<Key, Arc<Link>>>; SHARDS],
    live: AtomicUsize,
    revoked: Mutex<Revoked>,
}

#[derive(Default)]
struct Revoked {
    known: HashSet<Key>,
    order: VecDeque<Key>,
}

impl Table {
    fn shard(&self, key: &Key) -> &Mutex<HashMap<Key, Arc<Link>>> {
        let folded = key.id ^ (key.id >> 64);
        &self.shards[usize::try_from(folded % SHARDS as u128).unwrap_or(0)]
    }

    /// False: there is one already.
    pub(crate) fn insert(&self, link: &Arc<Link>) -> bool {
        use std::collections::hash_map::Entry;
        match self.shard(&link.key).lock().entry(link.key) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                free.insert(link.clone());
                self.live.fetch_add(1, Ordering::Relaxed);
                true
            }
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Link>> {
        self.shard(key).lock().get(key).cloned()
    }

    pub(crate) fn remove(&self, key: &Key) {
        let removed = self.shard(key).lock().remove(key);
        if removed.is_some() {
            self.live.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Every live exchange for which `wanted` holds.
    pub(crate) fn collect(&self, mut wanted: impl FnMut(&Link) -> bool) -> Vec<Arc<Link>> {
        let mut found = Vec::new();
        for shard in &self.shards {
            found.extend(shard.lock().values().filter(|link| wanted(link)).cloned());
        }
        found
    }

    /// Gives back memory that a burst of exchanges took.
    pub(crate) fn shrink(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            if shard.capacity() > 256 && shard.len() * 8 < shard.capacity() {
                let keep = shard.len() * 2;
                shard.shrink_to(keep);
            }
        }
    }

    /// This exchange must not start.
    pub(crate) fn remember_revoked(&self, key: Key) {
        let mut revoked = self.revoked.lock();
        if revoked.known.insert(key) {
            revoked.order.push_back(key);
            if revoked.order.len() > REVOKED_MAX
                && let Some(oldest) = revoked.order.pop_front()
            {
                revoked.known.remove(&oldest);
            }
        }
    }

    pub(crate) fn is_revoked(&self, key: &Key) -> bool {
        let revoked = self.revoked.lock();
        !revoked.order.is_empty() && revoked.known.contains(key)
    }
}
