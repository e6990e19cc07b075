//! How many runs of a function go on here: a counter, no lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Runs of a function now.
#[derive(Debug, Default)]
pub(crate) struct Concurrency(AtomicU32);

/// Permission for one of them; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Concurrency>);

impl Concurrency {
    /// One more, where fewer than `limit` go on.
    pub(crate) fn enter(self: &Arc<Self>, limit: u32) -> Option<Permit> {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |running| (running < limit).then_some(running + 1))
            .ok()
            .map(|_| Permit(Arc::clone(self)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit() {
        let running = Arc::new(Concurrency::default());
        let first = running.enter(2);
        let second = running.enter(2);
        assert!(first.is_some() && second.is_some() && running.enter(2).is_none());
        drop(first);
        assert!(running.enter(2).is_some());
    }
}
