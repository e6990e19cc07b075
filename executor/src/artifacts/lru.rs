//! A map that is read without a lock, written seldom, and bounded: the least recently used of whoever has the most goes
//! first.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use protocol::AccountId;

use super::evict::{self, victims};

struct Item<V> {
    value: Arc<V>,
    /// Who needed it first; nobody where it is everybody's.
    owner: Option<AccountId>,
    weight: u64,
    used: AtomicU64,
}

/// See the module.
pub(crate) struct Lru<K, V> {
    items: ArcSwap<HashMap<K, Arc<Item<V>>>>,
    writing: Mutex<()>,
    weight_max: u64,
    clock: AtomicU64,
}

impl<K: Eq + Hash + Copy, V> Lru<K, V> {
    pub(crate) fn new(weight_max: u64) -> Self {
        Self { items: ArcSwap::default(), writing: Mutex::new(()), weight_max, clock: AtomicU64::new(0) }
    }

    pub(crate) fn get(&self, key: &K) -> Option<Arc<V>> {
        let items = self.items.load();
        let item = items.get(key)?;
        // Only a hint for eviction: two readers may get the same time.
        item.used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Some(Arc::clone(&item.value))
    }

    /// Adds an item; others go until all fits. The new item stays even where it alone is too heavy.
    pub(crate) fn put(&self, key: K, value: Arc<V>, weight: u64, owner: Option<AccountId>) {
        let _writing = self.writing.lock();
        let mut items = HashMap::clone(&self.items.load());
        let used = AtomicU64::new(self.clock.fetch_add(1, Ordering::Relaxed));
        items.insert(key, Arc::new(Item { value, owner, weight, used }));
        if items.values().map(|item| item.weight).fold(0, u64::saturating_add) > self.weight_max {
            let mut oldest_first: Vec<(u64, K)> =
                items.iter().map(|(key, item)| (item.used.load(Ordering::Relaxed), *key)).collect();
            oldest_first.sort_by_key(|(used, _)| *used);
            let listed = oldest_first.iter().filter_map(|(_, other)| {
                let item = items.get(other)?;
                let name = (*other != key).then_some(*other);
                Some(evict::Item { owner: item.owner, weight: item.weight, name })
            });
            for gone in victims(listed, self.weight_max) {
                items.remove(&gone);
            }
        }
        self.items.store(Arc::new(items));
    }

    /// Values by their last use, the most recent first.
    pub(crate) fn recent_values(&self, count_max: usize) -> Vec<Arc<V>> {
        let keys = self.recent(count_max);
        let items = self.items.load();
        keys.iter().filter_map(|key| items.get(key).map(|item| Arc::clone(&item.value))).collect()
    }

    /// Keys by their last use, the most recent first.
    pub(crate) fn recent(&self, count_max: usize) -> Vec<K> {
        let items = self.items.load();
        let mut keys: Vec<(u64, K)> =
            items.iter().map(|(key, item)| (item.used.load(Ordering::Relaxed), *key)).collect();
        keys.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
        keys.into_iter().take(count_max).map(|(_, key)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::AccountId;

    use super::Lru;

    #[test]
    fn the_least_recently_used_makes_room() {
        let cache = Lru::new(10);
        for key in 0..3 {
            cache.put(key, Arc::new(key * 100), 4, None);
        }
        assert_eq!(cache.get(&0), None);
        assert_eq!(cache.get(&1).as_deref(), Some(&100));
        cache.put(3, Arc::new(300), 4, None);
        assert_eq!((cache.get(&2), cache.get(&1).as_deref()), (None, Some(&100)));
        assert_eq!(cache.recent(10), [1, 3]);
        cache.put(4, Arc::new(400), 99, None);
        assert_eq!(cache.recent(10), [4]);
    }

    #[test]
    fn a06_what_one_account_loads_does_not_push_out_anothers() {
        let (ada, bob, cache) = (Some(AccountId::new()), Some(AccountId::new()), Lru::new(10));
        cache.put(0, Arc::new(0), 1, bob);
        for key in 1..100 {
            cache.put(key, Arc::new(key), 1, ada);
        }
        assert!(cache.get(&0).is_some());
        assert_eq!(cache.recent(100).len(), 10);
    }
}
