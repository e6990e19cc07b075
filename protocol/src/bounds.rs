//! The most that a run can have used: what its ticket permits, and what physics and the gateway's own eyes allow. All
//! that a node says of a run is brought within these bounds before anybody keeps it. Pure.

use crate::manifest::Limits;
use crate::receipt::Usage;
use crate::units::{ByteSize, Micros};

/// Instructions that no CPU does in a microsecond: fuel counts instructions of WebAssembly.
const FUEL_PER_CPU_US_MAX: u64 = 100_000;
/// Clocks differ: a claim may be beyond its bound by a tenth and this, in microseconds, before it counts as a lie.
const WALL_TOLERANCE_US: u64 = 100_000;
/// A thread's CPU clock and the wall clock are read one after the other: CPU time may be beyond the wall time of all CPUs
/// by a tenth and this, in microseconds, before it counts as a lie.
const CPU_TOLERANCE_US: u64 = 1_000;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    wall_us: u64,
    cpus: u64,
    memory: ByteSize,
    /// What the machine has where the run is in one: a guest's kernel is not the function's memory.
    memory_there: ByteSize,
    bytes_in: ByteSize,
    bytes_out: ByteSize,
    egress_bytes: ByteSize,
}

impl Bounds {
    /// What a ticket with these limits permits.
    #[must_use]
    pub fn of(limits: &Limits) -> Self {
        Self {
            wall_us: Micros::from(limits.timeout).0,
            cpus: u64::from(limits.cpus),
            memory: limits.memory,
            memory_there: limits.memory_in(crate::manifest::Lane::Vm),
            bytes_in: limits.body,
            bytes_out: limits.body,
            egress_bytes: limits.egress_bytes,
        }
    }

    /// The same, where a gateway saw the call: no run is longer than its call, and no bytes came or went but through it.
    #[must_use]
    pub fn seen(self, wall_us: u64, bytes_in: ByteSize, bytes_out: ByteSize) -> Self {
        Self {
            wall_us: self.wall_us.min(wall_us),
            bytes_in: self.bytes_in.min(bytes_in),
            bytes_out: self.bytes_out.min(bytes_out),
            ..self
        }
    }

    /// What is possible of this.
    #[must_use]
    pub fn clamp(&self, usage: Usage) -> Usage {
        let wall_us = usage.wall_us.min(self.wall_us);
        let cpu_us = usage.cpu_us.min(wall_us.saturating_mul(self.cpus));
        Usage {
            wall_us,
            cpu_us,
            fuel: usage.fuel.map(|fuel| fuel.min(cpu_us.saturating_mul(FUEL_PER_CPU_US_MAX))),
            memory_peak: usage.memory_peak.min(self.memory),
            bytes_in: usage.bytes_in.min(self.bytes_in),
            bytes_out: usage.bytes_out.min(self.bytes_out),
            egress_bytes: usage.egress_bytes.min(self.egress_bytes),
        }
    }

    /// Whether an honest node could have said this of wall time, CPU and memory. (How much of a body each end saw differs
    /// where a call breaks off.)
    #[must_use]
    pub fn plausible(&self, usage: &Usage) -> bool {
        let wall_max = more(self.wall_us, WALL_TOLERANCE_US);
        let cpu_max = more(usage.wall_us.min(wall_max).saturating_mul(self.cpus), CPU_TOLERANCE_US);
        usage.wall_us <= wall_max && usage.cpu_us <= cpu_max && usage.memory_peak <= self.memory_there
    }
}

fn more(value: u64, tolerance: u64) -> u64 {
    value.saturating_add(value / 10).saturating_add(tolerance)
}

impl Usage {
    /// Of each figure the lesser.
    #[must_use]
    pub fn lesser(self, other: Self) -> Self {
        Self {
            wall_us: self.wall_us.min(other.wall_us),
            cpu_us: self.cpu_us.min(other.cpu_us),
            fuel: self.fuel.zip(other.fuel).map(|(one, other)| one.min(other)),
            memory_peak: self.memory_peak.min(other.memory_peak),
            bytes_in: self.bytes_in.min(other.bytes_in),
            bytes_out: self.bytes_out.min(other.bytes_out),
            egress_bytes: self.egress_bytes.min(other.egress_bytes),
        }
    }

    /// Whether two words of the same node about the same run are the same, up to a hundredth of each figure: a node writes
    /// both from one measurement. There is no least amount below which they may differ.
    #[must_use]
    pub fn agrees(&self, other: &Self) -> bool {
        let close = |one: u64, other: u64| one.abs_diff(other) <= one.max(other) / 100;
        close(self.wall_us, other.wall_us)
            && close(self.cpu_us, other.cpu_us)
            && close(self.fuel.unwrap_or(0), other.fuel.unwrap_or(0))
            && close(self.memory_peak.0, other.memory_peak.0)
            && close(self.bytes_in.0, other.bytes_in.0)
            && close(self.bytes_out.0, other.bytes_out.0)
            // A gateway of an earlier release passes none on.
            && (self.egress_bytes.min(other.egress_bytes) == ByteSize(0)
                || close(self.egress_bytes.0, other.egress_bytes.0))
    }
}
