//! The cuts of a control plane: how many transactions of settlement there were, and how long they took, by its own figures.

use fabric::metric_names::CONTROL_PLANE_SETTLEMENT_SECONDS;

/// What its histogram says of all cuts so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Cuts {
    /// How many took at most so many seconds, by ascending seconds.
    up_to: Vec<(f64, f64)>,
    seconds: f64,
    pub(super) count: f64,
}

impl Cuts {
    /// Reads the text of `/metrics`.
    pub(super) fn read(metrics: &str) -> Self {
        let mut cuts = Self::default();
        for line in metrics.lines() {
            let Some(rest) = line.strip_prefix(CONTROL_PLANE_SETTLEMENT_SECONDS) else { continue };
            let Some((what, value)) = rest.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            if !what.contains("halves=\"cut\"") {
                continue;
            }
            if what.starts_with("_sum") {
                cuts.seconds = value;
            } else if what.starts_with("_count") {
                cuts.count = value;
            } else if let Some(bound) = what.split("le=\"").nth(1).and_then(|rest| rest.split('"').next()?.parse().ok())
            {
                cuts.up_to.push((bound, value));
            }
        }
        cuts
    }

    /// Those that came after these.
    pub(super) fn since(&self, before: &Self) -> Self {
        let earlier = |bound: f64| before.up_to.iter().find(|(of, _)| *of == bound).map_or(0.0, |(_, count)| *count);
        Self {
            up_to: self.up_to.iter().map(|(bound, count)| (*bound, count - earlier(*bound))).collect(),
            seconds: self.seconds - before.seconds,
            count: self.count - before.count,
        }
    }

    /// How long one took, in the mean.
    pub(super) fn mean_ms(&self) -> f64 {
        self.seconds * 1e3 / self.count
    }

    /// At least so many percent took no longer than this: a bound of the histogram.
    pub(super) fn at_most_ms(&self, percent: f64) -> f64 {
        let wanted = self.count * percent / 100.0;
        self.up_to.iter().find(|(_, count)| *count >= wanted).map_or(f64::NAN, |(bound, _)| bound * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many cuts of at most 10 ms, of at most 50 ms, and in all; and a batch that was no cut.
    fn text(counts: [u32; 3], seconds: f64) -> String {
        let name = CONTROL_PLANE_SETTLEMENT_SECONDS;
        let bounds = ["0.01", "0.05", "+Inf"].into_iter().zip(counts);
        let buckets = bounds.map(|(le, count)| format!("{name}_bucket{{halves=\"cut\",le=\"{le}\"}} {count}\n"));
        let mut text: String = buckets.collect();
        text += &format!("{name}_sum{{halves=\"cut\"}} {seconds}\n{name}_count{{halves=\"cut\"}} {}\n", counts[2]);
        text + &format!("# TYPE {name} histogram\n{name}_sum{{halves=\"observations\"}} 9\n")
    }

    #[test]
    fn cuts_are_read_and_told_apart() {
        let (before, after) = (Cuts::read(&text([1, 2, 2], 0.5)), Cuts::read(&text([11, 101, 102], 2.5)));
        let between = after.since(&before);
        assert_eq!((between.count, between.mean_ms()), (100.0, 20.0));
        assert_eq!((between.at_most_ms(10.0), between.at_most_ms(99.0)), (10.0, 50.0));
        assert!(between.at_most_ms(100.0).is_infinite());
        assert_eq!(after.since(&Cuts::default()), after, "before the first there are none");
        assert!(Cuts::read("").at_most_ms(99.0).is_nan());
    }
}
