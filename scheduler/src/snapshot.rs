//! A model: trained from runs that ended, immutable, versioned, the same bytes for the same runs.

use std::time::Duration;

use protocol::{ByteSize, Lane, NodeId, VersionId};
use serde::{Deserialize, Serialize};

use crate::Finished;
use crate::features::{FEATURES, Features, features, of_classes};
use crate::forest::{Forest, Growth};
use crate::history::{History, NodeClass, VersionHistory};

/// What stored snapshots begin with.
const MAGIC: &[u8; 4] = b"ccsm";
/// Fewer runs teach nothing.
const RUNS_MIN: usize = 200;
/// So many runs of a version are learned from, spread over time: the popular ones must not drown the others.
const ROWS_PER_VERSION: usize = 96;
/// So many rows are learned from.
const ROWS_MAX: usize = 24_000;
/// Every so many rows one is kept aside, to measure what the model does not know.
const HELD_OUT: usize = 5;
const TIME: Growth = Growth { trees: 24, depth: 9, leaf_min: 12, seed: 1 };
const SPREAD: Growth = Growth { trees: 12, depth: 7, leaf_min: 24, seed: 2 };
const FAILURE: Growth = Growth { trees: 12, depth: 6, leaf_min: 24, seed: 3 };
/// The shares of runs that a prediction names.
pub const SHARES: [f64; 7] = [0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99];
/// How much of all runs each of them stands for, in a mean.
const WEIGHTS: [f64; SHARES.len()] = [0.15, 0.225, 0.25, 0.2, 0.1, 0.045, 0.03];
const MEDIAN: usize = 2;
const TRUSTS: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];
/// With so many runs, history and model count alike.
const TRUSTED_RUNS: f64 = 10.0;
const SPREAD_MIN: f64 = 0.02;

/// A trained model, with the history that it was trained on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    /// The form's version.
    v: u16,
    /// The runs that it was trained from ended before this, on the trainer's clock.
    pub trained_at: Duration,
    /// How many there were.
    pub runs: u64,
    /// The mean error of held-out runs: of the logarithm of time.
    pub error: f64,
    /// What it would be by history alone: the version's median, and what its inputs explain.
    pub error_history: f64,
    features: u32,
    /// How far the forest is followed away from the version's median: as far as held-out runs say.
    trust: f64,
    time: Forest,
    spread: Forest,
    failure: Option<Forest>,
    /// Deviations from the middle, at `SHARES`, in units of `spread`.
    deviations: [f32; SHARES.len()],
    pub(crate) history: History,
}

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// There is too little to learn from.
    #[error("{runs} runs are too few to learn from")]
    TooFew {
        /// How many there are.
        runs: usize,
    },
    /// The learner refused.
    #[error("the learner failed: {0}")]
    Learner(String),
    /// The learner's trees are not as expected.
    #[error("the learner's form is not understood: {0}")]
    Form(String),
    /// The trees do not hang together.
    #[error("the learner's trees do not hang together")]
    Shape,
}

impl TrainError {
    pub(crate) fn learner(error: impl std::fmt::Display) -> Self {
        Self::Learner(error.to_string())
    }

    pub(crate) fn form(error: impl std::fmt::Display) -> Self {
        Self::Form(error.to_string())
    }
}

/// Why stored bytes are not a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Something else, or of another version.
    #[error("not a snapshot of version {}", Snapshot::VERSION)]
    Version,
    /// Damaged.
    #[error("a damaged snapshot: {0}")]
    Damaged(#[from] postcard::Error),
    /// Whole, but no prediction could be made with it.
    #[error("a snapshot that does not hang together")]
    Shape,
}

/// How long a run will take on a warm node of speed 1, and whether it will fail.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// In seconds, at `SHARES`.
    pub seconds: [f32; SHARES.len()],
    /// On average, in seconds: what it costs to let it go first.
    pub mean_s: f32,
    /// The chance that it fails.
    pub failure: f32,
}

impl Prediction {
    /// What half of such runs stay below, in seconds.
    #[must_use]
    pub fn median_s(&self) -> f32 {
        self.seconds[MEDIAN]
    }

    /// What nine of ten stay below.
    #[must_use]
    pub fn p90_s(&self) -> f32 {
        self.seconds[4]
    }
}

