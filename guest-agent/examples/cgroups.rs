//! A host with cgroups of version 2, as the first process of a guest. It begins as systemd begins a service, runs the
//! code that bounds machines on such hosts, and reports on the console what came of it, for
//! `microvm/tests/it/cgroups.rs`. Most machines that run tests are no such hosts.

#[allow(unreachable_pub, reason = "in its own crate some of it is public")]
#[path = "../../microvm/src/sys/cgroup.rs"]
mod cgroup;

use std::ffi::CStr;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, mount};

use crate::cgroup::{Bounds, Cgroup, Cgroups, WorkerCgroup};

const ROOT: &str = "/sys/fs/cgroup";
/// As a manager of services delegates it.
const SERVICE: &str = "/sys/fs/cgroup/service";
const LOOSE: Bounds = Bounds { memory_bytes: 64 << 20, pids: 64, cpu_us: 1_000_000 };
const HALF_A_CORE: Bounds = Bounds { cpu_us: 500_000, ..LOOSE };
const CONTROLLERS: &str = "+cpu +memory +pids";
/// Nobody in particular.
const USER: u32 = 1000;
/// How long it is looked at what a process gets.
const MEASURED: Duration = Duration::from_secs(2);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = || arguments.get(2).and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
    match arguments.get(1).map(String::as_str) {
        Some("wait") => std::thread::sleep(Duration::from_secs(600)),
        Some("burn") => burn(),
        Some("take") => take(number()),
        Some("threads") => std::process::exit(threads()),
        Some("lend") => println!("{}", lend().unwrap_or_else(|why| why)),
        _ => {
            if let Err(why) = begin().and_then(|()| host()) {
                report("failed", &why);
            }
            // The kernel panics now, which ends the machine; who reads the console may be some lines behind.
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

/// What a manager of services has done before it starts one.
fn begin() -> Result<(), String> {
    for (kind, target) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys"), ("cgroup2", ROOT)] {
        mount(kind, target, kind, MountFlags::empty(), None::<&CStr>).map_err(|error| format!("{kind}: {error}"))?;
    }
    // All reports are to be shown, however many.
    write("/proc/sys/kernel/printk_devkmsg", "on\n")?;
    write(format!("{ROOT}/cgroup.subtree_control"), CONTROLLERS)?;
    fs::create_dir(SERVICE).map_err(|error| error.to_string())?;
    write(format!("{SERVICE}/cgroup.procs"), "0")
}

fn host() -> Result<(), String> {
    let mut other = start(&mut this("wait"))?;
    // Why it moves first.
    let refused = fs::write(format!("{SERVICE}/cgroup.subtree_control"), CONTROLLERS).err();
    report("undivided", &format!("{:?}", refused.and_then(|error| error.raw_os_error()) == Some(libc::EBUSY)));
    let cgroups = Cgroups::open()?;
    report("moved", &format!("{} {}", group_of(std::process::id()), group_of(other.id())));
    report("stay", &read(format!("{SERVICE}/cgroup.procs")).lines().count().to_string());
    let again = Cgroups::open().map(|_| group_of(std::process::id()));
    report("again", &again?);

    cpu(&cgroups)?;
    memory(&cgroups)?;
    let (mut many, group) = within(&cgroups, Bounds { pids: 8, ..LOOSE }, &mut this("threads"))?;
    report("threads", &ended(&mut many)?.code().unwrap_or(-1).to_string());
    drop(group);
    removal(&cgroups)?;
    lent()?;
    end(&mut other)?;
    report("done", "all");
    Ok(())
}

/// What a process gets that computes without end: without a bound, and with one.
fn cpu(cgroups: &Cgroups) -> Result<(), String> {
    let mut free = start(&mut this("burn"))?;
    report("free", &share(&free)?.to_string());
    end(&mut free)?;
    let (mut bound, group) = within(cgroups, HALF_A_CORE, &mut this("burn"))?;
    report("bound", &share(&bound)?.to_string());
    end(&mut bound)?;
    drop(group);
    Ok(())
}

/// A process that keeps to its memory, and one that does not.
fn memory(cgroups: &Cgroups) -> Result<(), String> {
    let bounds = Bounds { memory_bytes: 16 << 20, ..LOOSE };
    for (name, mib) in [("keeps", "4"), ("exceeds", "48")] {
        let (mut child, group) = within(cgroups, bounds, this("take").arg(mib))?;
        let events = folder(child.id()).join("memory.events");
        let status = ended(&mut child)?;
        let kills = read(events).lines().find_map(|line| Some(line.strip_prefix("oom_kill ")?.to_owned()));
        let (code, signal) = (status.code(), status.signal());
        report(name, &format!("code {code:?} signal {signal:?} kills {}", kills.unwrap_or_default()));
        drop(group);
    }
    Ok(())
}

/// A group goes with its machine, and where that takes a moment, before the next one is made.
fn removal(cgroups: &Cgroups) -> Result<(), String> {
    let machines = Path::new(SERVICE).join("machines");
    let count = || fs::read_dir(&machines).map_or(0, |all| all.flatten().filter(|entry| entry.path().is_dir()).count());
    let none = count();
    let (mut slow, group) = within(cgroups, LOOSE, &mut this("wait"))?;
    drop(group);
    let held = count();
    end(&mut slow)?;
    let (mut next, group) = within(cgroups, LOOSE, &mut this("wait"))?;
    let one = count();
    end(&mut next)?;
    drop(group);
    report("removed", &format!("{none} {held} {one} {}", count()));
    Ok(())
}

/// A worker that is nobody in particular bounds its own; the next worker finds nothing of it.
fn lent() -> Result<(), String> {
    for _ in 0..2 {
        let group = WorkerCgroup::make(Some(USER))?;
        let mut worker = this("lend");
        group.enter(&mut worker).map_err(|error| error.to_string())?;
        // It becomes another user after it has entered, as a confined worker does.
        become_user(&mut worker);
        let mut worker = start(worker.stdout(Stdio::piped()))?;
        let mut said = String::new();
        if let Some(mut output) = worker.stdout.take() {
            output.read_to_string(&mut said).map_err(|error| error.to_string())?;
        }
        ended(&mut worker)?;
        report("lent", &format!("{} {}", group.folder().display(), said.trim()));
    }
    Ok(())
}

/// The worker.
fn lend() -> Result<String, String> {
    let cgroups = Cgroups::open()?;
    let (mut bound, group) = within(&cgroups, HALF_A_CORE, &mut this("burn"))?;
    let said = format!("user {} {} share {}", rustix::process::getuid().as_raw(), group_of(bound.id()), share(&bound)?);
    end(&mut bound)?;
    drop(group);
    Ok(said)
}

#[allow(unsafe_code, reason = "it happens between fork and exec")]
fn become_user(command: &mut Command) {
    let become_user = || {
        let (gid, uid) = (rustix::process::Gid::from_raw(USER), rustix::process::Uid::from_raw(USER));
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        Ok(())
    };
    // SAFETY: two system calls.
    unsafe { command.pre_exec(become_user) };
}

/// Threads as many as it may have beside its own.
fn threads() -> i32 {
    wait_for_a_word();
    let start = |_: u32| std::thread::Builder::new().spawn(|| std::thread::sleep(Duration::from_secs(600)));
    i32::try_from((0..64).take_while(|number| start(*number).is_ok()).count()).unwrap_or(-1)
}

fn take(mib: usize) {
    wait_for_a_word();
    let mut taken = vec![1_u8; mib << 20];
    taken.iter_mut().step_by(4096).for_each(|byte| *byte = 2);
    std::hint::black_box(&taken);
}

fn burn() {
    wait_for_a_word();
    loop {
        std::hint::spin_loop();
    }
}

/// A process begins with its work when it is where it should be.
fn wait_for_a_word() {
    drop(io::stdin().read_line(&mut String::new()));
}

fn this(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/init")));
    command.arg(role).stdin(Stdio::piped());
    command
}

fn start(command: &mut Command) -> Result<Child, String> {
    command.spawn().map_err(|error| format!("a process cannot be started: {error}"))
}

/// A process in a group of its own.
fn within(cgroups: &Cgroups, bounds: Bounds, command: &mut Command) -> Result<(Child, Cgroup), String> {
    let child = start(command)?;
    let group = cgroups.add(child.id(), bounds).map_err(|error| format!("no group: {error}"))?;
    Ok((child, group))
}

fn go_on(child: &Child) -> Result<(), String> {
    let mut input = child.stdin.as_ref().ok_or("a process has no input")?;
    input.write_all(b"\n").map_err(|error| error.to_string())
}

/// What it gets, in hundredths of a core.
fn share(child: &Child) -> Result<u128, String> {
    go_on(child)?;
    let began = Instant::now();
    let before = cpu_time(child.id());
    std::thread::sleep(MEASURED);
    let used = cpu_time(child.id()).saturating_sub(before);
    Ok(used.as_nanos() * 100 / began.elapsed().as_nanos().max(1))
}

/// As the kernel counts it for everybody: in hundredths of a second.
fn cpu_time(pid: u32) -> Duration {
    let stat = read(format!("/proc/{pid}/stat"));
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_ascii_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn ended(child: &mut Child) -> Result<ExitStatus, String> {
    if child.stdin.is_some() {
        // One that has ended before reads nothing.
        let _ = go_on(child);
    }
    child.wait().map_err(|error| error.to_string())
}

fn end(child: &mut Child) -> Result<(), String> {
    child.kill().and_then(|()| child.wait()).map(drop).map_err(|error| error.to_string())
}

/// As the kernel names it.
fn group_of(pid: u32) -> String {
    read(format!("/proc/{pid}/cgroup")).trim().trim_start_matches("0::").to_owned()
}

fn folder(pid: u32) -> PathBuf {
    Path::new(ROOT).join(group_of(pid).trim_start_matches('/'))
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn write(path: impl AsRef<Path>, value: &str) -> Result<(), String> {
    let path = path.as_ref();
    fs::write(path, value).map_err(|error| format!("{}: {error}", path.display()))
}

/// Among the kernel's own lines, as one that is always shown, and whole.
fn report(name: &str, value: &str) {
    drop(fs::write("/dev/kmsg", format!("<2>report {name}: {value}\n")));
}
