//! How many runs a cut may have, and when the next one comes, by how long the last ones took. Pure.
//!
//! Whoever writes beside a cut waits for it on SQLite, renewals of the lease among them; and what a long one has done is lost
//! with it. So it is as large as it can be within its time: on a machine that is slow, or busy, it has fewer runs.

use std::time::Duration;

/// Runs of the first cut of a term: nothing is known yet.
const RUNS_FIRST: usize = 1_024;
const RUNS_MIN: usize = 128;
/// More of them are hardly cheaper by the run.
const RUNS_MAX: usize = 8_192;
/// So many cuts fit into a lease at least.
const CUTS_OF_A_LEASE: u32 = 10;

/// The pause after a cut is so many times as long as the cut, within [`pause`]'s bounds.
const PAUSE: u32 = 20;

/// The pause after a cut that took so long, where nothing that is ripe was left. Much of what a cut costs is the same for few
/// runs and for many, such as each account's sums: so the dearer they are the rarer they are, up to one and a half times
/// the usual pause.
pub(super) fn pause(every: Duration, took: Duration) -> Duration {
    took.saturating_mul(PAUSE).clamp(every, every * 3 / 2)
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    runs_max: usize,
    time_max: Duration,
}

impl Pace {
    /// Of a leader with such a lease.
    pub(super) fn new(lease: Duration) -> Self {
        Self { runs_max: RUNS_FIRST, time_max: lease / CUTS_OF_A_LEASE }
    }

    /// Runs that the next cut may have.
    pub(super) fn runs_max(&self) -> usize {
        self.runs_max
    }

    /// A cut of so many runs took so long; whether it may have left some of what was ripe.
    pub(super) fn took(&mut self, runs: usize, took: Duration) -> bool {
        let was_full = runs >= self.runs_max;
        if took > self.time_max {
            // By the run, and by half at most: one flush that took long says little.
            let (allowed, took) = (self.time_max.as_micros(), took.as_micros().max(1));
            let fitting = usize::try_from(runs as u128 * allowed / took).unwrap_or(RUNS_MAX);
            self.runs_max = fitting.max(self.runs_max / 2).clamp(RUNS_MIN, RUNS_MAX);
        } else if was_full && took <= self.time_max / 2 {
            self.runs_max = (self.runs_max * 2).min(RUNS_MAX);
        }
        was_full
    }

    /// A cut failed: perhaps it was too large.
    pub(super) fn failed(&mut self) {
        self.runs_max = (self.runs_max / 2).max(RUNS_MIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(5);

    #[test]
    fn cuts_that_cost_more_are_rarer() {
        let ms = Duration::from_millis;
        let pauses = [0, 5, 12, 15, 400].map(|took| pause(ms(200), ms(took)));
        assert_eq!(pauses, [200, 200, 240, 300, 300].map(ms));
        assert_eq!(pause(Duration::ZERO, ms(20)), Duration::ZERO);
    }

    #[test]
    fn a_fast_machine_comes_to_the_most_and_stays_there() {
        let mut pace = Pace::new(LEASE);
        for _ in 0..9 {
            assert!(pace.took(pace.runs_max(), Duration::from_millis(250)), "it was full");
        }
        assert_eq!(pace.runs_max(), RUNS_MAX);
        assert!(!pace.took(10, Duration::from_millis(1)));
        assert!(!pace.took(10, Duration::from_millis(300)), "and within its time nothing changes");
        assert_eq!(pace.runs_max(), RUNS_MAX);
    }

    #[test]
    fn a_slow_one_comes_to_what_fits_into_the_time() {
        // A millisecond for each run.
        let mut pace = Pace { runs_max: RUNS_MAX, ..Pace::new(LEASE) };
        for _ in 0..9 {
            let runs = pace.runs_max();
            pace.took(runs, Duration::from_millis(u64::try_from(runs).unwrap()));
        }
        assert_eq!(pace.runs_max(), 500);
        for _ in 0..9 {
            pace.failed();
        }
        assert_eq!(pace.runs_max(), RUNS_MIN);
        pace.took(RUNS_MIN, Duration::from_secs(60));
        assert_eq!(pace.runs_max(), RUNS_MIN, "something is always settled");
    }
}
