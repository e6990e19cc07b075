//! Linux.

use rustix::process::{Resource, Rlimit, setpriority_process, setrlimit};

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
pub(crate) fn lower_this_thread(nice: i32) {
    if let Err(error) = setpriority_process(None, nice) {
        tracing::debug!(%error, "cannot lower a thread's priority");
    }
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
