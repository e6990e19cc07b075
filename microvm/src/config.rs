//! What a host is told, and the bounds.

use std::path::PathBuf;
use std::time::Duration;

use crate::sys::Bounds;

/// The largest image; every drive has this size, most of it a hole, so that a template fits every image.
pub(crate) const DISK_BYTES: u64 = 8 << 30;
/// Beyond this a boot is begun anew: on several translated processors a kernel may, rarely, stop in the middle of it.
pub(crate) const BOOT_USUALLY_WITHIN: Duration = Duration::from_secs(45);
/// A template must have booted by then. A busy machine without KVM needs minutes.
pub(crate) const BOOT_WITHIN: Duration = Duration::from_secs(180);
/// Saving and restoring.
pub(crate) const STATE_WITHIN: Duration = Duration::from_secs(60);
/// The longest answer to a command.
pub(crate) const COMMAND_WITHIN: Duration = Duration::from_secs(30);
/// A guest that works at all under KVM has said hello by then.
pub(crate) const PROBE_WITHIN: Duration = Duration::from_secs(6);
/// What a guest at its deadline may take to say what it has used.
pub(crate) const LAST_WORDS_WITHIN: Duration = Duration::from_secs(2);
/// The saved state of devices.
pub(crate) const STATE_BYTES_MAX: usize = 4 << 20;
/// What QEMU takes beside the guest's memory, the code that it translates above all.
const QEMU_BYTES: u64 = 512 << 20;
/// QEMU's threads beside those of the guest's processors.
const QEMU_THREADS: u32 = 64;
/// CPU time in a second of QEMU's own thread beside the guest's, in microseconds: a tenth of a core.
const QEMU_CPU_US: u64 = 100_000;
/// How much of a guest's console is kept.
pub(crate) const CONSOLE_BYTES: usize = 8 << 10;

/// Where things are.
#[derive(Debug, Clone)]
pub struct Config {
    /// The program `qemu-system-x86_64`.
    pub qemu: PathBuf,
    /// The tree that it was unpacked into, where that cannot be told by its path.
    pub qemu_tree: Option<PathBuf>,
    /// An unpacked kernel package: `boot/vmlinuz-*` and `lib/modules/*`.
    pub kernel: PathBuf,
    /// The guest agent, built statically.
    pub agent: PathBuf,
    /// A folder of this host alone: each machine has one of its own in it.
    pub work: PathBuf,
    /// When started as root: machine number n runs as this uid (and gid) + n modulo [`Self::UIDS`].
    pub first_uid: u32,
}

impl Config {
    /// How many uids machines share.
    pub const UIDS: u32 = 4096;
    /// Where no system of users reaches.
    pub const FIRST_UID: u32 = 1_879_048_192;
}

/// The size of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    pub memory_mib: u32,
    pub cpus: u32,
}

impl Shape {
    /// The smallest machine whose kernel boots.
    pub const MEMORY_MIB_MIN: u32 = 64;

    /// Of all of its memory.
    pub fn memory_bytes(self) -> u64 {
        u64::from(self.memory_mib) << 20
    }

    /// What its process may take of the host.
    pub(crate) fn bounds(self) -> Bounds {
        Bounds {
            memory_bytes: self.memory_bytes() + QEMU_BYTES,
            pids: QEMU_THREADS + self.cpus,
            cpu_us: u64::from(self.cpus) * 1_000_000 + QEMU_CPU_US,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_take_more_than_its_guest() {
        let bounds = Shape { memory_mib: 256, cpus: 2 }.bounds();
        assert_eq!(bounds, Bounds { memory_bytes: 768 << 20, pids: 66, cpu_us: 2_100_000 });
    }
}
