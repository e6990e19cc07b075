//! The lane of a function, a version or a run, and what it may use: the same words and badge everywhere.

use protocol::api::Invocation;
use protocol::job::Job;
use protocol::placement::LaneReason;
use protocol::{ByteSize, Lane, Limits};
use sycamore::prelude::*;

use super::meter::meter;
use super::page::badge;
use crate::format;

/// The lane as a badge.
pub(crate) fn lane_badge(lane: Lane) -> View {
    match lane {
        Lane::Wasm => badge("wasm", "wasm"),
        Lane::Vm => badge("vm", "vm"),
    }
}

/// The lane, why it is that one, and what that lane is on hover.
pub(crate) fn lane_why(lane: Lane, reason: Option<LaneReason>) -> View {
    let title = match lane {
        Lane::Wasm => "The wasm lane: wasmtime, in the node's own process.",
        Lane::Vm => "The VM lane: a QEMU microVM of its own.",
    };
    let badge = lane_badge(lane);
    let reason = reason.map(|reason| view! { span(class="soft") { (reason.to_string()) } });
    view! { span(class="lane-why", title=title) { (badge) (reason) } }
}

/// `2 CPUs · 512 MiB · 60 s`
pub(crate) fn limits_words(limits: &Limits) -> String {
    format!("{} · {} · {}", cpus(limits), format::bytes(limits.memory.0), format::spaced(limits.timeout))
}

/// `1 CPU`, `2 CPUs`
pub(crate) fn cpus(limits: &Limits) -> String {
    format::count(limits.cpus, "CPU")
}

/// A quantity that a run used, of what it might.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Used {
    /// What was used.
    pub(crate) used: String,
    /// What was allowed.
    pub(crate) of: String,
    /// In hundredths of that.
    pub(crate) percent: Option<u32>,
}

impl Used {
    /// As a cell of a table.
    pub(crate) fn view(self) -> View {
        let Self { used, of, .. } = self;
        view! { (used) " " span(class="soft") { (of) } }
    }

    /// With its share as a meter.
    pub(crate) fn with_share(self) -> View {
        let share = self.percent.map(|percent| meter(*create_signal(percent)));
        let words = self.view();
        view! { span(class="used") { (words) (share) } }
    }
}

/// CPU time, of what the CPUs could have given while it ran.
pub(crate) fn cpu_used(run: &Invocation) -> Used {
    let used = format::micros(run.usage.cpu_us);
    let Some(limits) = run.limits else { return Used { used, of: String::new(), percent: None } };
    let reserved_us = run.usage.wall_us.saturating_mul(u64::from(limits.cpus));
    Used { used, of: format!("on {}", cpus(&limits)), percent: percent(run.usage.cpu_us, reserved_us) }
}

/// Peak memory, of what it might take.
pub(crate) fn memory_used(run: &Invocation) -> Used {
    bytes_used(run.usage.memory_peak, run.limits.map(|limits| limits.memory))
}

/// So many bytes, of at most so many where that is known.
pub(crate) fn bytes_used(used: ByteSize, most: Option<ByteSize>) -> Used {
    let of = most.map_or(String::new(), |most| format!("of {}", format::bytes(most.0)));
    Used { used: format::bytes(used.0), of, percent: most.and_then(|most| percent(used.0, most.0)) }
}

/// CPU time of a job's last try, or the CPUs that it is to have.
pub(crate) fn job_cpu(job: &Job) -> Used {
    let limits = Limits::from(job.limits);
    match job.usage {
        None => Used { used: cpus(&limits), of: String::new(), percent: None },
        Some(usage) => Used {
            used: format::micros(usage.cpu_us),
            of: format!("on {}", cpus(&limits)),
            percent: percent(usage.cpu_us, usage.wall_us.saturating_mul(u64::from(limits.cpus))),
        },
    }
}

/// Peak memory of a job's last try, or what it may take.
pub(crate) fn job_memory(job: &Job) -> Used {
    let most = job.limits.memory;
    job.usage.map_or_else(|| bytes_used(most, None), |usage| bytes_used(usage.memory_peak, Some(most)))
}

fn percent(used: u64, of: u64) -> Option<u32> {
    used.saturating_mul(100).checked_div(of).map(|percent| u32::try_from(percent.min(100)).unwrap_or(100))
}

#[cfg(test)]
mod tests {
    use super::{limits_words, percent};
    use protocol::{ByteSize, Limits, Millis};

    #[test]
    fn what_is_allowed_is_one_line() {
        let limits = Limits { cpus: 2, memory: ByteSize::mib(1536), timeout: Millis::seconds(60), ..Limits::default() };
        assert_eq!(limits_words(&limits), "2 CPUs · 1.5 GiB · 60 s");
    }

    #[test]
    fn shares_end_at_a_hundred() {
        assert_eq!([percent(1, 0), percent(1, 2), percent(9, 2)], [None, Some(50), Some(100)]);
    }
}
