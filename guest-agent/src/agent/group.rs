//! The workload's cgroup: what bounds it, and what measures it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use guest_agent::wire::Usage;

/// What the kernel and the agent keep for themselves.
const KERNEL_BYTES: u64 = 24 << 20;
/// Processes and threads, unless the host says another number.
const PIDS: u32 = 256;

const FOLDER: &str = "/sys/fs/cgroup";

/// The cgroup: all files that a clone will need are open in the template.
pub(super) struct Group {
    procs: File,
    kill: File,
    memory_max: File,
    pids_max: File,
    cpu_stat: File,
    memory_peak: File,
    memory_events: File,
    pids_events: File,
}

impl Group {
    pub(super) fn new(name: &str) -> io::Result<Self> {
        std::fs::write(format!("{FOLDER}/cgroup.subtree_control"), "+memory +pids")?;
        let folder = format!("{FOLDER}/{name}");
        std::fs::create_dir(&folder)?;
        std::fs::write(format!("{folder}/memory.oom.group"), "1")?;
        let writable = |name: &str| File::options().write(true).open(format!("{folder}/{name}"));
        let readable = |name: &str| File::open(format!("{folder}/{name}"));
        let group = Self {
            procs: writable("cgroup.procs")?,
            kill: writable("cgroup.kill")?,
            memory_max: writable("memory.max")?,
            pids_max: writable("pids.max")?,
            cpu_stat: readable("cpu.stat")?,
            memory_peak: readable("memory.peak")?,
            memory_events: readable("memory.events")?,
            pids_events: readable("pids.events")?,
        };
        let sysinfo = rustix::system::sysinfo();
        let memory_bytes = sysinfo.totalram.saturating_mul(u64::from(sysinfo.mem_unit)).saturating_sub(KERNEL_BYTES);
        group.limit(memory_bytes, PIDS)?;
        Ok(group)
    }

    /// Bounds the workload; 0 keeps what is.
    pub(super) fn limit(&self, memory_bytes: u64, pids: u32) -> io::Result<()> {
        if memory_bytes > 0 {
            (&self.memory_max).write_all(memory_bytes.to_string().as_bytes())?;
        }
        if pids > 0 {
            (&self.pids_max).write_all(pids.to_string().as_bytes())?;
        }
        Ok(())
    }

    /// Makes the calling process a member.
    pub(super) fn join(&self) -> io::Result<()> {
        (&self.procs).write_all(b"0")
    }

    /// Kills all of it.
    pub(super) fn kill(&self) {
        // A workload that has ended already is as good.
        let _ = (&self.kill).write_all(b"1");
    }

    /// The kernel killed some of it because memory was used up.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        field(&self.memory_events, "oom_kill").is_some_and(|count| count > 0)
    }

    pub(super) fn usage(&self) -> Usage {
        Usage {
            cpu_us: field(&self.cpu_stat, "usage_usec").unwrap_or(0),
            memory_peak_bytes: field(&self.memory_peak, "").unwrap_or(0),
            rss_peak_bytes: largest_child(),
            pids_refused: field(&self.pids_events, "max").and_then(|count| u32::try_from(count).ok()).unwrap_or(0),
        }
    }
}

/// The number after `name` at the start of a line; of a file with one number alone, that one.
fn field(file: &File, name: &str) -> Option<u64> {
    let mut buffer = [0; 512];
    let length = file.read_at(&mut buffer, 0).ok()?;
    let text = std::str::from_utf8(buffer.get(..length)?).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// The largest size that an ended child of this process had.
#[allow(unsafe_code, reason = "no safe call tells what children have used")]
fn largest_child() -> u64 {
    // SAFETY: all of its fields may be zero.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the call fills what it is given.
    unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) };
    u64::try_from(usage.ru_maxrss).unwrap_or(0).saturating_mul(1024)
}
