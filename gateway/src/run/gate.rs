//! How often a function runs at once here: a counter, no lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Runs of a function now.
#[derive(Debug, Default)]
pub(crate) struct Gate(AtomicU32);

/// One of them; over when dropped.
#[derive(Debug)]
pub(crate) struct Passed(Arc<Gate>);

impl Gate {
    /// One more, where fewer than `limit` are inside.
    pub(crate) fn pass(self: &Arc<Self>, limit: u32) -> Option<Passed> {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |inside| (inside < limit).then_some(inside + 1))
            .ok()
            .map(|_| Passed(Arc::clone(self)))
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit() {
        let gate = Arc::new(Gate::default());
        let first = gate.pass(2);
        let second = gate.pass(2);
        assert!(first.is_some() && second.is_some() && gate.pass(2).is_none());
        drop(first);
        assert!(gate.pass(2).is_some());
    }
}
