//! Sums of runs: the figures of the usage report that a header commits to.

use protocol::receipt::{Outcome, Usage};
use protocol::{ByteSize, Limits};
use serde::{Deserialize, Serialize};

use crate::Run;

/// The list of figures, for a macro that makes something of it: how runs ended, and after a semicolon what they used. The
/// sums of usage that the control plane keeps have the same, in this order.
#[macro_export]
macro_rules! totals {
    ($then:ident) => {
        $then! {
            /// Lines: settled runs.
            runs,
            /// Of them: the function answered.
            succeeded,
            /// The function failed.
            failed,
            /// The deadline came first.
            timed_out,
            /// The caller went away.
            cancelled,
            /// The platform failed.
            platform_failed,
            /// Settled with one half missing, or with halves that disagree.
            flagged,
            ;
            /// Wall time, in microseconds.
            wall_us,
            /// CPU time, in microseconds.
            cpu_us,
            /// The most memory that each run held times its wall time, in KiB times milliseconds.
            memory_kib_ms,
            /// The CPUs that each run might use times its wall time, in microseconds.
            reserved_cpu_us,
            /// The memory that each run might use times its wall time, in KiB times milliseconds.
            reserved_memory_kib_ms,
            /// Bytes of the requests' bodies.
            #[serde(with = "digits")]
            bytes_in,
            /// Bytes of the responses' bodies.
            #[serde(with = "digits")]
            bytes_out,
            /// Bytes that the runs' own connections to other hosts carried, both ways.
            #[serde(with = "digits")]
            egress_bytes,
        }
    };
}

macro_rules! define {
    ($($(#[$of_end:meta])* $ended:ident,)* ; $($(#[$of_use:meta])* $used:ident,)*) => {
        /// Sums of runs, by what is billed. They stop at `u64::MAX`. The figures are those of the usage report, by the same
        /// formulas. JSON has bytes as strings of digits, as it does everywhere, and the others as numbers.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Totals {
            $($(#[$of_end])* pub $ended: u64,)*
            $($(#[$of_use])* pub $used: u64,)*
        }

        impl Totals {
            /// Adds others.
            pub fn add(&mut self, more: &Self) {
                $(self.$ended = self.$ended.saturating_add(more.$ended);)*
                $(self.$used = self.$used.saturating_add(more.$used);)*
            }

            /// Takes away what was added before.
            pub fn take(&mut self, less: &Self) {
                $(self.$ended = self.$ended.saturating_sub(less.$ended);)*
                $(self.$used = self.$used.saturating_sub(less.$used);)*
            }
        }
    };
}

totals!(define);

/// The most that a run adds to a figure: sums of the database are signed.
const SHARE_MAX: u64 = i64::MAX.unsigned_abs();

impl Totals {
    /// What one run adds.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        Self::of_billed(run.outcome, run.flag.is_some(), &run.billed, run.limits.as_ref())
    }

    /// What a run adds that ended so, is billed so much and had these limits.
    #[must_use]
    pub fn of_billed(ended: Outcome, flagged: bool, usage: &Usage, limits: Option<&Limits>) -> Self {
        let is = |outcome| u64::from(ended == outcome);
        let over_wall = |size: ByteSize| (size.0 / 1024).saturating_mul(usage.wall_us / 1000);
        let most = |figure: u64| figure.min(SHARE_MAX);
        Self {
            runs: 1,
            succeeded: is(Outcome::Succeeded),
            failed: is(Outcome::Failed),
            timed_out: is(Outcome::TimedOut),
            cancelled: is(Outcome::Cancelled),
            platform_failed: is(Outcome::PlatformFailed),
            flagged: flagged.into(),
            wall_us: most(usage.wall_us),
            cpu_us: most(usage.cpu_us),
            memory_kib_ms: most(over_wall(usage.memory_peak)),
            reserved_cpu_us: most(limits.map_or(0, |limits| usage.wall_us.saturating_mul(u64::from(limits.cpus)))),
            reserved_memory_kib_ms: most(limits.map_or(0, |limits| over_wall(limits.memory))),
            bytes_in: most(usage.bytes_in.0),
            bytes_out: most(usage.bytes_out.0),
            egress_bytes: most(usage.egress_bytes.0),
        }
    }

    /// The sums of these runs.
    pub fn sum<'a>(runs: impl IntoIterator<Item = &'a Run>) -> Self {
        let mut totals = Self::default();
        runs.into_iter().for_each(|run| totals.add(&Self::of(run)));
        totals
    }
}

/// Bytes as they are written everywhere.
mod digits {
    use protocol::ByteSize;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        ByteSize(*bytes).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        ByteSize::deserialize(deserializer).map(|size| size.0)
    }
}
