//! A program of the base, run once in a template: what it reads stays in memory, and every clone finds it there.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::{Gid, Uid, chdir, chroot};
use rustix::thread::{set_no_new_privs, set_thread_gid, set_thread_groups, set_thread_uid};

use super::root::BASE;
use super::workload::NOBODY;

/// Runs it to its end, alone in the base, which it cannot change.
#[allow(unsafe_code, reason = "no safe call changes a child's root")]
pub(super) fn run(argv: &[Vec<u8>]) -> io::Result<ExitStatus> {
    let Some((program, arguments)) = argv.split_first() else { return Ok(ExitStatus::default()) };
    let mut command = Command::new(OsStr::from_bytes(program));
    command.args(arguments.iter().map(|argument| OsStr::from_bytes(argument)));
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let confine = || {
        // It takes the memory, and not the agent, that there is not.
        std::fs::write("/proc/self/oom_score_adj", "0")?;
        chroot(BASE)?;
        chdir("/")?;
        set_thread_groups(&[])?;
        set_thread_gid(Gid::from_raw(NOBODY))?;
        set_thread_uid(Uid::from_raw(NOBODY))?;
        Ok(set_no_new_privs(true)?)
    };
    // SAFETY: the agent has one thread, so that nothing can be half done in the child.
    unsafe { command.pre_exec(confine) };
    command.status()
}
