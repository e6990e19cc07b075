//! The policy that learns: predicted times order the runs that wait and choose their nodes.
//!
//! ```text
//!             adopt                     error rises, or too old
//! (no model) -------> learned ----------------------------------> fallback
//!     |                  ^                                           |
//!     |                  +------------- a new model -----------------+
//!     +--> fallback: warm-first, the least work left
//! ```

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::time::Duration;

use protocol::placement::{Placement, Refusal, Refused};
use protocol::{ByteSize, Lane, VersionId};
use rand::RngCore;

use super::simple::warm_first;
use super::{Binding, Policy, jitter_of, rank_by};
use crate::filter::{SILENT_AFTER, refuse};
use crate::history::{History, IdHasher, NodeClass, NodeSpeed};
use crate::lane::lane_of;
use crate::snapshot::Prediction;
use crate::{Finished, NodeView, RunRequest, Snapshot};

/// So many predictions are kept.
const CACHED_MAX: usize = 1 << 16;
/// Live errors move by this part.
const ERROR_STEP: f64 = 0.01;
/// So many runs before a live error counts.
const ERROR_RUNS_MIN: u32 = 200;

/// What the policy weighs with.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuning {
    /// Ageing: a run of a second may be overtaken by an instant one that comes within so many seconds after it, longer
    /// ones by the square root of their length more.
    pub patience: f64,
    /// Above this share of all runs, a run is a long one.
    pub long_share: f64,
    /// This share of all cores is kept free of long runs.
    pub reserve: f64,
    /// A long run is held back for at most this part of its length.
    pub hold: f64,
    /// Where all nodes that are warm for a run are full, it waits for one: so many times what a cold start takes,
    pub warm_wait: f64,
    /// at least this part of its length,
    pub warm_wait_least: f64,
    /// and at most this part of it, lest a short run wait for longer than it would be worth.
    pub warm_wait_most: f64,
    /// It waits so many times longer while no more than this share of cores is free:
    pub warm_wait_full: f64,
    /// see `warm_wait_full`.
    pub full: f64,
    /// What a cold start costs others, as a slowdown: it pushes out what is warm.
    pub cold: f32,
    /// What a long run costs on a fast core.
    pub price: f32,
    /// Candidates whose scores are within this part are near-equal.
    pub near_equal: f32,
    /// A model older than this is not used.
    pub age_max: Duration,
    /// Nor is one whose live error is so many times what it was in training, and `error_more`.
    pub error_times: f64,
    /// See `error_times`.
    pub error_more: f64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            patience: 600.0,
            long_share: 0.98,
            reserve: 0.15,
            hold: 1.0,
            warm_wait: 1.0,
            warm_wait_least: 0.1,
            warm_wait_most: 0.5,
            warm_wait_full: 4.0,
            full: 0.05,
            cold: 2.0,
            price: 0.5,
            near_equal: 0.1,
            age_max: Duration::from_hours(24),
            error_times: 2.0,
            error_more: 0.3,
        }
    }
}

/// Warm-first and shortest-first by what a model predicts; without one, by what history says.
#[derive(Debug, Default)]
pub struct Learned {
    tuning: Tuning,
    snapshot: Option<Arc<Snapshot>>,
    history: History,
    cached: HashMap<Key, Cached, BuildHasherDefault<IdHasher>>,
    now: Duration,
    error: f64,
    error_runs: u32,
    long_s: f64,
    observed: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key(VersionId, u8);

#[derive(Debug, Clone, Copy)]
struct Cached {
    by_class: [Prediction; NodeClass::COUNT],
    /// How many runs history knew: with a tenth more, the prediction is made anew.
    runs: f64,
}

impl Learned {
    /// One that weighs so.
    #[must_use]
    pub fn new(tuning: Tuning) -> Self {
        Self { tuning, ..Self::default() }
    }

    /// The model that it uses now; none while it falls back.
    #[must_use]
    pub fn model(&self) -> Option<&Arc<Snapshot>> {
        self.snapshot.as_ref().filter(|snapshot| {
            let fresh = self.now.saturating_sub(snapshot.trained_at) <= self.tuning.age_max;
            let limit = snapshot.error * self.tuning.error_times + self.tuning.error_more;
            fresh && (self.error_runs < ERROR_RUNS_MIN || self.error <= limit)
        })
    }

