//! Linux. Everything that allocates or opens is done when a confinement is prepared: what is left are system calls,
//! which are also allowed between fork and exec of a program with several threads.

mod ruleset;
mod seccomp;

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, IntoRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{DumpableBehavior, Gid, Resource, Rlimit, Uid, set_dumpable_behavior, setrlimit};
use seccompiler::BpfProgram;

use crate::confinement::{Confinement, Identity};
use crate::enforcement::{Enforcement, Gap, Kernel};
use crate::error::Error;

/// From this version on, Landlock restricts all threads at once.
const LANDLOCK_OF_ALL_THREADS: i32 = 8;
/// `LANDLOCK_RESTRICT_SELF_TSYNC`.
const ALL_THREADS: u32 = 1 << 3;
/// `LANDLOCK_RULE_PATH_BENEATH`.
const PATH_BENEATH: u32 = 1;
/// `LANDLOCK_ACCESS_FS_READ_FILE` and `LANDLOCK_ACCESS_FS_READ_DIR`.
const READ: u64 = (1 << 2) | (1 << 3);

/// Handles that are mapped to numbers have smaller ones.
const OWN_PROCESS_FROM: i32 = 64;

/// `struct landlock_path_beneath_attr`
#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

/// A confinement whose paths are open and whose filters are built.
#[derive(Debug)]
pub struct Prepared {
    ruleset: Option<OwnedFd>,
    filters: Vec<BpfProgram>,
    identity: Option<Identity>,
    groups: Vec<Gid>,
    open_files_max: Option<u64>,
    own_process: bool,
    kernel: Kernel,
    enforcement: Enforcement,
}

impl Prepared {
    pub(crate) fn new(confinement: &Confinement) -> Result<Self, Error> {
        let kernel = kernel();
        let ruleset = if kernel.landlock > 0 { ruleset::of(confinement)? } else { None };
        let filters = if kernel.seccomp { seccomp::filters(confinement)? } else { Vec::new() };
        let identity = confinement.identity.clone();
        let groups = identity.iter().flat_map(|identity| &identity.groups).map(|group| Gid::from_raw(*group)).collect();
        let (open_files_max, own_process) = (confinement.open_files_max, confinement.own_process);
        Ok(Self {
            ruleset,
            filters,
            identity,
            groups,
            open_files_max,
            own_process,
            kernel,
            enforcement: kernel.enforces(confinement),
        })
    }

    /// What the kernel enforces of it.
    #[must_use]
    pub fn enforcement(&self) -> &Enforcement {
        &self.enforcement
    }

    /// Confines this process for good, with all that it starts. Call it while there is one thread: those that run
    /// already are restricted by Landlock only from Linux 7.0 on, which the answer says.
    ///
    /// # Errors
    /// When the kernel refuses a step: then some steps before it are in force.
    pub fn apply(self) -> Result<Enforcement, Error> {
        let threads = std::fs::read_dir("/proc/self/task").map_or(usize::MAX, Iterator::count);
        let all_threads = self.kernel.landlock >= LANDLOCK_OF_ALL_THREADS;
        if let Some(identity) = &self.identity {
            become_with_all_threads(identity.id, &identity.groups).map_err(Error::step("another identity"))?;
        }
        self.limit().map_err(Error::step("limits"))?;
        refuse_inspection()?;
        self.restrict(if all_threads { ALL_THREADS } else { 0 }).map_err(Error::step("Landlock"))?;
        self.filter(seccompiler::apply_filter_all_threads).map_err(Error::step("seccomp"))?;
        let others_are_free = threads > 1 && !all_threads && self.ruleset.is_some();
        Ok(if others_are_free { self.enforcement.without(Gap::OtherThreads) } else { self.enforcement })
    }

    /// Confines the child before it executes its program, which must be in [`Confinement::execute`] together with its
    /// loader. Where handles are mapped to numbers, call this first: a number may be that of the ruleset. Executing
    /// makes a process dumpable again: a program of ours calls [`refuse_inspection`].
    #[allow(unsafe_code, reason = "the child is confined between fork and exec")]
    pub fn before_exec(self, command: &mut Command) {
        let confine = move || {
            if let Some(identity) = &self.identity {
                let (gid, uid) = (Gid::from_raw(identity.id), Uid::from_raw(identity.id));
                rustix::thread::set_thread_groups(&self.groups)?;
                rustix::thread::set_thread_res_gid(gid, gid, gid)?;
                rustix::thread::set_thread_res_uid(uid, uid, uid)?;
            }
            self.limit()?;
            self.restrict(0)?;
            self.filter(seccompiler::apply_filter)
        };
        // SAFETY: the closure makes system calls only, and allocates nothing.
        unsafe { command.pre_exec(confine) };
    }

