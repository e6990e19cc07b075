//! The workload's root: its image below, a bounded writable layer above, and the few devices.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};

use guest_agent::wire::Mount;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::{MountFlags, mount, mount_move, mount_remount};

use super::boot::{BASE_DISK, DISK};

/// Where the pieces of the workload's root wait to be put together.
pub(super) const DEV: &str = "/parts/dev";
pub(super) const PROC: &str = "/parts/proc";
pub(super) const SYS: &str = "/parts/sys";
pub(super) const UPPER: &str = "/parts/upper";
pub(super) const LOWER: &str = "/parts/lower";
pub(super) const BASE: &str = "/parts/base";
pub(super) const ROOT: &str = "/parts/whole";
/// The same once it is assembled: it lies over all else, where only a step upwards leads.
pub(super) const WHOLE: &str = "/..";

/// Of an image's files, what is read before they are needed.
const WARM_BYTES_MAX: u64 = 32 << 20;

const READ_ONLY: MountFlags = MountFlags::RDONLY.union(MountFlags::NOSUID).union(MountFlags::NODEV);

/// The base: mounted in the template, or with the image that lies on it.
#[derive(Default)]
pub(super) struct Base {
    mounted: bool,
}

impl Base {
    /// Once.
    pub(super) fn mount(&mut self) -> io::Result<()> {
        if !self.mounted {
            mount(BASE_DISK, BASE, "squashfs", READ_ONLY, None).map_err(|error| named("the base image", error))?;
            self.mounted = true;
        }
        Ok(())
    }
}

/// Puts the root together.
pub(super) fn assemble(options: &Mount, base: &mut Base) -> io::Result<()> {
    let size = CString::new(format!("size={}", options.overlay_bytes))?;
    mount_remount(UPPER, MountFlags::NOSUID | MountFlags::NODEV, size.as_c_str())?;
    mount(DISK, LOWER, "squashfs", READ_ONLY, None).map_err(|error| named("the image", error))?;
    let layers = if options.based {
        base.mount()?;
        c"lowerdir=/parts/lower:/parts/base,upperdir=/parts/upper/data,workdir=/parts/upper/work"
    } else {
        c"lowerdir=/parts/lower,upperdir=/parts/upper/data,workdir=/parts/upper/work"
    };
    mount("overlay", ROOT, "overlay", MountFlags::NODEV, Some(layers))
        .map_err(|error| named("the writable layer", error))?;
    // With all that is mounted in them, which a copy would pay for one by one.
    for (part, name) in [(DEV, "dev"), (PROC, "proc"), (SYS, "sys")] {
        mount_move(part, format!("{ROOT}/{name}"))?;
    }
    // Clones are slower without, not wrong.
    let _ = warm(&options.warm);
    // Who may change its root, as a container's root may, must find nothing above it.
    Ok(mount_move(ROOT, "/")?)
}

/// Reads files of the image, so that they are in memory. What cannot be read is no error here: it will be met again when
/// the workload starts. Whoever made the image chose the names and what they lead to: nothing outside of the image is
/// opened, nothing that is no file, nothing that could wait, and no more is read than stays in memory.
fn warm(files: &[Vec<u8>]) -> io::Result<()> {
    let root = rustix::fs::open(ROOT, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let mut left = WARM_BYTES_MAX;
    for path in files {
        let Ok(file) = rustix::fs::openat2(&root, path.as_slice(), flags, Mode::empty(), inside) else { continue };
        let file = File::from(file);
        if file.metadata()?.is_file() {
            left -= io::copy(&mut file.take(left), &mut io::sink())?;
        }
    }
    Ok(())
}

fn named(what: &str, error: rustix::io::Errno) -> io::Error {
    io::Error::other(format!("{what} cannot be mounted: {error}"))
}
