//! What the learned policy goes by at one moment: read-only, so that all placements of a process share it without a
//! lock. What a caller's placements compute anew and again is in its own `Memo`.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::time::Duration;

use protocol::placement::{LaneReason, Placement, Refusal, Refused, Warmth};
use protocol::{ByteSize, Lane, NodeId, VersionId};
use rand::RngCore;

use super::simple::warm_first;
use super::tuning::Tuning;
use super::{jitter_of, rank_by, rank_in};
use crate::filter::{SILENT_AFTER, refuse};
use crate::history::{History, IdHasher, NodeClass, NodeSpeed};
use crate::lane::lane_of;
use crate::snapshot::Prediction;
use crate::{NodeView, RunRequest, Snapshot};

/// A run that could be in either lane is in the wasm lane unless a VM is predicted to take at most this part: a guess is
/// not worth a machine.
const VM_FASTER: f32 = 0.5;

/// A VM's start costs at least this, whatever few runs say.
const VM_COLD_MIN_S: f32 = 0.2;

/// So many predictions are kept.
const CACHED_MAX: usize = 1 << 16;

/// Whether the model is gone by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Standing {
    /// There is none yet.
    #[default]
    Missing,
    /// It is.
    Trusted,
    /// It is too old.
    Old,
    /// It predicts far worse than it did in training.
    Wrong,
}

/// A model, whether it is trusted, and the history that predictions start from. A clone is cheap.
#[derive(Debug, Clone, Default)]
pub struct Knowledge {
    pub(super) tuning: Tuning,
    pub(super) snapshot: Option<Arc<Snapshot>>,
    pub(super) standing: Standing,
    pub(super) history: History,
    /// Longer runs are long ones.
    pub(super) long_s: f64,
    /// Counts what was learned.
    pub(super) epoch: u64,
}

/// What was looked up and predicted before. Each thread that places runs has its own.
#[derive(Debug, Default)]
pub struct Memo {
    /// By which model predictions are.
    of: Option<(Duration, u64)>,
    cached: HashMap<Key, Cached, BuildHasherDefault<IdHasher>>,
    paces: Paces,
}

impl Memo {
    /// As if something new had been learned of every version.
    pub fn forget_predictions(&mut self) {
        self.cached.clear();
    }
}

/// Of each node, in the order of the nodes: a placement looks at all of them, and each look into a map costs.
#[derive(Debug, Default)]
struct Paces {
    epoch: u64,
    list: Vec<(NodeId, NodeSpeed)>,
}

