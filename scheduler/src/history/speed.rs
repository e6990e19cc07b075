//! How fast a node is, measured by what it did and not by what its lender says.

use serde::{Deserialize, Serialize};

/// One run never moves the estimate by more than this part.
const STEP_MIN: f64 = 0.005;
/// A run of a version that always takes the same says much; one of a version that varies, little.
const DEVIATION_FLOOR: f64 = 0.2;
/// A single run is believed up to this far off (in logarithms).
const SURPRISE_MAX: f64 = 1.0;
/// No machine differs by more.
const FASTER_MAX: f64 = 2.0;
/// How fast failures are forgotten.
const FAILURE_STEP: f64 = 0.01;

/// A node's speed, relative to the nodes that a version usually runs on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NodeSpeed {
    /// The logarithm of the factor.
    faster: f64,
    /// Both are made when a run ends, not for each of a thousand nodes at each placement.
    factor: f64,
    class: NodeClass,
    /// What the runs seen so far weigh.
    weight: f64,
    /// Against what was to be expected of the versions that ran there.
    failures: f64,
}

impl Default for NodeSpeed {
    fn default() -> Self {
        Self { faster: 0.0, factor: 1.0, class: NodeClass::of(1.0), weight: 0.0, failures: 0.0 }
    }
}

impl NodeSpeed {
    /// How much faster than the average.
    #[must_use]
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// Its class.
    #[must_use]
    pub fn class(&self) -> NodeClass {
        self.class
    }

    /// The share of recent runs that failed there and would not have failed elsewhere.
    #[must_use]
    pub fn failures(&self) -> f64 {
        self.failures.max(0.0)
    }

    /// A run was so much faster than usual (a logarithm), where runs usually deviate by `deviation`.
    pub(super) fn observe(&mut self, faster: f64, deviation: f64) {
        let weight = (DEVIATION_FLOOR / deviation.max(DEVIATION_FLOOR)).powi(2);
        self.weight += weight;
        let step = weight * (1.0 / self.weight).clamp(STEP_MIN, 0.5);
        let surprise = (faster - self.faster).clamp(-SURPRISE_MAX, SURPRISE_MAX);
        self.faster = (self.faster + step * surprise).clamp(-FASTER_MAX, FASTER_MAX);
        self.factor = self.faster.exp();
        self.class = NodeClass::of(self.factor);
    }

    /// A run ended there, of a version of which this share fails wherever it runs.
    pub(super) fn ended(&mut self, failed: bool, expected: f64) {
        self.failures += FAILURE_STEP * (f64::from(u8::from(failed)) - expected - self.failures);
    }
}

/// Nodes of about the same speed: predictions are made for a class, not for each node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeClass(u8);

impl NodeClass {
    /// How many there are.
    pub const COUNT: usize = 7;

    /// Classes are steps of the square root of two around the average.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    pub fn of(factor: f64) -> Self {
        let half_octaves = (factor.log2() * 2.0).round();
        Self(if half_octaves.is_finite() { (half_octaves + 3.0).clamp(0.0, 6.0) as u8 } else { 3 })
    }

    /// All of them, from the slowest.
    #[must_use]
    pub fn all() -> [Self; Self::COUNT] {
        [0, 1, 2, 3, 4, 5, 6].map(Self)
    }

    /// Its place among the classes, from the slowest.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }
}
