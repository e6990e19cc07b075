//! A cgroup (version 2) for each machine, where some are this program's to make.
//!
//! ```text
//! own                what this program was started in, and may divide
//! |- program         this program and what it starts: a cgroup that others are below of holds no process
//! |- machines
//! |  '- 4711-0       a machine
//! '- worker-4711-42-0  a child of process 4711, which began at 42, that has machines, perhaps as another user: it divides
//!                      this in the same way. Another process may make some here, too, and removes those of the dead alone
//! ```
//! This file needs nothing of its crate: a guest runs it, too, where such cgroups are sure to be
//! (`guest-agent/examples/cgroups.rs`).

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const ROOT: &str = "/sys/fs/cgroup";
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];
const PROGRAM: &str = "program";
const MACHINES: &str = "machines";
const WORKER: &str = "worker-";
/// Of children that have not quite gone.
const WORKERS_MAX: u32 = 64;
/// Processes may start others while they are moved.
const ROUNDS_MAX: u32 = 16;
/// Generations between a process and one that it is a descendant of.
const GENERATIONS_MAX: u32 = 1000;
/// The kernel counts CPU time ten times a second.
const PERIODS: u64 = 10;

/// What a machine may take of its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) memory_bytes: u64,
    /// Processes and threads.
    pub(crate) pids: u32,
    /// CPU time in each second, in microseconds.
    pub(crate) cpu_us: u64,
}

/// Where machines' cgroups are made.
pub(crate) struct Cgroups {
    machines: PathBuf,
    left: Left,
}

/// One machine's. It goes with the machine.
pub(crate) struct Cgroup {
    folder: PathBuf,
    left: Left,
}

/// Those whose processes had not quite gone.
type Left = Arc<Mutex<Vec<PathBuf>>>;

impl Cgroups {
    /// Tries to have one; else says why not.
    pub(crate) fn open() -> Result<Self, String> {
        let machines = divide()?.join(MACHINES);
        fs::create_dir_all(&machines).map_err(not_made)?;
        pass_on(&machines)?;
        Ok(Self { machines, left: Left::default() })
    }

    /// Puts a process into one of its own.
    pub(crate) fn add(&self, pid: u32, bounds: Bounds) -> io::Result<Cgroup> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        self.left.lock().unwrap_or_else(PoisonError::into_inner).retain(|folder| !is_removed(folder));
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = self.machines.join(format!("{}-{number}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let cgroup = Cgroup { folder, left: Arc::clone(&self.left) };
        let set = |file: &str, value: String| fs::write(cgroup.folder.join(file), value);
        set("memory.max", bounds.memory_bytes.to_string())?;
        set("pids.max", bounds.pids.to_string())?;
        set("cpu.max", format!("{} {}", bounds.cpu_us / PERIODS, 1_000_000 / PERIODS))?;
        set("cgroup.procs", pid.to_string())?;
        Ok(cgroup)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel refuses while a process is in it. That is gone soon: then whoever comes next removes it.
        if !is_removed(&self.folder) {
            self.left.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.folder));
        }
    }
}

/// The cgroup of a child of this program that has machines.
pub struct WorkerCgroup {
    folder: PathBuf,
    procs: File,
}

impl WorkerCgroup {
    /// Makes one, which is that user's to divide; else says why not. Those of children that have gone are removed, of this
    /// program and of such as have ended.
    pub fn make(user: Option<u32>) -> Result<Self, String> {
        let own = divide()?;
        let owner = Owner::this()?;
        remove_left(&own, owner).map_err(not_made)?;
        let mut names = (0..WORKERS_MAX).map(|number| own.join(owner.name(number)));
        let folder = names.find(|folder| !folder.exists()).ok_or("too many cgroups of children stay")?;
        fs::create_dir(&folder).map_err(not_made)?;
        let files = ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"].map(|file| folder.join(file));
        for path in files.iter().chain([&folder]) {
            chown(path, user, user).map_err(not_made)?;
        }
        let procs = File::options().write(true).open(folder.join("cgroup.procs")).map_err(not_made)?;
        Ok(Self { folder, procs })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The command begins in it, before it becomes anybody else.
    #[allow(unsafe_code, reason = "the child enters between fork and exec")]
    pub fn enter(&self, command: &mut Command) -> io::Result<()> {
        let procs = self.procs.try_clone()?;
        let enter = move || {
            // One that stays outside has no cgroups for its machines, and says so.
            let _ = (&procs).write_all(b"0");
            Ok(())
        };
        // SAFETY: it is one system call, and allocates nothing.
        unsafe { command.pre_exec(enter) };
        Ok(())
    }
}

/// Whose child a cgroup is for. An id is another process' later, but not with the same start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    pid: u32,
    /// In ticks since the machine was started.
    started: u64,
}

impl Owner {
    /// This program.
    fn this() -> Result<Self, String> {
        let pid = std::process::id();
        let started = started(pid).ok_or("it is not known when this program was started")?;
        Ok(Self { pid, started })
    }

