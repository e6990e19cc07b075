//! Log lines that strangers could cause without end: one of a kind in a while, with the count of those left out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A line of a kind is written so often at most.
const ONCE_IN: Duration = Duration::from_secs(1);

/// One kind of line.
pub(crate) struct Quiet {
    last: Mutex<Option<Instant>>,
    left_out: AtomicU64,
}

impl Quiet {
    pub(crate) const fn new() -> Self {
        Self { last: Mutex::new(None), left_out: AtomicU64::new(0) }
    }

    /// Whether to write it now, and how many were left out since the last one.
    pub(crate) fn now(&self) -> Option<u64> {
        let now = Instant::now();
        let mut last = self.last.lock();
        if last.is_some_and(|last| now.saturating_duration_since(last) < ONCE_IN) {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *last = Some(now);
        Some(self.left_out.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a02_a_flood_of_the_same_is_one_line() {
        let quiet = Quiet::new();
        assert_eq!(quiet.now(), Some(0));
        assert_eq!((0..1000).filter_map(|_| quiet.now()).count(), 0);
        *quiet.last.lock() = Instant::now().checked_sub(ONCE_IN);
        assert_eq!(quiet.now(), Some(1000));
    }
}
