//! How long runs took, as counts in buckets that grow with the duration: small, added by adding the counts, and good for
//! quantiles that are at most one part in 32 (3.2 %) beside the true value. Pure.
//!
//! Each doubling has 16 buckets of the same width; below 32 us each microsecond has its own. Written as `bucket:count`
//! with spaces between, so that texts which stand one after the other are the sum of their sketches, and a database can
//! add them by joining them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use protocol::api::Latency;

/// Buckets of a doubling, as a power of two.
const STEPS_LOG2: u32 = 4;
const STEPS: u64 = 1 << STEPS_LOG2;

/// Counts by bucket. A change of a sketch has negative ones as well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sketch(BTreeMap<u16, i64>);

fn bucket(us: u64) -> u16 {
    if us < STEPS {
        return u16::try_from(us).unwrap_or(u16::MAX);
    }
    let shift = 63 - us.leading_zeros() - STEPS_LOG2;
    let bucket = u64::from(shift + 1) * STEPS + (us >> shift) % STEPS;
    u16::try_from(bucket).unwrap_or(u16::MAX)
}

/// The middle of a bucket, in microseconds.
fn middle(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    if bucket < STEPS {
        return bucket;
    }
    // No duration has a larger one.
    let shift = (bucket / STEPS - 1).min(59);
    ((STEPS + bucket % STEPS) << shift) + (1 << shift) / 2
}

impl Sketch {
    /// Counts a run of this duration so many times more.
    pub(crate) fn count(&mut self, us: u64, times: i64) {
        let count = self.0.entry(bucket(us)).or_default();
        *count = count.saturating_add(times);
    }

    /// Adds another one.
    pub(crate) fn add(&mut self, other: &Self) {
        for (bucket, more) in &other.0 {
            let count = self.0.entry(*bucket).or_default();
            *count = count.saturating_add(*more);
        }
    }

    /// Reads what was written, once or several times one after the other. What cannot be read counts as nothing.
    pub(crate) fn read(text: &str) -> Self {
        let mut sketch = Self::default();
        for entry in text.split_ascii_whitespace() {
            let Some((bucket, count)) = entry.split_once(':') else { continue };
            if let (Ok(bucket), Ok(more)) = (bucket.parse::<u16>(), count.parse::<i64>()) {
                let count = sketch.0.entry(bucket).or_default();
                *count = count.saturating_add(more);
            }
        }
        sketch
    }

    /// As the database keeps it: without empty buckets.
    pub(crate) fn write(&self) -> String {
        let mut text = String::new();
        for (bucket, count) in self.0.iter().filter(|(_, count)| **count > 0) {
            let space = if text.is_empty() { "" } else { " " };
            // A text takes all that is written to it.
            let _ = write!(text, "{space}{bucket}:{count}");
        }
        text
    }

    /// The duration that so many of 100 runs did not exceed, in microseconds.
    fn quantile(&self, percent: u64) -> Option<u64> {
        let counts = || self.0.iter().filter_map(|(bucket, count)| Some((*bucket, u64::try_from(*count).ok()?)));
        let all: u128 = counts().map(|(_, count)| u128::from(count)).sum();
        let wanted = (all * u128::from(percent)).div_ceil(100).max(1);
        let mut passed = 0;
        for (bucket, count) in counts() {
            passed += u128::from(count);
            if passed >= wanted {
                return Some(middle(bucket));
            }
        }
        None
    }

    /// The quantiles that are shown; none of no run.
    pub(crate) fn quantiles(&self) -> Option<Latency> {
        Some(Latency { p50_us: self.quantile(50)?, p95_us: self.quantile(95)?, p99_us: self.quantile(99)? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bucket_s_middle_is_near(us in any::<u64>(), shift in 0_u32..64) {
            let us = us >> shift;
            prop_assert!(middle(bucket(us)).abs_diff(us) <= us / 32, "{us}: {}", middle(bucket(us)));
        }

        #[test]
        fn adding_is_joining(one in prop::collection::vec(0_u64..10_000_000, 0..50), other in prop::collection::vec(0_u64..10_000_000, 0..50)) {
            let of = |durations: &[u64]| {
                let mut sketch = Sketch::default();
                durations.iter().for_each(|us| sketch.count(*us, 1));
                sketch
            };
            let mut sum = of(&one);
            sum.add(&of(&other));
            prop_assert_eq!(Sketch::read(&format!("{} {}", of(&one).write(), of(&other).write())), sum.clone());
            // And what is taken away again was never there.
            other.iter().for_each(|us| sum.count(*us, -1));
            prop_assert_eq!(sum.write(), of(&one).write());
        }
    }

    #[test]
    fn quantiles_are_those_of_the_runs() {
        let mut sketch = Sketch::default();
        assert_eq!(sketch.quantiles(), None);
        (1..=1000).for_each(|ms| sketch.count(ms * 1000, 1));
        let found = sketch.quantiles().unwrap();
        for (found, wanted) in [(found.p50_us, 500_000), (found.p95_us, 950_000), (found.p99_us, 990_000)] {
            assert!(found.abs_diff(wanted) <= wanted / 32, "{found}, not {wanted}");
        }
        assert_eq!(Sketch::read("nonsense 3: :4 5:6:7 "), Sketch::default());
    }
}
