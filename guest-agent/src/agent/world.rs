//! The workload's own world inside the guest: a PID namespace, so that it sees its own processes alone, and a user
//! namespace, so that its root is nobody's root but its own. Both are made in the template. Nothing of the guest can be
//! reached by a path either: the workload's root is moved over everything else (`root`).
//!
//! ```text
//! agent --fork--> first process: mounts /proc, makes the user namespace, and waits for ever, taking in orphans
//!       --fork--> workload: joins the user namespace, keeps what Docker grants but devices and raw sockets
//! ```

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::mount::MountFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::thread::{
    CapabilitySet, LinkNameSpaceType, UnshareFlags, move_into_link_name_space, remove_capability_from_bounding_set,
    unshare_unsafe,
};

use super::boot::mount_at;
use super::root::PROC;
use super::surroundings::read_only;

/// The most that a workload can be granted, and what its root has: what Docker grants by default, without MKNOD and
/// NET_RAW.
pub(super) const GRANTED: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Parts of `/proc` that are the guest's and not a process's. Its root is known to the kernel by the same number as the
/// guest's, which may write to most of them.
const OF_THE_GUEST: [&str; 4] = ["sys", "irq", "bus", "fs"];

/// User and group numbers are the same inside and outside: images' files belong to whom they say.
const ALL_NUMBERS: &str = "0 0 4294967295";

/// The namespaces.
pub(super) struct World {
    users: OwnedFd,
}

impl World {
    /// Makes them. Children of this process are in the PID namespace from here on.
    #[allow(unsafe_code, reason = "no safe call forks or leaves a namespace")]
    pub(super) fn open() -> io::Result<Self> {
        // SAFETY: the agent has one thread, and its open files are not touched.
        unsafe { unshare_unsafe(UnshareFlags::NEWPID) }?;
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        // SAFETY: the agent has one thread, so that nothing can be half done in the child.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(reader);
                let error = first_process(writer);
                eprintln!("the workload's namespaces: {error}");
                std::process::exit(1);
            }
            pid => {
                drop(writer);
                if rustix::io::read(&reader, &mut [0_u8])? == 0 {
                    return Err(io::Error::other("no namespaces for the workload"));
                }
                for map in ["uid_map", "gid_map"] {
                    std::fs::write(format!("/proc/{pid}/{map}"), ALL_NUMBERS)?;
                }
                Ok(Self { users: std::fs::File::open(format!("/proc/{pid}/ns/user"))?.into() })
            }
        }
    }

    /// Children of this process are its own again.
    pub(super) fn leave(&self) -> io::Result<()> {
        let own = std::fs::File::open("/proc/self/ns/pid")?;
        Ok(move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::ProcessID))?)
    }

    /// For the workload's process: makes it a member, and bounds what it and its children can ever be granted.
    pub(super) fn join(&self) -> io::Result<()> {
        move_into_link_name_space(self.users.as_fd(), Some(LinkNameSpaceType::User))?;
        for (_, capability) in CapabilitySet::all().difference(GRANTED).iter_names() {
            match remove_capability_from_bounding_set(capability) {
                // A kernel that does not know it grants it to nobody.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Returns only the reason why it could not.
fn first_process(ready: OwnedFd) -> io::Error {
    match make(ready) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

#[allow(unsafe_code, reason = "no safe call leaves a namespace, handles a signal or waits for ever")]
fn make(ready: OwnedFd) -> io::Result<std::convert::Infallible> {
    // It shows the processes of whoever mounts it.
    mount_at("proc", PROC, MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, "")?;
    for part in OF_THE_GUEST {
        let part = format!("{PROC}/{part}");
        if Path::new(&part).exists() {
            read_only(&part, &part)?;
        }
    }
    // SAFETY: this process has one thread.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }?;
    // SAFETY: no handler; the kernel takes in orphans that end by itself then.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    std::fs::File::from(ready).write_all(b"1")?;
    // SAFETY: nothing in this process uses a file from here on.
    unsafe { libc::close_range(0, libc::c_uint::MAX, 0) };
    loop {
        // SAFETY: it only waits.
        unsafe { libc::pause() };
    }
}
