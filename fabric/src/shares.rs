//! Shares of what is finite: how much there is, and what one tenant may hold of it.
//!
//! A tenant may hold so many percent of what all others leave. With 75 of 100: one alone holds 75, and 25 stay for whoever
//! comes; two that take all they can hold 43 each, three 30 each. What is free is never held back from a tenant that
//! holds nothing, so that a share of very little is still one.
//!
//! ```text
//! try_take --there is room--> Held --drop--> given back --> whoever waits, of the tenant that holds the least
//! take ----\--none------> waits in its tenant's line ----------^
//! ```
//! It stands in this crate because all services that run beside each other have it, and it may wait, which `protocol` may
//! not. Nothing in it reads a clock.

mod finite;
mod lines;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::{Code, Problem};

pub use finite::{Finite, NotAShare, TenantShare, Unit, documented};
use lines::Lines;

/// Why nothing more is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Over {
    /// The tenant holds its share.
    #[error("the account holds its share")]
    Share,
    /// All is taken, by others too.
    #[error("all is taken")]
    Total,
}

impl Over {
    /// What the tenant is told: a 429, or for what all of them hold together a 503.
    #[must_use]
    pub fn problem(self, what: &str) -> Problem {
        match self {
            Self::Share => Problem::new(Code::ShareExceeded, format!("The account holds its share of {what}.")),
            Self::Total => Problem::new(Code::Overloaded, format!("All {what} are taken.")),
        }
    }
}

/// Who holds how much. Pure: an entry for each tenant that holds something, and for no other.
#[derive(Debug)]
struct Book<K> {
    total: u64,
    share: TenantShare,
    held: u64,
    by: HashMap<K, u64>,
}

impl<K: Eq + Hash + Clone> Book<K> {
    fn new(total: u64, share: TenantShare) -> Self {
        Self { total, share, held: 0, by: HashMap::new() }
    }

    fn of(&self, tenant: &K) -> u64 {
        self.by.get(tenant).copied().unwrap_or(0)
    }

    /// Whether the tenant may hold so much more.
    fn may(&self, tenant: &K, units: u64) -> Result<(), Over> {
        if units > self.total.saturating_sub(self.held) {
            return Err(Over::Total);
        }
        let own = self.of(tenant);
        if self.share.allows(self.total, self.held - own, own, units) { Ok(()) } else { Err(Over::Share) }
    }

    fn take(&mut self, tenant: &K, units: u64) {
        if units > 0 {
            self.held += units;
            *self.by.entry(tenant.clone()).or_default() += units;
        }
    }

    fn give(&mut self, tenant: &K, units: u64) {
        let std::collections::hash_map::Entry::Occupied(mut own) = self.by.entry(tenant.clone()) else { return };
        let units = units.min(*own.get());
        self.held -= units;
        *own.get_mut() -= units;
        if *own.get() == 0 {
            own.remove();
        }
    }
}

/// One finite thing, shared by tenants. Cheap to clone.
pub struct Shares<K: Eq + Hash + Clone>(Arc<Inner<K>>);

struct Inner<K: Eq + Hash + Clone> {
    state: Mutex<State<K>>,
}

struct State<K: Eq + Hash + Clone> {
    book: Book<K>,
    /// Of those that wait, by the same rule.
    waiting: Book<K>,
    lines: Lines<K, Held<K>>,
}

/// What a tenant holds, given back on drop.
#[must_use]
pub struct Held<K: Eq + Hash + Clone> {
    shares: Option<Arc<Inner<K>>>,
    tenant: K,
    units: u64,
}

impl<K: Eq + Hash + Clone> Clone for Shares<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Eq + Hash + Clone> Shares<K> {
    /// So much in all, and what one tenant may hold of what others leave.
    #[must_use]
    pub fn new(total: u64, share: TenantShare) -> Self {
        Self::with_lines(total, share, 0)
    }

    /// The same, where up to so many may wait in all, and of these one tenant its share.
    #[must_use]
    pub fn with_lines(total: u64, share: TenantShare, waiting_max: u64) -> Self {
        let state =
            State { book: Book::new(total, share), waiting: Book::new(waiting_max, share), lines: Lines::default() };
        Self(Arc::new(Inner { state: Mutex::new(state) }))
    }

