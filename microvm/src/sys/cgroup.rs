//! A cgroup (version 2) for each machine, where this program may make one.

use std::path::{Path, PathBuf};

use crate::config::Shape;

const ROOT: &str = "/sys/fs/cgroup";
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];
/// What QEMU takes beside the guest's memory, the code that it translates above all.
const QEMU_BYTES: u64 = 512 << 20;
const THREADS_MAX: u32 = 64;

/// Where machines' cgroups are made.
pub(crate) struct Cgroups(PathBuf);

/// One machine's. It goes with the machine.
pub(crate) struct Cgroup(PathBuf);

impl Cgroups {
    /// Tries to have one; else says why not.
    pub(crate) fn open() -> Result<Self, String> {
        let text = std::fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let own = text.lines().find_map(|line| line.strip_prefix("0::/")).ok_or("this program has no cgroup")?;
        let own = Path::new(ROOT).join(own);
        let offered = std::fs::read_to_string(own.join("cgroup.controllers"))
            .map_err(|_| format!("no cgroups of version 2 at {ROOT}"))?;
        for controller in CONTROLLERS {
            if !offered.split_ascii_whitespace().any(|offer| offer == controller) {
                return Err(format!("the controller `{controller}` is not offered to this program"));
            }
        }
        let machines = own.join("machines");
        std::fs::create_dir_all(&machines).map_err(|error| format!("no cgroup can be made: {error}"))?;
        for folder in [&own, &machines] {
            std::fs::write(folder.join("cgroup.subtree_control"), "+cpu +memory +pids")
                .map_err(|error| format!("controllers cannot be passed on: {error}"))?;
        }
        Ok(Self(machines))
    }

    /// Puts a process into one of its own.
    pub(crate) fn add(&self, pid: u32, shape: Shape) -> std::io::Result<Cgroup> {
        let folder = self.0.join(pid.to_string());
        std::fs::create_dir_all(&folder)?;
        let cgroup = Cgroup(folder);
        let set = |file: &str, value: String| std::fs::write(cgroup.0.join(file), value);
        set("memory.max", (shape.memory_bytes() + QEMU_BYTES).to_string())?;
        set("pids.max", (THREADS_MAX + shape.cpus).to_string())?;
        // QEMU's own thread has a tenth of a core beside the guest's.
        set("cpu.max", format!("{} 100000", u64::from(shape.cpus) * 100_000 + 10_000))?;
        set("cgroup.procs", pid.to_string())?;
        Ok(cgroup)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel refuses while a process is in it; it is empty soon, and a sweep of empty folders costs nothing.
        let _ = std::fs::remove_dir(&self.0);
    }
}
