//! What a job's last try used of what it might, as the columns CPU and RAM say it: `0.4 of 2`, `210 of 512 MiB`.

use protocol::job::Job;
use protocol::{ByteSize, Limits};
use sycamore::prelude::*;

use crate::format;

/// What was used, where that is known, of what.
type Used = (Option<String>, String);

/// CPUs that were busy, of those that it might have.
pub(crate) fn cpu(job: &Job) -> Used {
    let of = Limits::from(job.limits).cpus.to_string();
    let busy = job.usage.filter(|usage| usage.wall_us > 0).map(|usage| tenths(usage.cpu_us, usage.wall_us));
    (busy, of)
}

/// The most memory that it held, of what it might.
pub(crate) fn memory(job: &Job) -> Used {
    let most = job.limits.memory;
    (job.usage.map(|usage| in_unit_of(usage.memory_peak, most)), format::bytes(most.0))
}

/// A ratio to one digit after the point; what is not none is never `0`.
fn tenths(part: u64, of: u64) -> String {
    let tenths = (u128::from(part) * 10 + u128::from(of) / 2) / u128::from(of.max(1));
    match tenths {
        0 if part > 0 => "< 0.1".to_owned(),
        0 => "0".to_owned(),
        tenths => format!("{}.{}", tenths / 10, tenths % 10),
    }
}

/// Without its unit, where `other` has the same.
fn in_unit_of(size: ByteSize, other: ByteSize) -> String {
    let (size, other) = (format::bytes(size.0), format::bytes(other.0));
    let unit = |text: &str| text.rsplit_once(' ').map(|(_, unit)| unit.to_owned());
    match size.rsplit_once(' ') {
        Some((number, own)) if unit(&other).as_deref() == Some(own) => number.to_owned(),
        _ => size,
    }
}

/// As one text.
pub(crate) fn words((used, of): Used) -> String {
    match used {
        Some(used) => format!("{used} of {of}"),
        None => format!("of {of}"),
    }
}

/// As a cell.
pub(crate) fn cell((used, of): Used) -> View {
    let of = format!("of {of}");
    let used = used.map(|used| view! { (used) " " });
    view! { (used) span(class="soft") { (of) } }
}

#[cfg(test)]
mod tests {
    use super::{cpu, memory, words};
    use crate::pages::jobs::sample;
    use protocol::job::Job;
    use protocol::receipt::Usage;
    use protocol::{ByteSize, Limits};

    fn job(cpu_us: u64, wall_us: u64, memory_peak: ByteSize) -> Job {
        let limits = Limits { cpus: 2, memory: ByteSize::mib(512), ..Limits::default() };
        let usage = Usage { cpu_us, wall_us, memory_peak, ..Usage::default() };
        Job { limits: limits.into(), usage: Some(usage), ..sample::job(1) }
    }

    #[test]
    fn what_was_used_stands_before_what_might_be() {
        let told = |job: &Job| (words(cpu(job)), words(memory(job)));
        let both = |cpu: &str, memory: &str| (cpu.to_owned(), memory.to_owned());
        assert_eq!(told(&job(800, 2_000, ByteSize::mib(210))), both("0.4 of 2", "210 of 512 MiB"));
        assert_eq!(told(&job(1, 2_000, ByteSize::kib(1))), both("< 0.1 of 2", "1 KiB of 512 MiB"));
        assert_eq!(told(&job(0, 2_000, ByteSize(0))), both("0 of 2", "0 B of 512 MiB"));
        assert_eq!(told(&job(u64::MAX, u64::MAX, ByteSize::mib(512))), both("1.0 of 2", "512 of 512 MiB"));
        assert_eq!(words(cpu(&job(5, 0, ByteSize(0)))), "of 2", "what is not known is not told");
        assert_eq!(words(memory(&sample::job(1))), "of 128 MiB");
    }
}
