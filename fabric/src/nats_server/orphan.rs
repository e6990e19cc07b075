//! A server that an earlier start has left: found by its pid file, and ended only if it is surely ours.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::error::FabricError;

const TERM_WITHIN: Duration = Duration::from_secs(3);
const KILL_WITHIN: Duration = Duration::from_secs(1);

/// Ends the process of this pid file if it runs with this very configuration file.
pub(super) fn end(pid_file: &Path, config: &Path) -> Result<(), FabricError> {
    let Some(pid) = fs::read_to_string(pid_file).ok().and_then(|text| text.trim().parse::<i32>().ok()) else {
        return Ok(());
    };
    let Some(process) = Pid::from_raw(pid) else { return Ok(()) };
    if !is_ours(pid, config) {
        return Ok(());
    }
    tracing::warn!(pid, "a nats-server of an earlier start is still there: ending it");
    let _ = kill_process(process, Signal::TERM);
    if gone(process, pid, config, TERM_WITHIN) {
        return Ok(());
    }
    let _ = kill_process(process, Signal::KILL);
    if gone(process, pid, config, KILL_WITHIN) {
        return Ok(());
    }
    Err(FabricError::Server(format!("a nats-server of an earlier start (pid {pid}) cannot be ended")))
}

/// Its command line names our configuration file: a reused pid does not.
fn is_ours(pid: i32, config: &Path) -> bool {
    let Ok(command) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    command.split(|byte| *byte == 0).any(|argument| argument == config.as_os_str().as_bytes())
}

fn gone(process: Pid, pid: i32, config: &Path, within: Duration) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < within {
        if test_kill_process(process).is_err() || !is_ours(pid, config) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}
