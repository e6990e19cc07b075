//! What the worker inherits, by numbers. It may not walk the ways to its folder, to its own program and to the VM lane's
//! parts, which stand in somebody's home: an open handle is a way of its own. QEMU's own files have smaller numbers.

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use command_fds::FdMapping;
use rustix::io::{FdFlags, fcntl_setfd};

/// To the supervisor.
pub(super) const SUPERVISOR: i32 = 20;
/// Where the owner's commands come in.
pub(super) const CONTROL: i32 = 21;
pub(super) const DATA: i32 = 22;
pub(super) const PROGRAM: i32 = 23;
pub(super) const VM_TOOLS: i32 = 24;
pub(super) const VM_KERNEL: i32 = 25;
/// The tree of a QEMU that was unpacked.
pub(super) const QEMU: i32 = 26;

/// Where the worker finds what this handle leads to.
pub(super) fn path(number: i32) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{number}"))
}

/// Handles to be inherited.
#[derive(Default)]
pub(super) struct Handles(pub(super) Vec<FdMapping>);

impl Handles {
    pub(super) fn add(&mut self, handle: impl Into<OwnedFd>, number: i32) {
        self.0.push(FdMapping { parent_fd: handle.into(), child_fd: number });
    }

    /// Opens a file or folder for the worker; where that finds it.
    pub(super) fn open(&mut self, file: &Path, number: i32) -> io::Result<PathBuf> {
        self.add(File::open(file)?, number);
        Ok(path(number))
    }
}

/// Takes a handle that was inherited; what this process starts does not inherit it. Call it once for a number.
#[allow(unsafe_code, reason = "a handle has come by its number")]
pub(super) fn take(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: it is only asked whether the number is that of an open handle.
    fcntl_setfd(unsafe { std::os::fd::BorrowedFd::borrow_raw(number) }, FdFlags::CLOEXEC)?;
    // SAFETY: it is open, and nobody else in this process has it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