impl Paces {
    /// Those of these nodes, by what is known now.
    fn of(&mut self, knowledge: &Knowledge, nodes: &[NodeView]) -> &[(NodeId, NodeSpeed)] {
        if self.epoch != knowledge.epoch {
            self.list.clear();
            self.epoch = knowledge.epoch;
        }
        self.list.truncate(nodes.len());
        let known = |node: &NodeView| (node.record.node, knowledge.history.speed(node.record.node));
        for (pace, node) in self.list.iter_mut().zip(nodes) {
            if pace.0 != node.record.node {
                *pace = known(node);
            }
        }
        self.list.extend(nodes.iter().skip(self.list.len()).map(known));
        &self.list
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key(VersionId, u8, Lane);

#[derive(Debug, Clone, Copy)]
struct Cached {
    by_class: [Prediction; NodeClass::COUNT],
    /// How many runs history knew: with a tenth more, the prediction is made anew.
    runs: f64,
}

impl Knowledge {
    /// Whether the model is gone by.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// The model that is gone by; none while there is a fallback.
    #[must_use]
    pub fn model(&self) -> Option<&Arc<Snapshot>> {
        self.snapshot.as_ref().filter(|_| self.standing == Standing::Trusted)
    }

    /// What is remembered.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What a run will take on a node of each class; none while there is no model that is trusted.
    pub fn predict(
        &self,
        memo: &mut Memo,
        version: VersionId,
        input: ByteSize,
        lane: Lane,
    ) -> Option<[Prediction; NodeClass::COUNT]> {
        let snapshot = self.model()?;
        let key = Key(version, input_key(input), lane);
        let runs = if self.history.knows(version) { self.history.version(version).runs() } else { 0.0 };
        let of = Some((snapshot.trained_at, snapshot.runs));
        if memo.of != of || memo.cached.len() >= CACHED_MAX {
            memo.cached.clear();
            memo.of = of;
        }
        if let Some(cached) = memo.cached.get(&key)
            && runs <= cached.runs * 1.1 + 2.0
        {
            return Some(cached.by_class);
        }
        let by_class = snapshot.predict(&self.history, version, input, lane);
        memo.cached.insert(key, Cached { by_class, runs });
        Some(by_class)
    }

    /// The best nodes for this run, by the model where it is trusted; else warm-first with the least work left.
    #[allow(clippy::cast_possible_truncation, reason = "six digits are enough")]
    pub fn rank(&self, memo: &mut Memo, request: &RunRequest, nodes: &[NodeView], rng: &mut dyn RngCore) -> Placement {
        let (lane, reason) = lane_of(request);
        let Some(by_class) = self.predict(memo, request.version, request.input, lane) else {
            return fall_back(request, nodes, rng);
        };
        // Where the rule leaves it open, and its jobs with other limits have shown what VMs make of it.
        let in_vm = match reason {
            LaneReason::Wasm if self.history.knows_in_vm(request.version) => {
                self.predict(memo, request.version, request.input, Lane::Vm)
            }
            _ => None,
        };
        let usual = by_class[usize::from(NodeClass::of(1.0).number())];
        let (length_s, mean_s) = (usual.median_s().max(1e-4), usual.mean_s);
        if self.holds(request, f64::from(mean_s), nodes) {
            let refused = nodes.iter().map(|node| Refused::of(node.record.node, Refusal::KeptForShorter));
            return Placement { ranked: Vec::new(), refused: refused.collect(), policy: "learned".into() };
        }
        let start_s = |on: Lane, warmth: Warmth| {
            let start_s = self.history.start_s(on, warmth) as f32;
            if on == lane { start_s } else { start_s.max(VM_COLD_MIN_S) }
        };
        let price = self.tuning.price * mean_s / self.long_s.max(1e-3) as f32;
        let (cold_more, near_equal) = (self.tuning.cold, self.tuning.near_equal);
        let of_class = |on: Lane, speed: &NodeSpeed| {
            let by_class = if on == lane { &by_class } else { in_vm.as_ref().unwrap_or(&by_class) };
            &by_class[usize::from(speed.class().number())]
        };
        let takes_s = |on: Lane, speed: &NodeSpeed, warmth: Warmth, pressure: f32| {
            // More runs than cores share them.
            (of_class(on, speed).median_s() + start_s(on, warmth)) / speed.factor() as f32 * pressure.max(1.0)
        };
        // What the version does everywhere, and what this node does to all.
        let fails = |on: Lane, speed: &NodeSpeed| (of_class(on, speed).failure + speed.failures() as f32).min(1.0);
        // What a node has of the artifact is of the lane that the rule names.
        let warmth_in = |on: Lane, warmth: Warmth| if on == lane { warmth } else { Warmth::Cold };
        let lane_on = |node: &NodeView| {
            let has_vm = || node.report.as_ref().is_some_and(|report| report.lanes.contains(&Lane::Vm));
            if in_vm.is_some() && has_vm() {
                let speed = self.history.speed(node.record.node);
                let warmth = node.warmth(&request.artifact);
                if takes_s(Lane::Vm, &speed, Warmth::Cold, 1.0) < VM_FASTER * takes_s(lane, &speed, warmth, 1.0) {
                    return (Lane::Vm, LaneReason::Faster);
                }
            }
            (lane, reason)
        };
        let paces = memo.paces.of(self, nodes);
        let mut placement =
            rank_in("learned", request, nodes, rng, lane_on, |(place, node), on, pressure, warmth, rng| {
                let speed = paces.get(place).map_or_else(NodeSpeed::default, |(_, speed)| *speed);
                let warmth = warmth_in(on, warmth);
                let there_s = takes_s(on, &speed, warmth, pressure) + node.distance.get().as_secs_f32();
                // As a slowdown; then what it costs others that this core is taken, and that it may have to be done again.
                let slowdown = there_s / length_s + if warmth == Warmth::Warm { 0.0 } else { cold_more };
                let others = price * speed.factor() as f32;
                (slowdown + others) * (1.0 + fails(on, &speed)) * jitter_of(near_equal, rng)
            });
        for candidate in &mut placement.ranked {
            let speed = self.history.speed(candidate.node);
            candidate.warmth = warmth_in(candidate.lane, candidate.warmth);
            candidate.predicted_s = Some(takes_s(candidate.lane, &speed, candidate.warmth, candidate.pressure));
            candidate.predicted_failure = Some(fails(candidate.lane, &speed));
        }
        let warmest = placement.ranked.iter().map(|candidate| candidate.warmth).min().unwrap_or(Warmth::Cold);
        if warmest != Warmth::Warm
            && request.waited < request.wait_max
            && request.waited.as_secs_f64()
                < self.warm_wait_s(f64::from(length_s), f64::from(start_s(lane, warmest)), nodes)
        {
            let warm_soon = |node: &NodeView| {
                node.warmth(&request.artifact) == Warmth::Warm
                    && refuse(request, lane, node).is_some_and(Refusal::passes)
            };
            if nodes.iter().any(warm_soon) {
                let cold = placement.ranked.drain(..);
                placement.refused.extend(cold.map(|it| Refused::of(it.node, Refusal::WarmElsewhere)));
            }
        }
        placement
    }

    /// How long a run that waits is willing to be overtaken by ones that came later: nothing starves, and short runs go
    /// first.
    pub fn patience(&self, memo: &mut Memo, request: &RunRequest) -> Duration {
        let seconds = self.tuning.patience * self.mean_s(memo, request).sqrt();
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }

    /// The length that waiting runs are ordered by, in seconds: the mean, for it is the whole run that others wait for.
    fn mean_s(&self, memo: &mut Memo, request: &RunRequest) -> f64 {
        let (lane, _) = lane_of(request);
        match self.predict(memo, request.version, request.input, lane) {
            Some(by_class) => f64::from(by_class[usize::from(NodeClass::of(1.0).number())].mean_s),
            None => self.history.version(request.version).mean_s().unwrap_or(0.0),
        }
    }

    /// From which length on a run is a long one, by what is remembered now.
    pub(super) fn measure_long(&mut self) {
        self.long_s = self.history.all().quantile_s(self.tuning.long_share).unwrap_or(f64::MAX);
    }

    /// Whether a long run should leave the last free cores to shorter ones.
    fn holds(&self, request: &RunRequest, mean_s: f64, nodes: &[NodeView]) -> bool {
        let waited_s = request.waited.as_secs_f64();
        if mean_s <= self.long_s || waited_s >= mean_s * self.tuning.hold || request.waited >= request.wait_max {
            return false;
        }
        free_share(nodes) <= self.tuning.reserve
    }

    /// How long a run waits for a warm node. While nearly all cores are busy, longer: the one that it leaves is taken
    /// by the next run.
    fn warm_wait_s(&self, length_s: f64, start_s: f64, nodes: &[NodeView]) -> f64 {
        let Tuning { warm_wait, warm_wait_least, warm_wait_most, warm_wait_full, full, .. } = self.tuning;
        let wait_s = (start_s * warm_wait).min(length_s * warm_wait_most);
        let times = if free_share(nodes) <= full { warm_wait_full } else { 1.0 };
        (wait_s * times).max(length_s * warm_wait_least)
    }
}

fn fall_back(request: &RunRequest, nodes: &[NodeView], rng: &mut dyn RngCore) -> Placement {
    rank_by("fallback", request, nodes, rng, |_, pressure, warmth, rng| warm_first(pressure, warmth, rng))
}

/// The share of cores that are free, of nodes that take runs. A node may have more slots than cores.
fn free_share(nodes: &[NodeView]) -> f64 {
    let (mut free, mut all) = (0_u32, 0_u32);
    for node in nodes.iter().filter(|node| node.age < SILENT_AFTER) {
        if let Some(report) = node.report.as_ref().filter(|report| report.takes_runs()) {
            let cores = report.slots.min(report.cores.max(1));
            all = all.saturating_add(cores);
            free = free.saturating_add(cores.saturating_sub(node.running()));
        }
    }
    f64::from(free) / f64::from(all.max(1))
}

/// Inputs of about the same size share a prediction: powers of two.
fn input_key(input: ByteSize) -> u8 {
    u8::try_from(u64::BITS - input.0.leading_zeros()).unwrap_or(u8::MAX)
}
