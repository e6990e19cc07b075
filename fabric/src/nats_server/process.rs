//! One nats-server process: spawn, look, end.

use std::fs;
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::FabricError;

/// The log is begun anew at a start when it is larger.
const LOG_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// What the server's Go runtime gets, unless the environment says otherwise: its memory is small, so that collecting it
/// less often costs little of it.
const GO: [(&str, &str); 2] = [("GOGC", "400"), ("GOMEMLIMIT", "256MiB")];
/// On so few cores one of its threads keeps up, and the others would only be woken to find nothing to do.
const ONE_THREAD_CORES_MAX: usize = 2;

pub(super) struct Child(std::process::Child);

impl Child {
    /// Spawns. The thread that calls this must live as long as the child.
    #[allow(unsafe_code, reason = "the child must ask for its death signal between fork and exec")]
    pub(super) fn spawn(binary: &Path, config: &Path, log: &Path) -> Result<Self, FabricError> {
        let cannot = |e: std::io::Error| FabricError::Server(format!("cannot start {}: {e}", binary.display()));
        let fresh = fs::metadata(log).is_ok_and(|meta| meta.len() > LOG_MAX_BYTES);
        let log =
            fs::OpenOptions::new().create(true).write(true).append(!fresh).truncate(fresh).open(log).map_err(cannot)?;
        let parent = rustix::process::getpid();
        let mut command = Command::new(binary);
        command.arg("-c").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let one = (cores <= ONE_THREAD_CORES_MAX).then_some(("GOMAXPROCS", "1"));
        command.envs(GO.into_iter().chain(one).filter(|(name, _)| std::env::var_os(name).is_none()));
        // A group of its own: Ctrl-C in the terminal is ours to handle.
        command.process_group(0);
        // SAFETY: only async-signal-safe system calls, no allocation.
        unsafe {
            command.pre_exec(move || {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                if rustix::process::getppid() != Some(parent) {
                    // The parent died before the request was made.
                    return Err(std::io::Error::from(rustix::io::Errno::SRCH));
                }
                Ok(())
            });
        }
        command.spawn().map(Self).map_err(cannot)
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(super) fn exited(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }

    /// Asks it to end, then makes it.
    pub(super) fn stop(&mut self, within: Duration) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let begun = Instant::now();
        while begun.elapsed() < within {
            if self.exited().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
    }

    pub(super) fn kill(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether the server greets a client: a stopped process accepts connections (the kernel does), but says nothing.
pub(super) fn answers(address: SocketAddr, within: Duration) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, within) else { return false };
    if stream.set_read_timeout(Some(within)).is_err() {
        return false;
    }
    let mut greeting = [0; 5];
    stream.read_exact(&mut greeting).is_ok() && &greeting == b"INFO "
}