    /// The mean live error of predictions (of the logarithm of time).
    #[must_use]
    pub fn live_error(&self) -> f64 {
        self.error
    }

    /// What is remembered.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What a run will take on a node of each class; none while there is no model.
    pub fn predict(
        &mut self,
        version: VersionId,
        input: ByteSize,
        lane: Lane,
    ) -> Option<[Prediction; NodeClass::COUNT]> {
        let snapshot = Arc::clone(self.model()?);
        let key = Key(version, input_key(input));
        let runs = if self.history.knows(version) { self.history.version(version).runs() } else { 0.0 };
        if let Some(cached) = self.cached.get(&key)
            && runs <= cached.runs * 1.1 + 2.0
        {
            return Some(cached.by_class);
        }
        if self.cached.len() >= CACHED_MAX {
            self.cached.clear();
        }
        let by_class = snapshot.predict(&self.history, version, input, lane);
        self.cached.insert(key, Cached { by_class, runs });
        Some(by_class)
    }

    /// The length that waiting runs are ordered by, in seconds: the mean, for it is the whole run that others wait for.
    fn mean_s(&mut self, request: &RunRequest) -> f64 {
        let (lane, _) = lane_of(request);
        match self.predict(request.version, request.input, lane) {
            Some(by_class) => f64::from(by_class[usize::from(NodeClass::of(1.0).number())].mean_s),
            None => self.history.version(request.version).mean_s().unwrap_or(0.0),
        }
    }

    /// Whether a long run should leave the last free cores to shorter ones.
    fn holds(&self, request: &RunRequest, mean_s: f64, nodes: &[NodeView]) -> bool {
        if mean_s <= self.long_s || request.waited.as_secs_f64() >= mean_s * self.tuning.hold {
            return false;
        }
        free_share(nodes) <= self.tuning.reserve
    }

    /// How long a run waits for a warm node. While nearly all cores are busy, longer: the one that it leaves is taken
    /// by the next run.
    fn warm_wait_s(&self, length_s: f64, cold_s: f64, nodes: &[NodeView]) -> f64 {
        let Tuning { warm_wait, warm_wait_least, warm_wait_most, warm_wait_full, full, .. } = self.tuning;
        let wait_s = (cold_s * warm_wait).min(length_s * warm_wait_most);
        let times = if free_share(nodes) <= full { warm_wait_full } else { 1.0 };
        (wait_s * times).max(length_s * warm_wait_least)
    }

    fn fall_back(request: &RunRequest, nodes: &[NodeView], rng: &mut dyn RngCore) -> Placement {
        rank_by("fallback", request, nodes, rng, |_, pressure, warm, rng| warm_first(pressure, warm, rng))
    }
}

impl Policy for Learned {
    fn name(&self) -> &'static str {
        "learned"
    }

