//! Who waits: one line for each tenant. The next is of the tenant that holds the least; of those that hold as much, of
//! the one whose last turn was longest ago. Within a tenant's line it is first come, first served.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use tokio::sync::oneshot;

pub(super) struct Lines<K, T> {
    lines: HashMap<K, Line<T>>,
    /// Counts places and turns.
    clock: u64,
}

struct Line<T> {
    waiting: BTreeMap<u64, oneshot::Sender<T>>,
    /// 0: the tenant had nothing when the line formed, and no turn since.
    last_turn: u64,
}

impl<K, T> Default for Lines<K, T> {
    fn default() -> Self {
        Self { lines: HashMap::new(), clock: 0 }
    }
}

impl<K: Eq + Hash + Clone, T> Lines<K, T> {
    /// A place at the end of the tenant's line, and where its turn is told. A tenant that `holds` something has had its
    /// turn.
    pub(super) fn join(&mut self, tenant: &K, holds: bool) -> (u64, oneshot::Receiver<T>) {
        self.clock += 1;
        let (sender, turn) = oneshot::channel();
        let last_turn = if holds { self.clock } else { 0 };
        let line = self.lines.entry(tenant.clone()).or_insert_with(|| Line { waiting: BTreeMap::new(), last_turn });
        line.waiting.insert(self.clock, sender);
        (self.clock, turn)
    }

    /// Gives a place up, where it is still in the line.
    pub(super) fn leave(&mut self, tenant: &K, place: u64) {
        if let Some(line) = self.lines.get_mut(tenant) {
            line.waiting.remove(&place);
            if line.waiting.is_empty() {
                self.lines.remove(tenant);
            }
        }
    }

    /// Whose turn it is, of those that `may` go; it says how much each of them holds.
    pub(super) fn next(&mut self, may: impl Fn(&K) -> Option<u64>) -> Option<(K, oneshot::Sender<T>)> {
        let order = |(tenant, line): (&K, &Line<T>)| {
            let first = *line.waiting.first_key_value()?.0;
            Some(((may(tenant)?, line.last_turn, first), tenant.clone()))
        };
        let (_, tenant) = self.lines.iter().filter_map(order).min_by_key(|(order, _)| *order)?;
        self.clock += 1;
        let line = self.lines.get_mut(&tenant)?;
        line.last_turn = self.clock;
        let (_, turn) = line.waiting.pop_first()?;
        if line.waiting.is_empty() {
            self.lines.remove(&tenant);
        }
        Some((tenant, turn))
    }
}
