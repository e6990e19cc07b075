//! Whether the owner uses the machine: it is busy beside what it is busy for us, or short of memory. Pure: samples and
//! their times come in.
//!
//! ```text
//!         3 of 4 samples busy, or memory is short              calm for the wait
//!  calm ------------------------------------------> active -------------------------> calm
//!                                                      the wait: a minute; twice that whenever it was too short
//! ```

use std::collections::VecDeque;
use std::time::Duration;

/// Samples that are looked at together, and how many of them must be busy.
const SAMPLES: usize = 4;
const BUSY_MIN: usize = 3;
/// A sample is busy beyond this share of the machine, in thousandths.
const BUSY_PERMILLE: u64 = 250;
/// Memory is short beyond this share of time in which somebody waited for it, in thousandths.
const PRESSURE_PERMILLE: u32 = 100;
const CALM_MIN: Duration = Duration::from_secs(60);
const CALM_MAX: Duration = Duration::from_secs(600);

/// What the machine says at one moment: sums since it started, in ticks of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// Time that all cores were busy.
    pub busy: u64,
    /// Time that all cores had.
    pub all: u64,
    /// Time that they were busy for us.
    pub ours: u64,
    /// The share of the last ten seconds in which somebody waited for memory, in thousandths; none where the machine does
    /// not say.
    pub memory_pressure: Option<u32>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct OwnerWatch {
    last: Option<Sample>,
    busy: VecDeque<bool>,
    /// When the owner was last seen, while the machine is theirs.
    seen: Option<Duration>,
    wait: Option<Duration>,
    /// When it was last given back to runs.
    calm_since: Option<Duration>,
}

impl OwnerWatch {
    /// How often a sample is taken.
    pub const EVERY: Duration = Duration::from_millis(250);

    /// A sample at this time, by a clock that only counts up; says how long calm must last from now on, where the owner
    /// uses the machine.
    pub fn sample(&mut self, now: Duration, sample: Sample) -> Option<Duration> {
        let busy = self.last.replace(sample).is_some_and(|last| is_busy(last, sample));
        self.busy.push_back(busy);
        if self.busy.len() > SAMPLES {
            self.busy.pop_front();
        }
        let needed = self.busy.iter().filter(|busy| **busy).count() >= BUSY_MIN
            || sample.memory_pressure.is_some_and(|share| share > PRESSURE_PERMILLE);
        if needed {
            if self.seen.is_none() {
                self.wait = Some(self.next_wait(now));
            }
            self.seen = Some(now);
        }
        let (seen, wait) = (self.seen?, self.wait.unwrap_or(CALM_MIN));
        let left = (seen + wait).checked_sub(now).filter(|left| !left.is_zero());
        if left.is_none() {
            (self.seen, self.calm_since) = (None, Some(now));
        }
        left
    }

    /// An owner who comes back soon after is let be for longer.
    fn next_wait(&self, now: Duration) -> Duration {
        let before = self.wait.unwrap_or(CALM_MIN);
        match self.calm_since {
            Some(since) if now.saturating_sub(since) < before * 2 => (before * 2).min(CALM_MAX),
            _ => CALM_MIN,
        }
    }
}

fn is_busy(earlier: Sample, later: Sample) -> bool {
    let all = later.all.saturating_sub(earlier.all);
    let busy = later.busy.saturating_sub(earlier.busy).saturating_sub(later.ours.saturating_sub(earlier.ours));
    busy.saturating_mul(1000) > all.saturating_mul(BUSY_PERMILLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine of 100 ticks in each sample.
    #[derive(Default)]
    struct Machine {
        watch: OwnerWatch,
        now: Duration,
        sums: Sample,
    }

    impl Machine {
        fn passes(&mut self, busy: u64, ours: u64) -> bool {
            self.now += OwnerWatch::EVERY;
            self.sums.all += 100;
            self.sums.busy += busy;
            self.sums.ours += ours;
            self.watch.sample(self.now, self.sums).is_some()
        }

        /// How long it takes until it is calm.
        fn rests(&mut self) -> Duration {
            let from = self.now;
            while self.passes(0, 0) {}
            self.now - from
        }

        fn is_used(&mut self) {
            assert!((0..4).map(|_| self.passes(100, 0)).last().unwrap());
        }
    }

    #[test]
    fn three_of_four_busy_samples_are_the_owner_and_our_own_work_is_not() {
        let mut machine = Machine::default();
        machine.passes(0, 0);
        assert!(!(0..20).any(|_| machine.passes(100, 90)), "busy for us");
        assert!(!machine.passes(60, 0) && !machine.passes(60, 0) && !machine.passes(0, 0), "two");
        assert!(machine.passes(60, 30), "three of four");
    }

    #[test]
    fn calm_lasts_a_minute_and_longer_for_owners_who_come_back() {
        let mut machine = Machine::default();
        machine.passes(0, 0);
        let mut waits = Vec::new();
        for _ in 0..6 {
            machine.is_used();
            waits.push(machine.rests().as_secs());
        }
        assert_eq!(waits, [60, 120, 240, 480, 600, 600]);
        machine.now += Duration::from_secs(3600);
        machine.is_used();
        assert_eq!(machine.rests().as_secs(), 60, "long ago is forgotten");
    }

    #[test]
    fn short_memory_is_the_owner_too() {
        let mut watch = OwnerWatch::default();
        let short = Sample { memory_pressure: Some(150), ..Sample::default() };
        assert!(watch.sample(Duration::from_secs(1), Sample::default()).is_none());
        assert_eq!(watch.sample(Duration::from_secs(2), short), Some(CALM_MIN));
    }
}