    /// Takes so much now, or says why not.
    ///
    /// # Errors
    /// When the tenant holds its share, or all is taken.
    pub fn try_take(&self, tenant: K, units: u64) -> Result<Held<K>, Over> {
        let mut state = self.0.state.lock();
        state.book.may(&tenant, units)?;
        state.book.take(&tenant, units);
        Ok(Held { shares: Some(Arc::clone(&self.0)), tenant, units })
    }

    /// Takes one, now or when it is this tenant's turn. Whoever stops waiting leaves the line.
    ///
    /// # Errors
    /// When too many wait already: of this tenant, or in all.
    pub async fn take(&self, tenant: K) -> Result<Held<K>, Over> {
        let (place, turn) = {
            let mut state = self.0.state.lock();
            // Whoever could go has gone when something was given back: nobody is passed over here.
            if state.book.may(&tenant, 1).is_ok() {
                state.book.take(&tenant, 1);
                return Ok(Held { shares: Some(Arc::clone(&self.0)), tenant, units: 1 });
            }
            state.waiting.may(&tenant, 1)?;
            state.waiting.take(&tenant, 1);
            let holds = state.book.of(&tenant) > 0;
            state.lines.join(&tenant, holds)
        };
        let waiting = Waiting { shares: &self.0, tenant, place };
        let held = turn.await;
        drop(waiting);
        held.map_err(|_| Over::Total)
    }

    /// Why a tenant would have none at this moment, nor a place in its line.
    #[must_use]
    pub fn refuses(&self, tenant: &K) -> Option<Over> {
        let state = self.0.state.lock();
        state.book.may(tenant, 1).or_else(|_| state.waiting.may(tenant, 1)).err()
    }

    /// Who holds something, and may have no more now.
    #[must_use]
    pub fn full(&self) -> Vec<K> {
        let state = self.0.state.lock();
        state.book.by.keys().filter(|tenant| state.book.may(tenant, 1).is_err()).cloned().collect()
    }

    /// What a tenant holds now.
    #[must_use]
    pub fn held_by(&self, tenant: &K) -> u64 {
        self.0.state.lock().book.of(tenant)
    }

    /// What all of them hold.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.0.state.lock().book.held
    }

    /// Tenants that hold something or wait: what this remembers.
    #[must_use]
    pub fn tenants(&self) -> usize {
        let state = self.0.state.lock();
        state.book.by.len().max(state.waiting.by.len())
    }
}

/// A place in a line, given up on drop.
struct Waiting<'a, K: Eq + Hash + Clone> {
    shares: &'a Arc<Inner<K>>,
    tenant: K,
    place: u64,
}

impl<K: Eq + Hash + Clone> Drop for Waiting<'_, K> {
    fn drop(&mut self) {
        let mut state = self.shares.state.lock();
        state.waiting.give(&self.tenant, 1);
        state.lines.leave(&self.tenant, self.place);
    }
}

impl<K: Eq + Hash + Clone> Inner<K> {
    /// Gives back, and lets go on whoever may.
    fn give(self: Arc<Self>, tenant: &K, units: u64) {
        self.state.lock().book.give(tenant, units);
        loop {
            let mut state = self.state.lock();
            let State { book, lines, .. } = &mut *state;
            let may = |tenant: &K| book.may(tenant, 1).is_ok().then(|| book.of(tenant));
            let Some((tenant, turn)) = lines.next(may) else { return };
            book.take(&tenant, 1);
            drop(state);
            let held = Held { shares: Some(Arc::clone(&self)), tenant, units: 1 };
            if let Err(mut unwanted) = turn.send(held) {
                // Whoever waited has just left: the next one, without going round by its drop.
                unwanted.shares = None;
                self.state.lock().book.give(&unwanted.tenant, 1);
            }
        }
    }
}

impl<K: Eq + Hash + Clone> Drop for Held<K> {
    fn drop(&mut self) {
        if let Some(shares) = self.shares.take() {
            shares.give(&self.tenant, self.units);
        }
    }
}

impl<K: Eq + Hash + Clone + std::fmt::Debug> std::fmt::Debug for Held<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("tenant", &self.tenant).field("units", &self.units).finish_non_exhaustive()
    }
}

impl<K: Eq + Hash + Clone + std::fmt::Debug> std::fmt::Debug for Shares<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.0.state.lock();
        f.debug_struct("Shares").field("book", &state.book).finish_non_exhaustive()
    }
}
