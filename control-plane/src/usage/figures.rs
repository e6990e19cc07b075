//! The summed figures: what a settled run adds to each, and how they stand in a row and in a report.

use protocol::api::UsageSums;
use protocol::placement::Warmth;
use protocol::receipt::Outcome;
use protocol::{ByteSize, Total};

use super::sketch::Sketch;
use crate::db::entities::{runs, usage_sums};

/// Makes what all figures have in common of one list of their names, which are also the table's columns.
macro_rules! figures {
    ($($name:ident)*) => {
        /// How many figures there are.
        pub(crate) const FIGURES: usize = [$(stringify!($name)),*].len();

        /// Their names, in the order of all arrays of figures.
        pub(crate) const NAMES: [&str; FIGURES] = [$(stringify!($name)),*];

        /// What a settled row adds to its minute.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub(crate) struct Share { $(pub $name: Total,)* }

        impl Share {
            /// The figures, in the order of their names.
            pub(crate) fn figures(&self) -> [Total; FIGURES] {
                [$(self.$name),*]
            }
        }

        /// A row's figures.
        pub(crate) fn read(row: &usage_sums::Model) -> [i64; FIGURES] {
            [$(row.$name),*]
        }

        /// Puts them into a row.
        pub(crate) fn put(row: &mut usage_sums::Model, figures: [i64; FIGURES]) {
            [$(row.$name),*] = figures;
        }
    };
}

figures! {
    runs succeeded failed timed_out cancelled platform_failed flagged warm cached cold wall_us cpu_us memory_kib_ms
    reserved_cpu_us reserved_memory_kib_ms bytes_in bytes_out egress_bytes
}

impl Share {
    /// A row's share; nothing before it is settled.
    pub(crate) fn of(row: &runs::Model) -> Self {
        if !row.settled {
            return Self::default();
        }
        let is = |outcome| Total(i64::from(*row.outcome == outcome));
        let warmth = row.warm.map(|warm| Warmth::of(warm, row.cached.unwrap_or(false)));
        let had = |wanted| Total(i64::from(warmth == Some(wanted)));
        let usage = row.billed.0;
        let over_wall = |size: ByteSize| Total::from((size.0 / 1024).saturating_mul(usage.wall_us / 1000));
        let limits = row.limits.map(|limits| limits.0);
        Self {
            runs: Total(1),
            succeeded: is(Outcome::Succeeded),
            failed: is(Outcome::Failed),
            timed_out: is(Outcome::TimedOut),
            cancelled: is(Outcome::Cancelled),
            platform_failed: is(Outcome::PlatformFailed),
            flagged: Total(i64::from(row.flag.is_some())),
            warm: had(Warmth::Warm),
            cached: had(Warmth::Cached),
            cold: had(Warmth::Cold),
            wall_us: usage.wall_us.into(),
            cpu_us: usage.cpu_us.into(),
            memory_kib_ms: over_wall(usage.memory_peak),
            reserved_cpu_us: limits
                .map_or(Total(0), |limits| usage.wall_us.saturating_mul(u64::from(limits.cpus)).into()),
            reserved_memory_kib_ms: limits.map_or(Total(0), |limits| over_wall(limits.memory)),
            bytes_in: usage.bytes_in.0.into(),
            bytes_out: usage.bytes_out.0.into(),
            egress_bytes: usage.egress_bytes.0.into(),
        }
    }
}

/// Sums of sums, which stop at their end.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    /// In the order of the names.
    pub(crate) sums: [u64; FIGURES],
    /// How long the runs took.
    pub(crate) latency: Sketch,
}

impl Default for Figures {
    fn default() -> Self {
        Self { sums: [0; FIGURES], latency: Sketch::default() }
    }
}

impl Figures {
    /// Adds others.
    pub(crate) fn add(&mut self, other: &Self) {
        self.sums.iter_mut().zip(other.sums).for_each(|(sum, more)| *sum = sum.saturating_add(more));
        self.latency.add(&other.latency);
    }

    /// How many runs they are of.
    pub(super) const fn runs(&self) -> u64 {
        // The first of the names.
        self.sums[0]
    }

    /// As the API shows them.
    pub(crate) fn view(&self) -> UsageSums {
        let [
            runs,
            succeeded,
            failed,
            timed_out,
            cancelled,
            platform_failed,
            flagged,
            warm,
            cached,
            cold,
            wall_us,
            cpu_us,
            memory_kib_ms,
            reserved_cpu_us,
            reserved_memory_kib_ms,
            bytes_in,
            bytes_out,
            egress_bytes,
        ] = self.sums;
        UsageSums {
            runs,
            succeeded,
            failed,
            timed_out,
            cancelled,
            platform_failed,
            flagged,
            warm,
            cached,
            cold,
            wall_us,
            cpu_us,
            memory_kib_ms,
            reserved_cpu_us,
            reserved_memory_kib_ms,
            bytes_in: ByteSize(bytes_in),
            bytes_out: ByteSize(bytes_out),
            egress_bytes: ByteSize(egress_bytes),
            latency: self.latency.quantiles(),
        }
    }
}
