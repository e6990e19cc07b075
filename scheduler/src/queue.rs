//! Runs that wait before the nodes: late binding, in the policy's order, with bounded waiting and bounded length.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::VersionId;
use protocol::placement::Placement;
use rand::RngCore;

use crate::{NodeView, Policy, RunRequest};

/// Of how many versions a run is tried at once: what fits nowhere must not hold back what waits behind it.
const TRIED_MAX: usize = 32;

/// Runs that wait, each with what its owner needs to go on (`T`).
#[derive(Debug)]
pub struct WaitingRoom<T> {
    waiting: BTreeMap<Place, Waiting<T>>,
    arrived: u64,
    length_max: usize,
}

/// A run that waits.
#[derive(Debug)]
pub struct Waiting<T> {
    /// What it asks for.
    pub request: RunRequest,
    /// When it came, on the caller's clock.
    pub since: Duration,
    /// Whose it is.
    pub owner: T,
}

/// The policy's order, then that of arrival.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place(f64, u64);

impl Eq for Place {}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0).then(self.1.cmp(&other.1))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> WaitingRoom<T> {
    /// Room for so many.
    #[must_use]
    pub fn new(length_max: usize) -> Self {
        Self { waiting: BTreeMap::new(), arrived: 0, length_max }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Lets a run wait.
    ///
    /// # Errors
    /// Gives it back when the room is full.
    pub fn enter(&mut self, policy: &mut dyn Policy, waiting: Waiting<T>) -> Result<(), Waiting<T>> {
        if self.waiting.len() >= self.length_max {
            return Err(waiting);
        }
        let order = policy.order(&waiting.request, waiting.since);
        self.arrived += 1;
        self.waiting.insert(Place(order, self.arrived), waiting);
        Ok(())
    }

    /// The first run that some node may take now, with its placement. The caller starts it, then asks again.
    pub fn next(
        &mut self,
        policy: &mut dyn Policy,
        nodes: &[NodeView],
        now: Duration,
        rng: &mut dyn RngCore,
    ) -> Option<(Waiting<T>, Placement)> {
        let mut found = None;
        let mut refused: Vec<VersionId> = Vec::new();
        for (place, waiting) in &mut self.waiting {
            // Where one of a version does not fit, the next does not either.
            if refused.contains(&waiting.request.version) {
                continue;
            }
            if refused.len() >= TRIED_MAX {
                break;
            }
            waiting.request.waited = now.saturating_sub(waiting.since);
            let placement = policy.rank(&waiting.request, nodes, rng);
            if !placement.ranked.is_empty() {
                found = Some((*place, placement));
                break;
            }
            refused.push(waiting.request.version);
        }
        let (place, placement) = found?;
        Some((self.waiting.remove(&place)?, placement))
    }

    /// Takes out those that have waited for `longest`: a sync call is refused rather than held for ever.
    pub fn expire(&mut self, now: Duration, longest: Duration) -> Vec<Waiting<T>> {
        let late = |waiting: &Waiting<T>| now.saturating_sub(waiting.since) >= longest;
        self.waiting.extract_if(.., |_, waiting| late(waiting)).map(|(_, waiting)| waiting).collect()
    }
}
