//! How many runs a cut may have, and when the next one comes, by how long the last ones took. Pure.
//!
//! Whoever writes beside a cut waits for it on SQLite, renewals of the lease and requests of the API among them; and what a
//! long one has done is lost with it. So it is as large as it can be within its time: on a machine that is slow, or busy, it
//! has fewer runs.

use std::time::Duration;

/// Runs of the first cut of a term: nothing is known yet.
const RUNS_FIRST: usize = 1_024;
const RUNS_MIN: usize = 128;
/// More of them are hardly cheaper by the run.
const RUNS_MAX: usize = 8_192;
/// So many cuts fit into a lease at least.
const CUTS_OF_A_LEASE: u32 = 10;
/// A cut has the only writer of a database for so long, about: others wait for it.
const WRITER_MAX: Duration = Duration::from_millis(50);
/// Where a cut has left some of what was ripe, others have their turn for this part of the time that it took.
const REST: u32 = 4;

/// The pause after a cut is so many times as long as the cut, within [`pause`]'s bounds.
const PAUSE: u32 = 20;

/// The pause after a cut that took so long, where nothing that is ripe was left. Much of what a cut costs is the same for few
/// runs and for many, such as each account's sums: so the dearer they are the rarer they are, up to one and a half times
/// the usual pause.
pub(super) fn pause(every: Duration, took: Duration) -> Duration {
    took.saturating_mul(PAUSE).clamp(every, every * 3 / 2)
}

/// The pause after a cut that took so long, and was planned for so long before, where something that is ripe was left. What
/// was left is planned while others have their turn.
pub(super) fn rest(every: Duration, took: Duration, planned: Duration) -> Duration {
    (took / REST).saturating_sub(planned).min(every)
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    runs_max: usize,
    time_max: Duration,
}

impl Pace {
    /// Of a leader with such a lease, on a database that has one writer or many.
    pub(super) fn new(lease: Duration, has_one_writer: bool) -> Self {
        let of_lease = lease / CUTS_OF_A_LEASE;
        let time_max = if has_one_writer { of_lease.min(WRITER_MAX) } else { of_lease };
        Self { runs_max: RUNS_FIRST, time_max }
    }

    /// Runs that the next cut may have.
    pub(super) fn runs_max(&self) -> usize {
        self.runs_max
    }

    /// A cut of so many runs took so long; whether it may have left some of what was ripe.
    pub(super) fn took(&mut self, runs: usize, took: Duration) -> bool {
        let was_full = runs >= self.runs_max;
        let (allowed, us) = (self.time_max.as_micros(), took.as_micros().max(1));
        let fitting = usize::try_from(runs as u128 * allowed / us).unwrap_or(RUNS_MAX);
        if took > self.time_max {
            // By the run, and by half at most: one flush that took long says little.
            self.runs_max = fitting.max(self.runs_max / 2).clamp(RUNS_MIN, RUNS_MAX);
        } else if was_full {
            // Half of the way: the next one may be slower.
            let more = fitting.min(self.runs_max * 2).saturating_sub(self.runs_max);
            self.runs_max = (self.runs_max + more.div_ceil(2)).min(RUNS_MAX);
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
    fn what_is_planned_while_others_write_is_no_pause() {
        let ms = Duration::from_millis;
        assert_eq!(rest(ms(200), ms(40), ms(0)), ms(10));
        assert_eq!(rest(ms(200), ms(40), ms(4)), ms(6));
        assert_eq!(rest(ms(200), ms(40), ms(30)), ms(0));
        assert_eq!(rest(ms(5), ms(40), ms(0)), ms(5));
    }

    #[test]
    fn the_only_writer_is_held_shortly() {
        // A fifth of a millisecond for each run, and five for the cut.
        let took = |runs: usize| Duration::from_micros(5_000 + 200 * u64::try_from(runs).unwrap());
        for (has_one_writer, wanted) in [(true, 200..=225), (false, 2_400..=2_475)] {
            let mut pace = Pace::new(LEASE, has_one_writer);
            (0..30).for_each(|_| assert!(pace.took(pace.runs_max(), took(pace.runs_max()))));
            assert!(wanted.contains(&pace.runs_max()), "{}", pace.runs_max());
        }
        let short = Pace::new(Duration::from_millis(100), true);
        assert_eq!(short.time_max, Duration::from_millis(10));
    }

    #[test]
    fn a_fast_machine_comes_to_the_most_and_stays_there() {
        let mut pace = Pace::new(LEASE, false);
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
        let mut pace = Pace { runs_max: RUNS_MAX, ..Pace::new(LEASE, false) };
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
