//! What is told of a comparison: figures with confidence intervals, and the goals.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::experiment::Plan;
use super::score::Score;

/// One simulation's figures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sample {
    /// Under which policy.
    pub policy: String,
    /// Offered work over capacity, as planned.
    pub load: f64,
    /// Which draw.
    pub seed: u64,
    /// How many nodes there were.
    pub nodes: usize,
    /// The figures.
    pub score: Score,
    /// The model's error on held-out runs, where one was trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_error: Option<f64>,
    /// The same of what history alone says: its median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_error: Option<f64>,
}

/// A mean with its 95 % confidence interval (Student's t).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The mean over the seeds.
    pub mean: f64,
    /// Half the interval's width.
    pub half: f64,
}

/// A policy's figures at one load.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// The policy.
    pub policy: String,
    /// The load.
    pub load: f64,
    /// The median slowdown.
    pub slowdown_p50: Spread,
    /// The 99th percentile of slowdowns.
    pub slowdown_p99: Spread,
    /// That of the function that it is worst for.
    pub worst_function_p99: Spread,
    /// Cold starts, as a share of runs.
    pub cold_share: Spread,
    /// Busy cores over all, by speed.
    pub utilisation: Spread,
    /// The longest wait, in seconds.
    pub wait_max_s: Spread,
}

/// Something that had to be reached: `of` at most `most` times `over`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Goal {
    /// Which figure.
    pub figure: String,
    /// The baseline.
    pub over: String,
    /// At which load.
    pub load: f64,
    /// What it may be at most.
    pub most: f64,
    /// What it is, the ratio taken seed by seed.
    pub found: Spread,
    /// Whether the mean is within.
    pub held: bool,
}

/// A comparison.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Where the workload is from.
    pub source: String,
    /// Minutes that were learned from, and minutes that were scored.
    pub minutes: (u64, u64),
    /// The seeds.
    pub seeds: Vec<u64>,
    /// Policies by load.
    pub rows: Vec<Row>,
    /// The goals.
    pub goals: Vec<Goal>,
    /// Every simulation.
    pub samples: Vec<Sample>,
}

/// Student's t for 95 %, by degrees of freedom from 1.
const STUDENT: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
const STUDENT_MANY: f64 = 2.2;

/// The figure, over which baseline, at which load (any), at most.
const GOALS: [(&str, &str, Option<f64>, f64); 5] = [
    ("slowdown_p99", "least_loaded", Some(0.76), 0.25),
    ("slowdown_p99", "least_loaded", Some(0.95), 0.05),
    ("cold_share", "least_loaded", None, 0.3),
    ("slowdown_p99", "warm_first_sjf", Some(0.76), 0.9),
    ("slowdown_p99", "warm_first_sjf", Some(0.95), 0.9),
];
const LEARNED: &str = "learned";

impl Spread {
    /// Of these values.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "seeds are few")]
    pub fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count.max(1.0);
        let Some(freedom) = values.len().checked_sub(2) else { return Self { mean, half: 0.0 } };
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let t = STUDENT.get(freedom).copied().unwrap_or(STUDENT_MANY);
        Self { mean, half: t * (variance / count).sqrt() }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ± {}", digits(self.mean), digits(self.half))
    }
}

impl Report {
    pub(super) fn new(source: String, plan: &Plan, samples: Vec<Sample>) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        for sample in &samples {
            if !rows.iter().any(|row| row.policy == sample.policy && same(row.load, sample.load)) {
                rows.push(row(&samples, &sample.policy, sample.load));
            }
        }
        let goals = plan.loads.iter().flat_map(|load| goals(&samples, *load)).collect();
        let minutes = (plan.learn_minutes, plan.score_minutes);
        Self { source, minutes, seeds: plan.seeds.clone(), rows, goals, samples }
    }

    /// The same for people, as Markdown.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!(
            "{}: learned from {} minutes, scored {}, {} seeds, 95 % confidence\n\n\
             | load | policy | p50 slowdown | p99 slowdown | worst function's p99 | cold starts (%) | utilisation | \
             longest wait (s) |\n| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
            self.source,
            self.minutes.0,
            self.minutes.1,
            self.seeds.len()
        );
        for row in &self.rows {
            let cold = Spread { mean: row.cold_share.mean * 100.0, half: row.cold_share.half * 100.0 };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {cold} | {} | {} |",
                row.load,
                row.policy,
                row.slowdown_p50,
                row.slowdown_p99,
                row.worst_function_p99,
                row.utilisation,
                row.wait_max_s
            );
        }
        text.push_str("\n| goal | at load | at most | found | held |\n| --- | ---: | ---: | ---: | --- |\n");
        for goal in &self.goals {
            let held = if goal.held { "yes" } else { "**no**" };
            let _ = writeln!(
                text,
                "| {} over {} | {} | {} | {} | {held} |",
                goal.figure, goal.over, goal.load, goal.most, goal.found
            );
        }
        text
    }
}

fn row(samples: &[Sample], policy: &str, load: f64) -> Row {
    let of = |figure: fn(&Score) -> f64| {
        let mine = samples.iter().filter(|sample| sample.policy == policy && same(sample.load, load));
        Spread::of(&mine.map(|sample| figure(&sample.score)).collect::<Vec<f64>>())
    };
    Row {
        policy: policy.to_owned(),
        load,
        slowdown_p50: of(|score| score.slowdown_p50),
        slowdown_p99: of(|score| score.slowdown_p99),
        worst_function_p99: of(|score| score.worst_function_p99),
        cold_share: of(|score| score.cold_share),
        utilisation: of(|score| score.utilisation),
        wait_max_s: of(|score| score.wait_max_s),
    }
}

/// The goals at this load, as far as those that they compare took part.
fn goals(samples: &[Sample], load: f64) -> Vec<Goal> {
    let wanted = GOALS.into_iter().filter(|(_, _, at, _)| at.is_none_or(|at| same(at, load)));
    let found = wanted.filter_map(|(figure, over, _, most)| {
        let of = |policy: &str, seed: u64| {
            let mut at = samples.iter().filter(|sample| same(sample.load, load) && sample.seed == seed);
            let score = &at.find(|sample| sample.policy == policy)?.score;
            Some(if figure == "cold_share" { score.cold_share } else { score.slowdown_p99 })
        };
        let learned = samples.iter().filter(|sample| sample.policy == LEARNED && same(sample.load, load));
        let ratios: Vec<f64> =
            learned.filter_map(|sample| Some(of(LEARNED, sample.seed)? / of(over, sample.seed)?)).collect();
        let found = Spread::of(&ratios);
        let held = found.mean <= most;
        (!ratios.is_empty()).then(|| Goal { figure: figure.to_owned(), over: over.to_owned(), load, most, found, held })
    });
    found.collect()
}

fn same(left: f64, right: f64) -> bool {
    (left - right).abs() < 1e-9
}

/// Three digits that matter.
pub(super) fn digits(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}
