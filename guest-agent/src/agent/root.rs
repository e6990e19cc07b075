//! The workload's root: its image below, a bounded writable layer above, and the few devices.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;

use guest_agent::wire::Mount;
use rustix::mount::{MountFlags, mount, mount_bind, mount_remount};

use super::boot::{BASE_DISK, DEV, DISK, PROC, UPPER};

pub(super) const LOWER: &str = "/parts/lower";
pub(super) const BASE: &str = "/parts/base";
pub(super) const ROOT: &str = "/parts/whole";

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
    mount("overlay", ROOT, "overlay", MountFlags::NOSUID | MountFlags::NODEV, Some(layers))
        .map_err(|error| named("the writable layer", error))?;
    for (part, name) in [(DEV, "dev"), (PROC, "proc"), ("/sys", "sys")] {
        mount_bind(part, format!("{ROOT}/{name}"))?;
    }
    options.warm.iter().for_each(|path| warm(path));
    Ok(())
}

/// Reads a file of the image; one that is not there is no error, it will not be missed here.
fn warm(path: &[u8]) {
    let inside = [ROOT.as_bytes(), b"/", path].concat();
    let file = std::fs::File::open(std::ffi::OsStr::from_bytes(&inside));
    let _ = file.and_then(|mut file| io::copy(&mut file, &mut io::sink()));
}

fn named(what: &str, error: rustix::io::Errno) -> io::Error {
    io::Error::other(format!("{what} cannot be mounted: {error}"))
}