    fn limit(&self) -> io::Result<()> {
        let both = |limit| Rlimit { current: Some(limit), maximum: Some(limit) };
        setrlimit(Resource::Core, both(0))?;
        if let Some(files) = self.open_files_max {
            setrlimit(Resource::Nofile, both(files))?;
        }
        Ok(())
    }

    #[allow(unsafe_code, reason = "the C library has no such call")]
    fn restrict(&self, flags: u32) -> io::Result<()> {
        rustix::thread::set_no_new_privs(true)?;
        let Some(ruleset) = &self.ruleset else { return Ok(()) };
        if self.own_process {
            allow_own_process(ruleset)?;
        }
        // SAFETY: two numbers, one of them a handle that is open.
        let done = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), flags) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn filter(&self, apply: fn(&[seccompiler::sock_filter]) -> Result<(), seccompiler::Error>) -> io::Result<()> {
        for filter in &self.filters {
            apply(filter).map_err(|error| match error {
                seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => error,
                _ => io::ErrorKind::InvalidInput.into(),
            })?;
        }
        Ok(())
    }
}

/// Only the process itself knows which one it is: so this is done last, where nothing may be allocated.
#[allow(unsafe_code, reason = "the C library has no such call")]
fn allow_own_process(ruleset: &OwnedFd) -> io::Result<()> {
    use rustix::fs::{Mode, OFlags, open};
    let found = open(c"/proc/self", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // It stays open, also in the program that is executed: the kernel forgets the rule with the folder's entry, which it
    // drops when memory is short and nobody holds it. By a number to which nobody maps another handle after this.
    let folder = rustix::io::fcntl_dupfd_cloexec(found, OWN_PROCESS_FROM)?;
    rustix::io::fcntl_setfd(&folder, rustix::io::FdFlags::empty())?;
    let folder = folder.into_raw_fd();
    let rule = PathBeneath { allowed_access: READ, parent_fd: folder };
    // SAFETY: the kernel reads the structure, which lives until then; both handles are open.
    let done = unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), PATH_BENEATH, &raw const rule, 0_u32)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The C library's calls change all threads, as the kernel's do not.
#[allow(unsafe_code, reason = "no safe call changes all threads")]
fn become_with_all_threads(id: u32, groups: &[u32]) -> io::Result<()> {
    let check = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: the groups are as many as is said.
    check(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })?;
    // SAFETY: numbers.
    check(unsafe { libc::setresgid(id, id, id) })?;
    // SAFETY: numbers.
    check(unsafe { libc::setresuid(id, id, id) })
}

/// No process of the same user may look into this one, and it leaves no core. Executing another program undoes it.
///
/// # Errors
/// When the kernel refuses.
pub fn refuse_inspection() -> Result<(), Error> {
    let set = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    set.map_err(|error| Error::step("not dumpable")(error.into()))
}

#[allow(unsafe_code, reason = "the C library has no such calls")]
pub(crate) fn kernel() -> Kernel {
    const VERSION: u32 = 1;
    let nothing = std::ptr::null::<libc::c_void>();
    // SAFETY: it asks for a number; nothing is read or written.
    let landlock = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, VERSION) };
    let refusal = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the kernel reads one number, which lives until then.
    let seccomp =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0_u32, &raw const refusal) };
    Kernel { landlock: i32::try_from(landlock).unwrap_or(0).max(0), seccomp: seccomp == 0 }
}

/// A folder that is held open: its path leads there also for an identity that may not walk the way to it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _held: File,
}

impl Folder {
    /// Opens it.
    ///
    /// # Errors
    /// When it is not there or may not be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let held = File::open(path)?;
        Ok(Self { path: PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd())), _held: held })
    }

    /// Where it is, for this process as long as this is there.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
