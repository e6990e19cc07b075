//! The workload's process. It is made in the template, already confined as far as it can be, and waits there to become
//! the program: a clone then neither forks nor moves a process between cgroups, which costs a restored guest most.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use guest_agent::wire::{End, HEADER_BYTES, Header, Start, ToGuest};
use rustix::fs::{Mode, OFlags, fchmod, fchown};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Gid, Pid, PidfdFlags, Resource, Rlimit, Uid, chdir, chroot, pidfd_open, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, set_capabilities, set_keep_capabilities, set_thread_gid, set_thread_groups,
    set_thread_uid,
};

use super::group::Group;
use super::world::{GRANTED, World};

/// Who a workload is unless its host says another.
pub(super) const NOBODY: u32 = 1000;
const ROOT: u32 = 0;

/// The waiting process.
pub(super) struct Waiting {
    program: Program,
    group: Group,
}

/// The process, and our ends of its pipes.
pub(super) struct Program {
    pub(super) pid: Pid,
    /// Says that it has ended.
    pub(super) exit: OwnedFd,
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    /// Where it has got its orders: closing it would only cost.
    pub(super) orders: File,
    /// Holds an error's number where the process could not become the program.
    pub(super) failure: OwnedFd,
}

impl Waiting {
    #[allow(unsafe_code, reason = "no safe call forks")]
    pub(super) fn fork(group: Group, world: &World, root: &str) -> io::Result<Self> {
        let (theirs_orders, orders) = pipe(Ours::Writer)?;
        let (theirs_stdin, stdin) = pipe(Ours::Writer)?;
        let (theirs_stdout, stdout) = pipe(Ours::Reader)?;
        let (theirs_stderr, stderr) = pipe(Ours::Reader)?;
        let (theirs_failure, failure) = pipe(Ours::Reader)?;
        rustix::fs::fcntl_setfl(&orders, OFlags::empty())?;
        // SAFETY: the agent has one thread, so that nothing can be half done in the child.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                let theirs = [theirs_stdin, theirs_stdout, theirs_stderr, theirs_orders, theirs_failure];
                let (failure, error) = match confine(&group, world, theirs) {
                    Ok((orders, failure)) => (Some(failure), become_program(root, orders)),
                    Err(error) => (None, error),
                };
                if let Some(mut failure) = failure {
                    let _ = failure.write_all(&error.raw_os_error().unwrap_or(0).to_ne_bytes());
                }
                std::process::exit(127);
            }
            pid => {
                let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::other("no process"))?;
                let exit = pidfd_open(pid, PidfdFlags::empty())?;
                let orders = File::from(orders);
                Ok(Self { program: Program { pid, exit, stdin, stdout, stderr, orders, failure }, group })
            }
        }
    }

    /// Lets it become the program, within its limits.
    pub(super) fn start(mut self, start: Start) -> io::Result<(Program, Group)> {
        self.group.limit(start.memory_bytes, start.pids_max)?;
        let mut order = Vec::new();
        ToGuest::Start(Box::new(start)).encode(&mut order);
        self.program.orders.write_all(&order)?;
        Ok((self.program, self.group))
    }
}

/// Why a process that has ended never became the program; none where it did.
pub(super) fn failure(pipe: &OwnedFd) -> Option<End> {
    let mut number = [0; 4];
    rustix::io::read(pipe, &mut number).ok().filter(|read| *read == number.len())?;
    Some(match i32::from_ne_bytes(number) {
        libc::ENOENT | libc::ENOTDIR => End::EntryMissing,
        errno @ (libc::EACCES | libc::ENOEXEC | libc::ELOOP | libc::EINVAL | libc::E2BIG | libc::EISDIR) => {
            End::EntryRefused(errno)
        }
        errno => End::AgentFailed(format!("the program cannot be started: {}", io::Error::from_raw_os_error(errno))),
    })
}

enum Ours {
    Reader,
    Writer,
}

/// A pipe whose end of ours does not block.
fn pipe(ours: Ours) -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let (theirs, ours) = match ours {
        Ours::Reader => (writer, reader),
        Ours::Writer => (reader, writer),
    };
    rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK)?;
    Ok((theirs, ours))
}

