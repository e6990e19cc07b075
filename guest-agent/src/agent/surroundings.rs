//! What a program finds around it whatever its image has: devices, `/proc` and `/sys`, and the few files below `/etc` that
//! a container runtime supplies at start. All of it is made in the template, so that a clone pays nothing for it.

use std::io;
use std::os::unix::fs::symlink;

use guest_agent::wire::HOSTNAME;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{MountFlags, mount_bind, mount_remount};

use super::boot::mount_at;
use super::root::{BASE, DEV, LOWER, ROOT, SYS, UPPER};

const READ_ONLY: MountFlags =
    MountFlags::RDONLY.union(MountFlags::NOSUID).union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// All of the workload's root that does not depend on its image.
pub(super) fn prepare() -> io::Result<()> {
    devices()?;
    read_only("/sys", SYS)?;
    mount_at("tmpfs", UPPER, MountFlags::NOSUID | MountFlags::NODEV, "size=50%,nr_inodes=65536,mode=755")?;
    for name in ["work", "data", "data/dev", "data/proc", "data/sys", "data/tmp", "data/etc"] {
        std::fs::create_dir(format!("{UPPER}/{name}"))?;
    }
    rustix::fs::chmod(format!("{UPPER}/data/tmp"), Mode::from_raw_mode(0o1777))?;
    files()?;
    for folder in [LOWER, BASE, ROOT] {
        std::fs::create_dir_all(folder)?;
    }
    Ok(())
}

fn devices() -> io::Result<()> {
    let quiet = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount_at("tmpfs", DEV, quiet, "size=50%,nr_inodes=4096,mode=755")?;
    let devices = [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
    for (name, major, minor) in devices {
        let path = format!("{DEV}/{name}");
        mknodat(CWD, &path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(major, minor))?;
        rustix::fs::chmod(&path, Mode::from_raw_mode(0o666))?;
    }
    for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
        symlink(format!("/proc/self/{target}"), format!("{DEV}/{name}"))?;
    }
    symlink("pts/ptmx", format!("{DEV}/ptmx"))?;
    mount_at("tmpfs", &format!("{DEV}/shm"), quiet | MountFlags::NODEV, "size=50%,nr_inodes=4096,mode=1777")?;
    // A kernel without one of them has programs that do without.
    for (kind, name, options) in
        [("devpts", "pts", "newinstance,ptmxmode=0666,mode=0620,gid=5"), ("mqueue", "mqueue", "")]
    {
        if let Err(error) = mount_at(kind, &format!("{DEV}/{name}"), quiet, options) {
            eprintln!("no /dev/{name}: {error}");
        }
    }
    Ok(())
}

/// The writable layer has them, above whatever the image has by these names.
fn files() -> io::Result<()> {
    rustix::system::sethostname(HOSTNAME.as_bytes())?;
    let hosts = format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\t{HOSTNAME}\n");
    // Whoever asks there is answered at once: see `names`.
    let resolver = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n".to_owned();
    for (name, text) in [("hosts", hosts), ("hostname", format!("{HOSTNAME}\n")), ("resolv.conf", resolver)] {
        std::fs::write(format!("{UPPER}/data/etc/{name}"), text)?;
    }
    symlink("/proc/mounts", format!("{UPPER}/data/etc/mtab"))
}

/// The same tree, at another place, of which nobody changes anything.
pub(super) fn read_only(from: &str, to: &str) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    mount_bind(from, to)?;
    Ok(mount_remount(to, MountFlags::BIND | READ_ONLY, c"")?)
}