    #[allow(clippy::cast_possible_truncation, reason = "six digits are enough")]
    fn rank(&mut self, request: &RunRequest, nodes: &[NodeView], rng: &mut dyn RngCore) -> Placement {
        let (lane, _) = lane_of(request);
        let Some(by_class) = self.predict(request.version, request.input, lane) else {
            return Self::fall_back(request, nodes, rng);
        };
        let usual = by_class[usize::from(NodeClass::of(1.0).number())];
        let (length_s, mean_s) = (usual.median_s().max(1e-4), usual.mean_s);
        if self.holds(request, f64::from(mean_s), nodes) {
            let refused = nodes.iter().map(|node| Refused { node: node.record.node, why: Refusal::KeptForShorter });
            return Placement { ranked: Vec::new(), refused: refused.collect(), policy: self.name().into() };
        }
        let cold_s = self.history.cold_s(lane) as f32;
        let price = self.tuning.price * mean_s / self.long_s.max(1e-3) as f32;
        let (cold_more, near_equal) = (self.tuning.cold, self.tuning.near_equal);
        let history = &self.history;
        let takes_s = |speed: &NodeSpeed, warm: bool| {
            let work_s = by_class[usize::from(speed.class().number())].median_s();
            (work_s + if warm { 0.0 } else { cold_s }) / speed.factor() as f32
        };
        let mut placement = rank_by("learned", request, nodes, rng, |node, _, warm, rng| {
            let speed = history.speed(node.record.node);
            let there_s = takes_s(&speed, warm) + node.distance.as_secs_f32();
            // As a slowdown; then what it costs others that this core is taken, and that it may fail there.
            let slowdown = there_s / length_s + if warm { 0.0 } else { cold_more };
            let others = price * speed.factor() as f32;
            (slowdown + others) * (1.0 + speed.failures() as f32) * jitter_of(near_equal, rng)
        });
        for candidate in &mut placement.ranked {
            candidate.predicted_s = Some(takes_s(&history.speed(candidate.node), candidate.warm));
        }
        if placement.ranked.iter().all(|candidate| !candidate.warm)
            && request.waited.as_secs_f64() < self.warm_wait_s(f64::from(length_s), f64::from(cold_s), nodes)
        {
            let warm_soon = |node: &NodeView| {
                node.warm.contains(&request.artifact) && refuse(request, lane, node).is_some_and(Refusal::passes)
            };
            if nodes.iter().any(warm_soon) {
                let cold = placement.ranked.drain(..);
                placement.refused.extend(cold.map(|it| Refused { node: it.node, why: Refusal::WarmElsewhere }));
            }
        }
        placement
    }

    fn binding(&self) -> Binding {
        Binding::Late
    }

    /// By the moment until which the run is willing to be overtaken: nothing starves, and short runs go first.
    fn order(&mut self, request: &RunRequest, since: Duration) -> f64 {
        since.as_secs_f64() + self.tuning.patience * self.mean_s(request).sqrt()
    }

    fn observe(&mut self, finished: &Finished) {
        if !finished.failed && finished.warm && self.snapshot.is_some() {
            let speed = self.history.speed(finished.node);
            if let Some(by_class) = self.predict(finished.version, finished.input, finished.lane) {
                let predicted_s = f64::from(by_class[usize::from(speed.class().number())].median_s());
                let took_s = (finished.wall.as_secs_f64() * speed.factor()).max(1e-6);
                let miss = (took_s.ln() - predicted_s.ln()).abs().min(8.0);
                self.error_runs = self.error_runs.saturating_add(1);
                let step = (1.0 / f64::from(self.error_runs)).max(ERROR_STEP);
                self.error += step * (miss - self.error);
            }
        }
        self.history.observe(finished);
        if self.observed.is_multiple_of(256) {
            self.long_s = self.history.all().quantile_s(self.tuning.long_share).unwrap_or(f64::MAX);
        }
        self.observed = self.observed.wrapping_add(1);
    }

    fn learns(&self) -> bool {
        true
    }

    fn adopt(&mut self, snapshot: &Arc<Snapshot>) {
        self.history = snapshot.history.clone();
        self.long_s = self.history.all().quantile_s(self.tuning.long_share).unwrap_or(f64::MAX);
        self.snapshot = Some(Arc::clone(snapshot));
        self.cached.clear();
        (self.error, self.error_runs) = (0.0, 0);
    }

    fn pass(&mut self, now: Duration) {
        self.now = now;
    }
}

/// The share of slots that are free, of nodes that take runs.
fn free_share(nodes: &[NodeView]) -> f64 {
    let (mut free, mut all) = (0_u32, 0_u32);
    for node in nodes.iter().filter(|node| node.age < SILENT_AFTER) {
        if let Some(report) = node.report.as_ref().filter(|report| !report.draining) {
            all = all.saturating_add(report.slots);
            free = free.saturating_add(report.slots.saturating_sub(node.running()));
        }
    }
    f64::from(free) / f64::from(all.max(1))
}

/// Inputs of about the same size share a prediction: powers of two.
fn input_key(input: ByteSize) -> u8 {
    u8::try_from(u64::BITS - input.0.leading_zeros()).unwrap_or(u8::MAX)
}
