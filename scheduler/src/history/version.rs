//! What is remembered of one version: how long its runs take (as work on a warm node of speed 1), by input and node.

use std::collections::BTreeMap;

use protocol::{ByteSize, Lane};
use serde::{Deserialize, Serialize};
use sketches_ddsketch::{Config, DDSketch};

use super::speed::NodeClass;

/// Quantiles are right to this part.
const ACCURACY: f64 = 0.05;
const BINS_MAX: u32 = 512;
const SHORTEST_S: f64 = 1e-5;
/// A sketch that has seen so many runs is set aside for a new one, so that the past fades.
const GENERATION: usize = 4096;
/// A new one with fewer is not asked yet.
const GENERATION_MIN: usize = 64;
/// How fast moments follow.
const STEP_MIN: f64 = 0.01;
const FAILURE_STEP: f64 = 0.05;

/// How long a version's runs take.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct VersionHistory {
    all: Fading,
    by_input: BTreeMap<u8, Fading>,
    by_class: BTreeMap<NodeClass, Fading>,
    log: Line,
    last_log: f64,
    ended: f64,
    failures: f64,
    vm_runs: f64,
}

/// Two sketches: one that fills, one that is full.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Fading {
    new: Option<DDSketch>,
    old: Option<DDSketch>,
}

/// A running line through (log input, log work): its slope is what the input explains.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Line {
    runs: f64,
    input: f64,
    work: f64,
    input_variance: f64,
    work_variance: f64,
    both: f64,
}

impl VersionHistory {
    pub(super) fn observe(&mut self, work_s: f64, input: ByteSize, class: NodeClass, lane: Lane) {
        self.vm_runs += if lane == Lane::Vm { 1.0 } else { 0.0 };
        self.all.add(work_s);
        self.by_input.entry(bucket(input)).or_default().add(work_s);
        self.by_class.entry(class).or_default().add(work_s);
        self.last_log = work_s.ln();
        self.log.add(log_of(input), self.last_log);
    }

    /// A run ended, whether it failed or not.
    pub(super) fn ended(&mut self, failed: bool) {
        self.ended += 1.0;
        let step = (1.0 / self.ended).max(FAILURE_STEP);
        self.failures += step * (f64::from(u8::from(failed)) - self.failures);
    }

    /// How many of its runs were in VMs.
    #[must_use]
    pub fn vm_runs(&self) -> f64 {
        self.vm_runs
    }

    /// How many runs are remembered.
    #[must_use]
    pub fn runs(&self) -> f64 {
        self.log.runs
    }

    /// The time that this share of runs stays below, in seconds; nothing before the first run.
    #[must_use]
    pub fn quantile_s(&self, share: f64) -> Option<f64> {
        self.all.quantile(share)
    }

    /// The middle one.
    #[must_use]
    pub fn median_s(&self) -> f64 {
        self.quantile_s(0.5).unwrap_or(1.0)
    }

    /// The mean, in seconds, once there are runs.
    #[must_use]
    pub fn mean_s(&self) -> Option<f64> {
        let sketch = self.all.asked()?;
        #[allow(clippy::cast_precision_loss, reason = "a count of runs")]
        sketch.sum().map(|sum| sum / sketch.count().max(1) as f64)
    }

    /// The middle one of inputs of about this size.
    #[must_use]
    pub fn median_of_input_s(&self, input: ByteSize) -> Option<f64> {
        self.by_input.get(&bucket(input)).filter(|sketch| sketch.count() >= 8)?.quantile(0.5)
    }

    /// The same for nodes of this class.
    #[must_use]
    pub fn median_of_class_s(&self, class: NodeClass) -> Option<f64> {
        self.by_class.get(&class).filter(|sketch| sketch.count() >= 8)?.quantile(0.5)
    }

    /// What a line through inputs and times says, against the median (a logarithm): as far as the input explains it.
    #[must_use]
    pub fn log_by_input(&self, input: ByteSize) -> f64 {
        let line = &self.log;
        if line.runs < 8.0 || line.input_variance < 1e-3 {
            return 0.0;
        }
        let explained = line.both * line.both / (line.input_variance * line.work_variance.max(1e-6));
        let slope = line.both / line.input_variance;
        (explained.min(1.0) * slope * (log_of(input) - line.input)).clamp(-5.0, 5.0)
    }

    /// The mean of the logarithms.
    #[must_use]
    pub fn log_mean(&self) -> f64 {
        self.log.work
    }

    /// How far they deviate.
    #[must_use]
    pub fn log_deviation(&self) -> f64 {
        self.log.work_variance.max(0.0).sqrt()
    }

    /// The last run's.
    #[must_use]
    pub fn last_log(&self) -> f64 {
        self.last_log
    }

    /// The share of recent runs that failed.
    #[must_use]
    pub fn failures(&self) -> f64 {
        self.failures
    }
}

impl std::fmt::Debug for Fading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fading({} runs)", self.count())
    }
}

impl Fading {
    fn add(&mut self, value: f64) {
        let new = self.new.get_or_insert_with(|| DDSketch::new(Config::new(ACCURACY, BINS_MAX, SHORTEST_S)));
        new.add(value);
        if new.count() >= GENERATION {
            self.old = self.new.take();
        }
    }

    fn asked(&self) -> Option<&DDSketch> {
        let new = self.new.as_ref();
        new.filter(|new| new.count() >= GENERATION_MIN).or(self.old.as_ref()).or(new)
    }

    fn count(&self) -> usize {
        self.asked().map_or(0, DDSketch::count)
    }

    fn quantile(&self, share: f64) -> Option<f64> {
        self.asked()?.quantile(share).ok().flatten()
    }
}

impl Line {
    fn add(&mut self, input: f64, work: f64) {
        self.runs += 1.0;
        let step = (1.0 / self.runs).max(STEP_MIN);
        let (by_input, by_work) = (input - self.input, work - self.work);
        self.input += step * by_input;
        self.work += step * by_work;
        self.input_variance = (1.0 - step) * (self.input_variance + step * by_input * by_input);
        self.work_variance = (1.0 - step) * (self.work_variance + step * by_work * by_work);
        self.both = (1.0 - step) * (self.both + step * by_input * by_work);
    }
}

/// Inputs of about the same size: powers of four.
fn bucket(input: ByteSize) -> u8 {
    u8::try_from((u64::BITS - input.0.leading_zeros()) / 2).unwrap_or(u8::MAX)
}

#[allow(clippy::cast_precision_loss, reason = "a logarithm")]
pub(crate) fn log_of(input: ByteSize) -> f64 {
    (input.0 as f64 + 1.0).ln()
}
