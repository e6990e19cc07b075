//! What is done once for a template: file systems, modules, drives, the loopback, the workload's surroundings and cgroup.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, mount};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::group::Group;
use super::names::Names;
use super::restore::Random;
use super::workload::Waiting;
use super::world::World;
use super::{root, surroundings};

/// Open files of one process, where the host grants as many.
const FILES_MAX: u64 = 65_536;

const PORT: &str = "/dev/vport0p1";
const DRIVES: [&str; 2] = ["vda", "vdb"];
/// The drives by the names that the host has given them.
pub(super) const DISK: &str = "/parts/drive-disk";
pub(super) const BASE_DISK: &str = "/parts/drive-base";

/// What a clone begins with.
pub(super) struct Ready {
    pub(super) port: OwnedFd,
    pub(super) random: Random,
    pub(super) names: Names,
    pub(super) workload: Waiting,
    pub(super) rehearsal: Waiting,
}

pub(super) fn boot() -> io::Result<Ready> {
    let quiet = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount_at("devtmpfs", "/dev", MountFlags::NOSUID, "mode=755")?;
    mount_at("proc", "/proc", quiet, "")?;
    mount_at("sysfs", "/sys", quiet, "")?;
    // Who mounts it in a namespace of its own must not change its own bounds.
    mount_at("cgroup2", "/sys/fs/cgroup", quiet, "nsdelegate")?;
    std::fs::write("/proc/self/oom_score_adj", "-1000")?;
    bound_thrashing();
    load_modules()?;
    loopback_up()?;
    as_containers_expect()?;
    surroundings::prepare()?;
    name_drives()?;
    let port = open_port()?;
    let random = Random::open()?;
    let names = Names::open()?;
    let world = World::open()?;
    let workload = Waiting::fork(Group::new("workload")?, &world, root::WHOLE)?;
    world.leave()?;
    // It runs the agent's own file.
    let rehearsal = Waiting::fork(Group::new("rehearsal")?, &world, "/")?;
    Ok(Ready { port, random, names, workload, rehearsal })
}

/// Any user may listen at any port and send a ping, as in a container. And no limit of the agent's own stands in the way
/// of what the host grants: raising one is not for a workload.
fn as_containers_expect() -> io::Result<()> {
    for (file, value) in [("ip_unprivileged_port_start", "0"), ("ping_group_range", "0 2147483647")] {
        std::fs::write(format!("/proc/sys/net/ipv4/{file}"), value)?;
    }
    let current = getrlimit(Resource::Nofile).current;
    Ok(setrlimit(Resource::Nofile, Rlimit { current, maximum: Some(FILES_MAX) })?)
}

/// A guest without free memory would read its program anew, page after page, for ever: what was used within the last
/// second stays, and where that is not possible, memory is used up. A kernel that cannot do that is no worse than before.
fn bound_thrashing() {
    for (file, value) in [("min_ttl_ms", "1000"), ("enabled", "y")] {
        let _ = std::fs::write(format!("/sys/kernel/mm/lru_gen/{file}"), value);
    }
}

pub(super) fn mount_at(kind: &str, target: &str, flags: MountFlags, data: &str) -> io::Result<()> {
    std::fs::create_dir_all(target)?;
    let data = std::ffi::CString::new(data)?;
    mount(kind, target, kind, flags, Some(data.as_c_str()))?;
    Ok(())
}

/// The host has put them there in the order in which they are needed.
fn load_modules() -> io::Result<()> {
    let mut files: Vec<_> = std::fs::read_dir("/modules")?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    for path in files {
        let file = File::open(&path)?;
        match rustix::system::finit_module(&file, c"", 0) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(io::Error::other(format!("{}: {error}", path.display()))),
        }
    }
    Ok(())
}

/// The kernel finds drives in an order of its own.
fn name_drives() -> io::Result<()> {
    for device in DRIVES {
        let serial = format!("/sys/block/{device}/serial");
        wait_for(&serial)?;
        wait_for(&format!("/dev/{device}"))?;
        let name = std::fs::read_to_string(serial)?;
        std::os::unix::fs::symlink(format!("/dev/{device}"), format!("/parts/drive-{}", name.trim()))?;
    }
    Ok(())
}

/// The name of the port appears a moment before the port can be opened.
fn open_port() -> io::Result<OwnedFd> {
    wait_until(PORT, || {
        match rustix::fs::open(PORT, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) {
            Ok(port) => Ok(Some(port)),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NXIO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
}

fn wait_for(path: &str) -> io::Result<()> {
    wait_until(path, || Ok(Path::new(path).exists().then_some(())))
}

/// Devices appear a little after their drivers.
fn wait_until<T>(path: &str, mut try_it: impl FnMut() -> io::Result<Option<T>>) -> io::Result<T> {
    for _ in 0..2000 {
        if let Some(found) = try_it()? {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(io::Error::other(format!("no {path}")))
}

#[allow(unsafe_code, reason = "no safe call sets an interface's flags")]
fn loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all of its fields may be zero.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
    // SAFETY: the request is an ifreq, as this call wants it, and outlives it.
    let result = unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&socket), libc::SIOCSIFFLAGS, &raw mut request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