impl Snapshot {
    /// The form that this code writes.
    pub const VERSION: u16 = 2;

    /// Learns from runs, in the order in which they ended.
    ///
    /// # Errors
    /// There are too few of them, or the learner fails.
    pub fn train(runs: &[Finished], now: Duration) -> Result<Self, TrainError> {
        if runs.len() < RUNS_MIN {
            return Err(TrainError::TooFew { runs: runs.len() });
        }
        let (rows, history) = Rows::of(runs);
        let (learned, held_out) = rows.split();
        let time = Forest::grow(&learned.features, &learned.residuals, TIME)?;
        let misses: Vec<f64> = learned.misses(&time, 1.0).map(f64::abs).collect();
        let spread = Forest::grow(&learned.features, &misses, SPREAD)?;
        let failure = if rows.failed.iter().any(|failed| *failed > 0.0) {
            Some(Forest::grow(&rows.features, &rows.failed, FAILURE)?)
        } else {
            None
        };
        let (trust, error) = held_out.trust(&time);
        let mut relative: Vec<f64> = held_out
            .misses(&time, trust)
            .zip(&held_out.features)
            .map(|(miss, row)| miss / spread_of(&spread, row))
            .collect();
        relative.sort_by(f64::total_cmp);
        let snapshot = Self {
            v: Self::VERSION,
            trained_at: now,
            runs: runs.len() as u64,
            error,
            error_history: mean_size(&held_out.residuals),
            features: u32::try_from(FEATURES).unwrap_or(0),
            trust,
            time,
            spread,
            failure,
            deviations: SHARES.map(|share| at(&relative, share)),
            history,
        };
        Ok(snapshot)
    }

    /// Of nodes that have left nothing is kept, though their runs were learned from.
    #[must_use]
    pub fn with_nodes(mut self, is_there: impl Fn(NodeId) -> bool) -> Self {
        self.history.keep_nodes(is_there);
        self
    }

    /// Whether a node is known in it.
    #[must_use]
    pub fn knows_node(&self, node: NodeId) -> bool {
        self.history.knows_node(node)
    }

    /// What a run will take on a node of each class, by the history that the caller keeps up to date.
    #[must_use]
    pub fn predict(
        &self,
        history: &History,
        version: VersionId,
        input: ByteSize,
        lane: Lane,
    ) -> [Prediction; NodeClass::COUNT] {
        let (rows, base) = of_classes(history, version, input, lane);
        let known = history.knows(version).then(|| history.version(version));
        rows.map(|row| self.predict_row(&row, base, known))
    }

    #[allow(clippy::cast_possible_truncation, reason = "six digits are enough")]
    fn predict_row(&self, row: &Features, base: f64, known: Option<&VersionHistory>) -> Prediction {
        let middle = base + self.trust * f64::from(self.time.predict(row));
        let spread = spread_of(&self.spread, row);
        let seconds = self.deviations.map(|deviation| (middle + spread * f64::from(deviation)).exp() as f32);
        let failure = self.failure.as_ref().map_or(0.0, |forest| forest.predict(row).clamp(0.0, 1.0));
        let by_model: f64 = seconds.iter().zip(WEIGHTS).map(|(seconds, weight)| f64::from(*seconds) * weight).sum();
        // The tail that decides a mean is in the version's own history, once that is long enough.
        let mean = known.and_then(|known| Some((known, known.mean_s()?))).map_or(by_model, |(known, mean_s)| {
            let by_history = (mean_s / known.median_s() * f64::from(seconds[MEDIAN])).ln();
            let trust = known.runs() / (known.runs() + TRUSTED_RUNS);
            (trust * by_history + (1.0 - trust) * by_model.ln()).exp()
        });
        Prediction { seconds, mean_s: mean as f32, failure }
    }

