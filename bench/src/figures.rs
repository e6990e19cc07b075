//! What is written: figures with the median and spread of their rounds, ratios, and checks.

use std::fmt::Write as _;

use serde::Serialize;

use crate::checks::{Check, Goal};
use crate::machine::Machine;

/// Everything that one benchmark found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Its name.
    pub(crate) benchmark: &'static str,
    /// When it began, RFC 3339.
    pub(crate) at: String,
    /// Where.
    pub(crate) machine: Machine,
    /// How: rounds, seconds, settings.
    pub(crate) settings: serde_json::Value,
    /// Every figure.
    pub(crate) figures: Vec<Figure>,
    /// What was wanted, and whether it was reached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) goals: Vec<Goal>,
    /// What had to hold for the figures to count.
    pub(crate) checks: Vec<Check>,
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// What was measured: `crowdcloud`, `wasmtime serve`.
    pub(crate) of: String,
    /// Which figure, its unit last: `throughput_per_second`.
    pub(crate) figure: &'static str,
    /// Connections at once, where that matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connections: Option<usize>,
    /// The middle of the rounds.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
    /// `(max - min) / median`
    pub(crate) spread: f64,
    /// Each round's value, in their order.
    pub(crate) rounds: Vec<f64>,
}

impl Figure {
    /// The figure of these rounds.
    pub(crate) fn new(of: &str, figure: &'static str, connections: Option<usize>, rounds: Vec<f64>) -> Self {
        let mut sorted = rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match sorted.len() {
            0 => 0.0,
            length if length % 2 == 1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        };
        let (min, max) = (sorted.first().copied().unwrap_or(0.0), sorted.last().copied().unwrap_or(0.0));
        let spread = if median == 0.0 { 0.0 } else { (max - min) / median };
        Self { of: of.to_owned(), figure, connections, median, min, max, spread, rounds }
    }

    /// This figure over another, round by round: what alternating rounds are for.
    pub(crate) fn over(&self, other: &Self, figure: &'static str) -> Self {
        let ratios = self.rounds.iter().zip(&other.rounds).map(|(mine, theirs)| mine / theirs).collect();
        Self::new(&format!("{} / {}", self.of, other.of), figure, self.connections, ratios)
    }
}

impl Report {
    /// The figures and checks, for people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{} on {}\n", self.benchmark, self.machine);
        for figure in &self.figures {
            let connections = figure.connections.map_or(String::new(), |count| format!(" at {count}"));
            let _ = writeln!(
                text,
                "{:<58} {:>12} ({} to {})",
                format!("{}{connections}: {}", figure.of, figure.figure),
                round(figure.median),
                round(figure.min),
                round(figure.max)
            );
        }
        for goal in &self.goals {
            let _ = writeln!(text, "{} {}: {}, found {}", goal.word(), goal.what, goal.wanted(), round(goal.found));
        }
        for check in &self.checks {
            let _ = writeln!(text, "{} {}: {}", if check.held { "ok    " } else { "FAILED" }, check.what, check.found);
        }
        text
    }
}

/// What so many percent of the sorted values are below; none of no values.
pub(crate) fn quantile(sorted: &[f64], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((sorted.len() * percent / 100).min(last)).copied().unwrap_or(f64::NAN)
}

/// Three digits that matter.
pub(crate) fn round(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios() {
        let odd = Figure::new("a", "x", None, vec![3.0, 1.0, 2.0]);
        assert_eq!((odd.median, odd.min, odd.max, odd.spread), (2.0, 1.0, 3.0, 1.0));
        let even = Figure::new("b", "x", Some(4), vec![4.0, 1.0, 2.0, 3.0]);
        assert_eq!(even.median, 2.5);
        assert_eq!(Figure::new("c", "x", None, Vec::new()).median, 0.0);
        let ratio = odd.over(&Figure::new("d", "x", None, vec![1.0, 1.0, 4.0]), "ratio");
        assert_eq!((ratio.of.as_str(), ratio.rounds), ("a / d", vec![3.0, 1.0, 0.5]));
    }

    #[test]
    fn quantiles() {
        let hundred: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!((quantile(&hundred, 50), quantile(&hundred, 99), quantile(&hundred, 100)), (50.0, 99.0, 99.0));
        assert!(quantile(&[], 50).is_nan());
    }

    #[test]
    fn three_digits() {
        assert_eq!([12_345.6, 123.4, 12.34, 1.2345].map(round), ["12346", "123", "12.3", "1.234"]);
    }
}
