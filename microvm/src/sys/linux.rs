//! Linux.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, SeekFrom, fcntl_add_seals, memfd_create, seek};
use rustix::process::{
    Gid, Pid, PidfdFlags, Signal, Uid, geteuid, getppid, pidfd_open, pidfd_send_signal, set_parent_process_death_signal,
};

/// A file in memory that has no name and goes with its last user.
pub(crate) fn memory_file(name: &str, bytes: u64) -> io::Result<File> {
    let name = CString::new(name)?;
    let file = File::from(memfd_create(name.as_c_str(), MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.set_len(bytes)?;
    Ok(file)
}

/// Another such file with the same content; its holes stay holes.
pub(crate) fn memory_copy(name: &str, file: &File) -> io::Result<File> {
    use std::os::unix::fs::FileExt;
    let length = file.metadata()?.len();
    let copy = memory_file(name, length)?;
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    while let Ok(data) = seek(file, SeekFrom::Data(at)) {
        let end = seek(file, SeekFrom::Hole(data))?;
        at = data;
        while at < end {
            let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            let piece = &mut buffer[..most];
            file.read_exact_at(piece, at)?;
            copy.write_all_at(piece, at)?;
            at += u64::try_from(most).map_err(io::Error::other)?;
        }
    }
    Ok(copy)
}

/// From now on nobody can change it: private mappings stay possible, shared ones that write do not.
pub(crate) fn seal(file: &File) -> io::Result<()> {
    Ok(fcntl_add_seals(file, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?)
}

/// What of a file in memory is there: holes are not.
pub(crate) fn held(file: &File) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(file.metadata()?.blocks() * 512)
}

/// The same file, with a position of its own.
pub(crate) fn reopen(file: &File) -> io::Result<OwnedFd> {
    Ok(File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?.into())
}

pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// The child dies with this process, and is nobody in particular if `uid` is given.
#[allow(unsafe_code, reason = "the child is confined between fork and exec")]
pub(crate) fn confine(command: &mut Command, uid: Option<u32>) {
    let parent = rustix::process::getpid();
    let groups = kvm_group();
    let confine = move || {
        if let Some(uid) = uid {
            let (gid, uid) = (Gid::from_raw(uid), Uid::from_raw(uid));
            rustix::thread::set_thread_groups(&groups)?;
            rustix::thread::set_thread_res_gid(gid, gid, gid)?;
            rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        }
        rustix::thread::set_no_new_privs(true)?;
        // Last: a change of identity forgets it. It is sent when the thread that forks here ends.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: the closure makes system calls only, and allocates nothing.
    unsafe { command.pre_exec(confine) };
}

/// The group that may open `/dev/kvm`.
fn kvm_group() -> Vec<Gid> {
    let group = rustix::fs::stat("/dev/kvm").map(|stat| stat.st_gid);
    group.into_iter().filter(|gid| *gid != 0).map(Gid::from_raw).collect()
}

/// Makes a folder that only its machine can use.
pub(crate) fn private_folder(path: &Path, uid: Option<u32>) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(path)?;
    if let Some(uid) = uid {
        std::os::unix::fs::chown(path, Some(uid), Some(uid))?;
    }
    Ok(())
}

/// When a process started, in ticks since boot: with its number it names a process for good.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may contain anything, but no later field contains a parenthesis.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The CPU time of a process: by its clock, since a confined program may read nothing of other processes.
#[allow(unsafe_code, reason = "no safe call knows such clocks")]
pub(crate) fn cpu_time(pid: u32) -> Option<Duration> {
    let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: it writes a number into the first.
    let found = unsafe { libc::clock_getcpuclockid(pid.try_into().ok()?, &raw mut clock) };
    // SAFETY: it writes into the second.
    if found != 0 || unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return None;
    }
    Some(Duration::new(time.tv_sec.try_into().ok()?, time.tv_nsec.try_into().ok()?))
}

pub(crate) fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // One that has gone already is as good.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

/// Names a process for good: its number may be given to another one.
pub(crate) fn process_handle(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Stops a process, or lets it go on.
pub(crate) fn set_running(process: &OwnedFd, runs: bool) -> io::Result<()> {
    Ok(pidfd_send_signal(process, if runs { Signal::CONT } else { Signal::STOP })?)
}

/// Memory of a process that it shares with nobody, in bytes.
pub(crate) fn private_memory(pid: u32) -> Option<u64> {
    let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let field = |line: &str| line.strip_prefix("Private_Dirty:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok();
    smaps.lines().find_map(field).map(|kib| kib * 1024)
}

/// How often this machine's time stamp counter ticks: guests without KVM see the very same counter, and cannot find
/// out for themselves.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "the counter has no safe call")]
pub(crate) fn counter_khz() -> u64 {
    // SAFETY: every x86-64 processor has it.
    let counter = || unsafe { std::arch::x86_64::_rdtsc() };
    let (wall, start) = (std::time::Instant::now(), counter());
    while wall.elapsed() < Duration::from_millis(40) {
        std::hint::spin_loop();
    }
    let (end, elapsed) = (counter(), wall.elapsed());
    let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX).max(1);
    end.wrapping_sub(start).saturating_mul(1000) / micros
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn counter_khz() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{counter_khz, held, memory_copy, memory_file, reopen, seal, start_time};

    #[test]
    fn sealed_memory_cannot_be_changed_by_anybody() {
        let file = memory_file("test", 4096).unwrap();
        (&file).write_all(b"template").unwrap();
        seal(&file).unwrap();
        assert!((&file).write_all(b"x").is_err());
        assert!(file.set_len(0).is_err());
        let again = std::fs::File::from(reopen(&file).unwrap());
        let mut start = [0; 8];
        std::os::unix::fs::FileExt::read_exact_at(&again, &mut start, 0).unwrap();
        assert_eq!(&start, b"template");
    }

    #[test]
    fn a_copy_has_the_same_bytes_and_the_same_holes() {
        use std::os::unix::fs::FileExt;
        let file = memory_file("test", 64 << 20).unwrap();
        file.write_all_at(b"early", 4096).unwrap();
        file.write_all_at(&vec![7; 3 << 20], 40 << 20).unwrap();
        seal(&file).unwrap();
        let copy = memory_copy("copy", &file).unwrap();
        assert_eq!(copy.metadata().unwrap().len(), 64 << 20);
        assert_eq!(held(&copy).unwrap(), held(&file).unwrap());
        let (mut one, mut other) = (vec![0; 64 << 20], vec![1; 64 << 20]);
        file.read_exact_at(&mut one, 0).unwrap();
        copy.read_exact_at(&mut other, 0).unwrap();
        assert!(one == other);
        // The copy is one's own.
        copy.write_all_at(b"x", 0).unwrap();
    }

    #[test]
    fn a_process_is_named_by_its_start() {
        let own = start_time(std::process::id()).unwrap();
        assert!(own > start_time(1).unwrap());
        assert_eq!(start_time(u32::MAX), None);
    }

    #[test]
    fn the_counter_counts() {
        let khz = counter_khz();
        assert!((500_000..10_000_000).contains(&khz), "{khz}");
    }
}