    fn name(self, number: u32) -> String {
        format!("{WORKER}{}-{}-{number}", self.pid, self.started)
    }

    /// Of a cgroup with this name.
    fn of(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(WORKER)?.split('-');
        let owner = Self { pid: parts.next()?.parse().ok()?, started: parts.next()?.parse().ok()? };
        parts.next().map(|_| owner)
    }

    fn is_alive(self) -> bool {
        started(self.pid) == Some(self.started)
    }
}

/// Removes what is left of children that have gone. One of a program that runs may be empty because its child comes only now.
fn remove_left(own: &Path, this: Owner) -> io::Result<()> {
    for entry in fs::read_dir(own)?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(WORKER) && Owner::of(&name).is_none_or(|owner| owner == this || !owner.is_alive()) {
            remove(&entry.path());
        }
    }
    Ok(())
}

/// When a process began; none where there is none.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The twenty-second field; the third is the first one after the name.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Makes others possible below this program's own cgroup, which is returned: moves all that is in it one further down.
fn divide() -> Result<PathBuf, String> {
    let own = own()?;
    let offered =
        fs::read_to_string(own.join("cgroup.controllers")).map_err(|_| format!("no cgroups of version 2 at {ROOT}"))?;
    for controller in CONTROLLERS {
        if !offered.split_ascii_whitespace().any(|offer| offer == controller) {
            return Err(format!("the controller `{controller}` is not offered to this program"));
        }
    }
    // The root alone has no type.
    if !own.join("cgroup.type").exists() {
        return Err("this program is in the root of all cgroups, which is everybody's".to_owned());
    }
    move_all(&own, &own.join(PROGRAM))?;
    pass_on(&own)?;
    Ok(own)
}

/// This program's own cgroup, whether or not it is divided already.
fn own() -> Result<PathBuf, String> {
    let text = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/")).ok_or("this program has no cgroup")?;
    let mut own = Path::new(ROOT).join(own);
    if own.ends_with(PROGRAM) {
        own.pop();
    }
    Ok(own)
}

/// Moves this program and what it has started. Where there are others, the cgroup is not this program's own.
fn move_all(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |error: io::Error| format!("processes cannot be moved to another cgroup: {error}");
    for _ in 0..ROUNDS_MAX {
        let pids = fs::read_to_string(from.join("cgroup.procs")).map_err(failed)?;
        if pids.is_empty() {
            break;
        }
        if pids.lines().any(is_foreign) {
            return Err("other programs are in this program's cgroup: it is not its own".to_owned());
        }
        fs::create_dir_all(to).map_err(not_made)?;
        for pid in pids.lines() {
            match fs::write(to.join("cgroup.procs"), pid) {
                // It has ended.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                moved => moved.map_err(failed)?,
            }
        }
    }
    Ok(())
}

/// Neither this program nor a descendant of it. A program that may not look at others is in a cgroup made for it.
fn is_foreign(pid: &str) -> bool {
    let own = std::process::id();
    let mut next: u32 = pid.parse().unwrap_or(0);
    for _ in 0..GENERATIONS_MAX {
        if next == own {
            return false;
        }
        if next <= 1 {
            return true;
        }
        match fs::read_to_string(format!("/proc/{next}/stat")) {
            Ok(stat) => next = parent(&stat).unwrap_or(0),
            // Hidden, or gone.
            Err(_) => return false,
        }
    }
    true
}

/// The name before it may contain anything, but no later field contains a parenthesis.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn pass_on(folder: &Path) -> Result<(), String> {
    fs::write(folder.join("cgroup.subtree_control"), "+cpu +memory +pids")
        .map_err(|error| format!("controllers cannot be passed on: {error}"))
}

/// Removes it, unless a process is in it.
fn is_removed(folder: &Path) -> bool {
    fs::remove_dir(folder).map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |()| true)
}

/// With all below it, as far as no process is in it.
fn remove(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    // One with a process in it stays, for a later time.
    is_removed(folder);
}

fn not_made(error: io::Error) -> String {
    format!("no cgroup can be made: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_program_that_runs_has_made_stays() {
        let own = tempfile::tempdir().unwrap();
        let this = Owner::this().unwrap();
        let mut other = Command::new("sleep").arg("600").spawn().unwrap();
        let running = Owner { pid: other.id(), started: started(other.id()).unwrap() };
        let earlier = Owner { started: running.started.wrapping_sub(1), ..running };
        let make = |name: &str| fs::create_dir_all(own.path().join(name).join("machines")).unwrap();
        for name in [&*this.name(0), &*running.name(0), &*earlier.name(0), "worker-0", "machines"] {
            make(name);
        }
        let left = || {
            remove_left(own.path(), this).unwrap();
            let mut names: Vec<String> = fs::read_dir(own.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(left(), ["machines".to_owned(), running.name(0)]);
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!(left(), ["machines"], "it has ended");
    }
}
