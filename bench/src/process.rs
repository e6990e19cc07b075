//! Child processes of a benchmark: ended with it, whatever happens.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A child process, killed when dropped.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        let child = command.spawn().with_context(|| format!("{} cannot be run", command.get_program().display()))?;
        Ok(Self(child))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }

    /// Ctrl-C, then waits; returns how long it took.
    pub(crate) async fn interrupt(mut self, within: Duration) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).context("a process without an id")?;
        kill_process(pid, Signal::INT)?;
        while self.ended().is_none() {
            if began.elapsed() > within {
                bail!("it did not stop within {within:?}");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(began.elapsed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }
}

/// A port on loopback that nobody has now.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