/// Returns only the reason why it could not.
fn become_program(root: &str, orders: File) -> io::Error {
    match wait_for_orders(orders).and_then(|start| exec(root, &start)) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

/// In the template. What is left are the pipes: orders and failure are returned.
fn confine(group: &Group, world: &World, theirs: [OwnedFd; 5]) -> io::Result<(File, File)> {
    group.join()?;
    std::fs::write("/proc/self/oom_score_adj", "0")?;
    // A session of its own: no signal of it reaches the agent.
    rustix::process::setsid()?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    let [stdin, stdout, stderr, ..] = &theirs;
    for pipe in [stdin, stdout, stderr] {
        // `/dev/stdout` opens the pipe anew: also as a user that the program becomes later.
        fchmod(pipe, Mode::from_raw_mode(0o666))?;
        fchown(pipe, Some(Uid::from_raw(NOBODY)), Some(Gid::from_raw(NOBODY)))?;
    }
    world.join()?;
    set_thread_groups(&[])?;
    become_nobody()?;
    default_sigpipe();
    keep_only(theirs)
}

/// Most workloads are this: a clone then changes no identity. What the rest of the way needs is kept up to the program.
fn become_nobody() -> io::Result<()> {
    let needed = CapabilitySet::SYS_CHROOT
        | CapabilitySet::CHOWN
        | CapabilitySet::DAC_READ_SEARCH
        | CapabilitySet::SETGID
        | CapabilitySet::SETUID;
    set_keep_capabilities(true)?;
    set_thread_gid(Gid::from_raw(NOBODY))?;
    set_thread_uid(Uid::from_raw(NOBODY))?;
    let none = CapabilitySet::empty();
    let permitted = needed | GRANTED;
    Ok(set_capabilities(None, CapabilitySets { effective: needed, permitted, inheritable: none })?)
}

/// Gives the five pipes the first five numbers, and closes everything else: one process's copy of another's pipe would
/// keep it from ending.
#[allow(unsafe_code, reason = "no safe call closes what other values own; this process keeps none of them")]
fn keep_only(theirs: [OwnedFd; 5]) -> io::Result<(File, File)> {
    // Out of the way of the five numbers first.
    let theirs = theirs.map(|pipe| rustix::io::fcntl_dupfd_cloexec(&pipe, 64));
    for (number, pipe) in (0..).zip(theirs) {
        let flags = if number < 3 { 0 } else { libc::O_CLOEXEC };
        // SAFETY: whatever had that number is not used in this process any more.
        if unsafe { libc::dup3(pipe?.into_raw_fd(), number, flags) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: as above; the two that are returned are owned by nothing else.
    unsafe {
        libc::close_range(5, libc::c_uint::MAX, 0);
        Ok((File::from_raw_fd(3), File::from_raw_fd(4)))
    }
}

/// The agent ignores it, which a program would inherit.
#[allow(unsafe_code, reason = "no safe call sets a signal's handling")]
fn default_sigpipe() {
    // SAFETY: the default needs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

fn wait_for_orders(mut orders: File) -> io::Result<Start> {
    let mut header = [0; HEADER_BYTES];
    orders.read_exact(&mut header)?;
    let header = Header::decode(&header).map_err(io::Error::other)?;
    let mut payload = vec![0; header.length()];
    orders.read_exact(&mut payload)?;
    match ToGuest::decode(header, payload).map_err(io::Error::other)? {
        ToGuest::Start(start) => Ok(*start),
        _ => Err(io::Error::other("no order to start")),
    }
}

/// In the clone.
fn exec(root: &str, start: &Start) -> io::Result<std::convert::Infallible> {
    let files = Some(u64::from(start.files_max));
    setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files })?;
    chroot(root)?;
    if start.cwd.is_empty() || chdir(start.cwd.as_slice()).is_err() {
        chdir("/")?;
    }
    if start.uid != NOBODY || start.gid != NOBODY {
        for pipe in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
            fchown(pipe, Some(Uid::from_raw(start.uid)), Some(Gid::from_raw(start.gid)))?;
        }
    }
    if !start.groups.is_empty() {
        let groups: Vec<Gid> = start.groups.iter().map(|group| Gid::from_raw(*group)).collect();
        set_thread_groups(&groups)?;
    }
    if start.gid != NOBODY {
        set_thread_gid(Gid::from_raw(start.gid))?;
    }
    if start.uid != NOBODY {
        set_thread_uid(Uid::from_raw(start.uid))?;
    }
    let none = CapabilitySet::empty();
    let kept = if start.uid == ROOT { GRANTED } else { none };
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: none })?;
    let argv = strings(&start.argv)?;
    let env = strings(&start.env)?;
    let (argv_pointers, env_pointers) = (pointers(&argv), pointers(&env));
    let mut refused = io::Error::from_raw_os_error(libc::ENOENT);
    for path in candidates(start)? {
        refused = exec_path(&path, &argv_pointers, &env_pointers);
        match refused.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => {}
            _ => break,
        }
    }
    Err(refused)
}

#[allow(unsafe_code, reason = "no safe call replaces the program with this environment")]
fn exec_path(path: &CString, argv: &[*const libc::c_char], env: &[*const libc::c_char]) -> io::Error {
    // SAFETY: both lists end with a null pointer, and their strings live longer.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Where the program may be.
fn candidates(start: &Start) -> io::Result<Vec<CString>> {
    let name = start.argv.first().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
    if name.contains(&b'/') {
        return strings(std::slice::from_ref(name));
    }
    let path = start.env.iter().find_map(|variable| variable.strip_prefix(b"PATH="));
    let path = path.unwrap_or(b"/usr/local/bin:/usr/bin:/bin");
    let folders = path.split(|byte| *byte == b':').filter(|folder| !folder.is_empty());
    let paths: Vec<Vec<u8>> = folders.map(|folder| [folder, b"/", name.as_slice()].concat()).collect();
    strings(&paths)
}

fn strings(bytes: &[Vec<u8>]) -> io::Result<Vec<CString>> {
    let string = |bytes: &Vec<u8>| CString::new(bytes.as_slice());
    bytes.iter().map(string).collect::<Result<_, _>>().map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}
