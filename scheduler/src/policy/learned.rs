//! The policy that learns: predicted times order the runs that wait and choose their nodes.
//!
//! ```text
//!             adopt                     error rises, or too old
//! (no model) -------> learned ----------------------------------> fallback
//!     |                  ^                                           |
//!     |                  +------------- a new model -----------------+
//!     +--> fallback: warm-first, the least work left
//! ```

use std::sync::Arc;
use std::time::Duration;

use protocol::placement::{Placement, Warmth};
use protocol::{ByteSize, Lane, NodeId, VersionId};
use rand::RngCore;

use super::knowledge::{Knowledge, Memo, Standing};
use super::tuning::Tuning;
use super::{Binding, Policy};
use crate::history::NodeClass;
use crate::snapshot::Prediction;
use crate::{Finished, NodeView, RunRequest, Snapshot};

/// Live errors move by this part.
const ERROR_STEP: f64 = 0.01;
/// So many runs before a live error counts.
const ERROR_RUNS_MIN: u32 = 200;

/// Warm-first and shortest-first by what a model predicts; without one, by what history says.
#[derive(Debug, Default)]
pub struct Learned {
    knowledge: Knowledge,
    memo: Memo,
    now: Duration,
    error: f64,
    error_runs: u32,
    observed: u32,
}

impl Learned {
    /// One that weighs so.
    #[must_use]
    pub fn new(tuning: Tuning) -> Self {
        Self { knowledge: Knowledge { tuning, ..Knowledge::default() }, ..Self::default() }
    }

    /// What it goes by now, for placements that are made elsewhere.
    #[must_use]
    pub fn knowledge(&self) -> &Knowledge {
        &self.knowledge
    }

    /// A node has left: what was learned of it goes.
    pub fn forget_node(&mut self, node: NodeId) {
        self.knowledge.history.forget_node(node);
        self.knowledge.epoch = self.knowledge.epoch.wrapping_add(1);
    }

    /// The mean live error of predictions (of the logarithm of time).
    #[must_use]
    pub fn live_error(&self) -> f64 {
        self.error
    }

    /// What a run will take on a node of each class; none while there is no model.
    pub fn predict(
        &mut self,
        version: VersionId,
        input: ByteSize,
        lane: Lane,
    ) -> Option<[Prediction; NodeClass::COUNT]> {
        self.knowledge.predict(&mut self.memo, version, input, lane)
    }

    /// Says anew whether the model is to be trusted.
    fn judge(&mut self) {
        let Some(snapshot) = &self.knowledge.snapshot else { return };
        let tuning = &self.knowledge.tuning;
        let limit = snapshot.error * tuning.error_times + tuning.error_more;
        self.knowledge.standing = if self.error_runs >= ERROR_RUNS_MIN && self.error > limit {
            Standing::Wrong
        } else if self.now.saturating_sub(snapshot.trained_at) > tuning.age_max {
            Standing::Old
        } else {
            Standing::Trusted
        };
    }
}

impl Policy for Learned {
    fn name(&self) -> &'static str {
        "learned"
    }

    fn rank(&mut self, request: &RunRequest, nodes: &[NodeView], rng: &mut dyn RngCore) -> Placement {
        self.knowledge.rank(&mut self.memo, request, nodes, rng)
    }

    fn binding(&self) -> Binding {
        Binding::Late
    }

    /// By the moment until which the run is willing to be overtaken.
    fn order(&mut self, request: &RunRequest, since: Duration) -> f64 {
        (since + self.knowledge.patience(&mut self.memo, request)).as_secs_f64()
    }

    fn observe(&mut self, finished: &Finished) {
        if !finished.failed && finished.warmth == Warmth::Warm && self.knowledge.model().is_some() {
            let speed = self.knowledge.history.speed(finished.node);
            if let Some(by_class) = self.predict(finished.version, finished.input, finished.lane) {
                let predicted_s = f64::from(by_class[usize::from(speed.class().number())].median_s());
                let took_s = (finished.wall.as_secs_f64() * speed.factor()).max(1e-6);
                let miss = (took_s.ln() - predicted_s.ln()).abs().min(8.0);
                self.error_runs = self.error_runs.saturating_add(1);
                let step = (1.0 / f64::from(self.error_runs)).max(ERROR_STEP);
                self.error += step * (miss - self.error);
                self.judge();
            }
        }
        self.knowledge.history.observe(finished);
        self.knowledge.epoch = self.knowledge.epoch.wrapping_add(1);
        if self.observed.is_multiple_of(256) {
            self.knowledge.measure_long();
        }
        self.observed = self.observed.wrapping_add(1);
    }

    fn learns(&self) -> bool {
        true
    }

    fn adopt(&mut self, snapshot: &Arc<Snapshot>) {
        self.knowledge.history = snapshot.history.clone();
        self.knowledge.epoch = self.knowledge.epoch.wrapping_add(1);
        self.knowledge.snapshot = Some(Arc::clone(snapshot));
        self.knowledge.measure_long();
        self.memo = Memo::default();
        (self.error, self.error_runs) = (0.0, 0);
        self.judge();
    }

    fn pass(&mut self, now: Duration) {
        self.now = now;
        self.judge();
    }
}
