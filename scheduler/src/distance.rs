//! How far away a node is, measured by what calls to it took beside the runs themselves.

use std::time::Duration;

/// The least of so many reports' time, and of as many before it, counts: a node may move.
const REPORTS: u8 = 10;

/// Less is no distance but this machine's own noise.
const STEP: Duration = Duration::from_millis(1);

/// How long a message takes there and back. A call waits for other things too, but only ever longer: the least that was
/// seen lately is the distance.
#[derive(Debug, Clone, Copy, Default)]
pub struct Distance {
    lately: Option<Duration>,
    before: Option<Duration>,
    reports: u8,
}

impl Distance {
    /// A call took so much longer than its run on the node.
    pub fn saw(&mut self, beside_the_run: Duration) {
        self.lately = Some(self.lately.map_or(beside_the_run, |least| least.min(beside_the_run)));
    }

    /// The node has reported. Where nothing was seen for a while, half of what was known stays: nobody calls a node that
    /// seems far away, and one slow call would keep a near one idle for ever.
    pub(crate) fn pass(&mut self) {
        self.reports += 1;
        if self.reports >= REPORTS {
            self.reports = 0;
            self.before = self.lately.take().or(self.before.map(|before| before / 2));
        }
    }

    /// Nothing before the first call, and nothing below a millisecond.
    #[must_use]
    pub fn get(self) -> Duration {
        let least = self.lately.into_iter().chain(self.before).min().unwrap_or_default();
        if least < STEP { Duration::ZERO } else { least }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_least_counts_and_is_forgotten() {
        let mut distance = Distance::default();
        assert_eq!(distance.get(), ms(0));
        for seen in [40, 30, 900] {
            distance.saw(ms(seen));
        }
        assert_eq!(distance.get(), ms(30));
        // Nobody calls it: perhaps it only seemed far away.
        for _ in 0..REPORTS {
            distance.pass();
        }
        assert_eq!(distance.get(), ms(30), "lately");
        for _ in 0..REPORTS {
            distance.pass();
        }
        assert_eq!(distance.get(), ms(15));
        for _ in 0..4 * REPORTS {
            distance.pass();
        }
        assert_eq!(distance.get(), ms(0), "it will be tried again");
        // It moved away.
        for _ in 0..2 * REPORTS {
            distance.saw(ms(80));
            distance.pass();
        }
        assert_eq!(distance.get(), ms(80));
        distance.saw(Duration::from_micros(300));
        assert_eq!(distance.get(), ms(0), "noise");
    }
}
