//! Linux.

use std::time::Duration;

use rustix::process::{
    Pid, Resource, Rlimit, getpgrp, getpid, getpriority_process, setpriority_pgrp, setpriority_process, setrlimit,
};
use rustix::time::{ClockId, clock_gettime};

/// The lowest priority that there is.
const NICE_MAX: i32 = 19;

/// Busy and total time of all cores since boot, in ticks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BusyTime {
    pub(crate) busy: u64,
    pub(crate) all: u64,
}

/// The machine's busy time now; zeros where it cannot be read.
pub(crate) fn busy_time() -> BusyTime {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let Some(line) = text.lines().next() else { return BusyTime::default() };
    let fields: Vec<u64> = line.split_ascii_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest times are in user's already.
    let all = fields.iter().take(8).sum();
    let idle: u64 = fields.iter().skip(3).take(2).sum();
    BusyTime { busy: all - idle, all }
}

/// The machine's memory in bytes.
pub(crate) fn memory_total() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit))
}

/// Gives this thread a lower priority, so that the agent's own work goes first.
pub(crate) fn lower_this_thread(by: i32) {
    lower(None, by);
}

/// A thread; `None` is this one.
fn lower(thread: Option<Pid>, by: i32) {
    let lowered = getpriority_process(thread).and_then(|nice| setpriority_process(thread, (nice + by).min(NICE_MAX)));
    if let Err(error) = lowered {
        tracing::debug!(%error, "cannot lower a thread's priority");
    }
}

/// Gives this process a lower priority once it has used so much CPU: what is short ends before that.
pub(crate) fn lower_this_process_after(cpu: Duration, by: i32) {
    let wait_and_lower = move || {
        while let Some(left) = cpu.checked_sub(cpu_of_this_process()).filter(|left| !left.is_zero()) {
            std::thread::sleep(left.max(Duration::from_millis(1)));
        }
        // Priorities are the threads' own; those that are started later have the one of whoever starts them.
        let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return lower_own_group(by) };
        for thread in threads.flatten() {
            if let Some(id) = thread.file_name().to_str().and_then(|id| Pid::from_raw(id.parse().ok()?)) {
                lower(Some(id), by);
            }
        }
    };
    // A small stack: address space may be bounded.
    if let Err(error) = std::thread::Builder::new().stack_size(128 << 10).spawn(wait_and_lower) {
        tracing::debug!(%error, "priority stays as it is");
    }
}

/// A process that may not list its threads, where it is a group of its own.
fn lower_own_group(by: i32) {
    if getpgrp() == getpid() {
        let lowered = getpriority_process(None).and_then(|nice| setpriority_pgrp(None, (nice + by).min(NICE_MAX)));
        if let Err(error) = lowered {
            tracing::debug!(%error, "cannot lower a process's priority");
        }
    }
}

fn cpu_of_this_process() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// Limits this process: bytes of address space, seconds of CPU. It ends with SIGXCPU, and a second later for certain.
pub(crate) fn limit_this_process(memory_bytes: u64, cpu_seconds: u64) -> std::io::Result<()> {
    let both = |limit| Rlimit { current: Some(limit), maximum: Some(limit) };
    setrlimit(Resource::As, both(memory_bytes))?;
    let cpu = Rlimit { current: Some(cpu_seconds), maximum: Some(cpu_seconds.saturating_add(1)) };
    setrlimit(Resource::Cpu, cpu)?;
    setrlimit(Resource::Core, both(0))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a06_what_has_computed_for_long_goes_behind() {
        // In a process of its own, as all tests of this suite are.
        let nice = || getpriority_process(None).unwrap();
        let before = nice();
        lower_this_process_after(Duration::from_millis(20), 7);
        let began = std::time::Instant::now();
        while nice() == before && began.elapsed() < Duration::from_secs(20) {
            std::hint::spin_loop();
        }
        assert!(cpu_of_this_process() >= Duration::from_millis(20));
        assert_eq!(nice(), (before + 7).min(NICE_MAX));
    }
}
