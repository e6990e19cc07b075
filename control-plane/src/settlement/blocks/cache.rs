//! Bodies that were read lately, by their objects. Pages of a list and late halves ask for the same ones again.

use std::sync::Arc;

use books::Body;
use lru::LruCache;
use parking_lot::Mutex;
use protocol::ByteSize;

use crate::objects::Address;

/// Bodies of so many bytes in all. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Cache(Arc<Mutex<Kept>>);

struct Kept {
    bodies: LruCache<Address, Body>,
    size: usize,
    size_max: usize,
}

impl Cache {
    pub(super) fn new(size_max: ByteSize) -> Self {
        let bodies = LruCache::unbounded();
        Self(Arc::new(Mutex::new(Kept { bodies, size: 0, size_max: size_max.as_usize() })))
    }

    pub(super) fn get(&self, address: Address) -> Option<Body> {
        self.0.lock().bodies.get(&address).cloned()
    }

    /// Keeps it, at the cost of those that were not read for longest.
    pub(super) fn put(&self, address: Address, body: Body) {
        let mut kept = self.0.lock();
        if body.size() > kept.size_max {
            return;
        }
        kept.size += body.size();
        if let Some(before) = kept.bodies.put(address, body) {
            kept.size -= before.size();
        }
        while kept.size > kept.size_max {
            let Some((_, oldest)) = kept.bodies.pop_lru() else { break };
            kept.size -= oldest.size();
        }
    }
}
