//! What arrives: functions, and their runs in the order of time.

use std::time::Duration;

use protocol::{Digest, Lane, VersionId};
use uuid::Uuid;

/// Shorter runs count as this long in a slowdown (the usual bound): nobody waits for less.
pub const RUN_FLOOR: Duration = Duration::from_millis(10);

/// A function that is called.
#[derive(Debug, Clone)]
pub struct FunctionSpec {
    /// What the policies know it by.
    pub version: VersionId,
    /// What warmth goes by.
    pub artifact: Digest,
    /// Where it runs.
    pub lane: Lane,
    /// Memory of an instance, in MiB.
    pub memory_mib: u64,
}

/// One run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When, in microseconds from the start.
    pub at_us: u64,
    /// Which function, by its place.
    pub function: u32,
    /// How long it takes on a warm core of speed 1, in microseconds. Policies never see it before the end.
    pub run_us: u64,
    /// Bytes of input.
    pub input: u64,
}

/// All that arrives.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Where it is from, for the report.
    pub source: String,
    /// The functions.
    pub functions: Vec<FunctionSpec>,
    /// Their runs, in the order of time.
    pub arrivals: Vec<Arrival>,
    /// How long it goes on.
    pub length: Duration,
}

impl FunctionSpec {
    /// The function at `place`.
    #[must_use]
    pub fn new(place: usize, lane: Lane, memory_mib: u64) -> Self {
        let version = VersionId::from_uuid(Uuid::from_u128(place as u128 + 1));
        Self { version, artifact: Digest::of(version.to_string().as_bytes()), lane, memory_mib }
    }
}

impl Workload {
    /// Sorts the runs.
    #[must_use]
    pub(super) fn new(
        source: String,
        functions: Vec<FunctionSpec>,
        mut arrivals: Vec<Arrival>,
        length: Duration,
    ) -> Self {
        arrivals.sort_by_key(|arrival| (arrival.at_us, arrival.function));
        Self { source, functions, arrivals, length }
    }

    /// The first part of it.
    #[must_use]
    pub fn first(mut self, length: Duration) -> Self {
        self.length = self.length.min(length);
        self.arrivals.retain(|arrival| u128::from(arrival.at_us) < length.as_micros());
        self
    }

    /// How many cores of speed 1 it keeps busy on average between two times.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "microseconds of a day fit")]
    pub fn work(&self, from: Duration, to: Duration) -> f64 {
        let between = from.as_micros()..to.as_micros();
        let within = self.arrivals.iter().filter(|arrival| between.contains(&u128::from(arrival.at_us)));
        within.map(|arrival| arrival.run_us as f64 / 1e6).sum::<f64>() / (to.saturating_sub(from)).as_secs_f64()
    }
}
