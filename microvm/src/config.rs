//! What a host is told, and the bounds.

use std::path::PathBuf;
use std::time::Duration;

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
}
