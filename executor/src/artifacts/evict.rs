//! What makes room in a cache: the least recently used of the tenant that has the most there. One alone may fill the whole
//! cache, and none can push out what another one with less has.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// An item of a cache: whose it is, how heavy, and what it is called; nothing where it has to stay.
pub(crate) struct Item<O, T> {
    pub(crate) owner: O,
    pub(crate) weight: u64,
    pub(crate) name: Option<T>,
}

/// Who has to go so that the rest weighs at most `limit`; the items come with the least recently used first.
pub(crate) fn victims<O: Eq + Hash + Copy, T>(items: impl IntoIterator<Item = Item<O, T>>, limit: u64) -> Vec<T> {
    let mut owners: HashMap<O, (u64, VecDeque<(u64, T)>)> = HashMap::new();
    let mut total = 0_u64;
    for Item { owner, weight, name } in items {
        total = total.saturating_add(weight);
        let (sum, own) = owners.entry(owner).or_default();
        *sum = sum.saturating_add(weight);
        own.extend(name.map(|name| (weight, name)));
    }
    let mut gone = Vec::new();
    while total > limit {
        let heaviest = owners.values_mut().filter(|(_, own)| !own.is_empty()).max_by_key(|(sum, _)| *sum);
        let Some((sum, own)) = heaviest else { break };
        let Some((weight, name)) = own.pop_front() else { break };
        *sum -= weight;
        total -= weight;
        gone.push(name);
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(owner: char, weight: u64, name: u32) -> Item<char, u32> {
        Item { owner, weight, name: Some(name) }
    }

    #[test]
    fn one_alone_fills_it_and_loses_its_oldest() {
        let items = || (0..5).map(|name| item('a', 10, name));
        assert!(victims(items(), 50).is_empty());
        assert_eq!(victims(items(), 35), [0, 1]);
    }

    #[test]
    fn a06_who_has_the_most_makes_room_for_others() {
        let items = [item('b', 10, 0), item('a', 10, 1), item('a', 10, 2), item('a', 10, 3), item('b', 10, 4)];
        assert_eq!(victims(items, 40), [1], "not b's, which is older");
        let newest = Item { owner: 'a', weight: 30, name: None };
        assert_eq!(victims([item('b', 10, 0), item('a', 10, 1), newest], 40), [1]);
        let newest = Item { owner: 'a', weight: 100, name: None };
        assert_eq!(victims([item('b', 10, 0), newest], 40), [0], "what is too heavy by itself stays");
    }
}
