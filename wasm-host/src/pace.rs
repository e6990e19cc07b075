//! Whether a program gives way. A guest's turn ends at a tick of the epoch, but not within one instruction or call of
//! the host that works through much memory: `memory.fill`, the copying of large data segments, the return of memory.
//! A program that has held its thread for too long starts on the guests' own threads from then on, where nobody else
//! waits for it, until enough of its runs have been quick.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// CPU time of one turn after which a program counts as one that does not give way: two ticks of the epoch.
pub(crate) const TURN_MAX: Duration = Duration::from_millis(20);
/// So many quick runs make good the first long turn; twice as many each further one.
const QUICK_RUNS: u32 = 16;
/// The doubling ends here.
const DOUBLINGS_MAX: u32 = 10;

/// How a program has behaved.
#[derive(Debug, Default)]
pub struct Pace {
    long_turns: AtomicU32,
    quick_runs_owed: AtomicU32,
}

impl Pace {
    /// Whether its runs start on the guests' own threads.
    pub fn starts_apart(&self) -> bool {
        self.quick_runs_owed.load(Ordering::Relaxed) > 0
    }

    /// A turn was too long.
    pub(crate) fn held_its_thread(&self) {
        let before = self.long_turns.fetch_add(1, Ordering::Relaxed);
        self.quick_runs_owed.store(QUICK_RUNS << before.min(DOUBLINGS_MAX), Ordering::Relaxed);
    }

    /// A run is over, and none of its turns was too long.
    pub(crate) fn was_quick(&self) {
        let less = |owed: u32| owed.checked_sub(1);
        // None owed: nothing to count.
        self.quick_runs_owed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::{Pace, QUICK_RUNS};

    #[test]
    fn each_long_turn_costs_twice_as_many_quick_runs() {
        let pace = Pace::default();
        pace.was_quick();
        assert!(!pace.starts_apart());
        for round in 0..3 {
            pace.held_its_thread();
            for _ in 0..QUICK_RUNS << round {
                assert!(pace.starts_apart());
                pace.was_quick();
            }
            assert!(!pace.starts_apart());
        }
    }
}