    /// As stored.
    ///
    /// # Errors
    /// Never for a snapshot that was trained or decoded.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_extend(self, MAGIC.to_vec())
    }

    /// From what was stored. Nothing in it is trusted: a walk through its trees always ends.
    ///
    /// # Errors
    /// It is of another version, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(DecodeError::Version)?;
        let (version, _) = postcard::take_from_bytes::<u16>(rest)?;
        if version != Self::VERSION {
            return Err(DecodeError::Version);
        }
        let snapshot: Self = postcard::from_bytes(rest)?;
        let forests = [Some(&snapshot.time), Some(&snapshot.spread), snapshot.failure.as_ref()];
        let finite = snapshot.trust.is_finite() && snapshot.deviations.iter().all(|deviation| deviation.is_finite());
        let sound = finite && forests.into_iter().flatten().all(Forest::is_sound);
        if sound && snapshot.features as usize == FEATURES { Ok(snapshot) } else { Err(DecodeError::Shape) }
    }
}

/// What is learned from.
#[derive(Debug, Default)]
struct Rows {
    features: Vec<Features>,
    /// The logarithm of time over the version's median.
    residuals: Vec<f64>,
    failed: Vec<f64>,
}

impl Rows {
    /// Rows as they would have been at the moment of each run, from what was known then.
    fn of(runs: &[Finished]) -> (Self, History) {
        let mut totals = std::collections::HashMap::<VersionId, usize>::new();
        for run in runs {
            *totals.entry(run.version).or_default() += 1;
        }
        let per_version = (ROWS_MAX / totals.len().max(1)).clamp(1, ROWS_PER_VERSION);
        let mut nth = std::collections::HashMap::<VersionId, usize>::new();
        let mut history = History::default();
        let mut rows = Self::default();
        for run in runs {
            let nth = nth.entry(run.version).or_default();
            let every = totals[&run.version].div_ceil(per_version);
            // The first runs too: the model must know what it is to know little.
            if (*nth).is_multiple_of(every) || *nth < 4 {
                rows.add(run, &history);
            }
            *nth += 1;
            history.observe(run);
        }
        (rows, history)
    }

    fn add(&mut self, run: &Finished, history: &History) {
        let speed = history.speed(run.node);
        let (row, base) = features(history, run.version, run.input, run.lane, speed.class());
        let wall_s = run.wall.as_secs_f64() * speed.factor();
        let warm_s = (wall_s - history.start_s(run.lane, run.warmth)).max(wall_s * 0.1);
        self.features.push(row);
        self.residuals.push(if run.failed { f64::NAN } else { (warm_s.max(1e-6).ln() - base).clamp(-8.0, 8.0) });
        self.failed.push(f64::from(u8::from(run.failed)));
    }

    /// The rows of runs that did not fail: most to learn from, some to measure with.
    fn split(&self) -> (Self, Self) {
        let (mut learned, mut held_out) = (Self::default(), Self::default());
        let good = self.residuals.iter().enumerate().filter(|(_, residual)| residual.is_finite());
        for (nth, (place, residual)) in good.enumerate() {
            let part = if nth % HELD_OUT == 0 { &mut held_out } else { &mut learned };
            part.features.push(self.features[place]);
            part.residuals.push(*residual);
        }
        (learned, held_out)
    }

    fn misses(&self, time: &Forest, trust: f64) -> impl Iterator<Item = f64> {
        self.features
            .iter()
            .zip(&self.residuals)
            .map(move |(row, residual)| residual - trust * f64::from(time.predict(row)))
    }

    /// How far to follow the forest, and the mean error then: a forest answers with means, which outliers draw away.
    fn trust(&self, time: &Forest) -> (f64, f64) {
        let error = |trust: f64| mean_size(&self.misses(time, trust).collect::<Vec<f64>>());
        let tried = TRUSTS.map(|trust| (trust, error(trust)));
        tried.into_iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0.0, 0.0))
    }
}

fn spread_of(spread: &Forest, row: &Features) -> f64 {
    f64::from(spread.predict(row)).max(SPREAD_MIN)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list; six digits are enough")]
fn at(sorted: &[f64], share: f64) -> f32 {
    let place = (count(sorted.len().saturating_sub(1)) * share).round() as usize;
    sorted.get(place).map_or(0.0, |value| *value as f32)
}

fn mean_size(misses: &[f64]) -> f64 {
    misses.iter().map(|miss| miss.abs()).sum::<f64>() / count(misses.len().max(1))
}

#[allow(clippy::cast_precision_loss, reason = "counts of rows")]
fn count(rows: usize) -> f64 {
    rows as f64
}
