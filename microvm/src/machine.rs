//! A machine: its process, its monitor, the link to its agent, and where it stands in its life.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use guest_agent::wire::{Hello, ToHost};
use tokio::sync::mpsc;

use crate::accelerator::Accelerator;
use crate::command_line::{Purpose, arguments, fds};
use crate::config::Shape;
use crate::error::Error;
use crate::host::Inner;
use crate::life::{Life, Step};
use crate::link::{Control, Link};
use crate::monitor::Monitor;
use crate::process::{Process, Spec};
use crate::sys::{Bounds, Cgroup};
use crate::throttle::Throttle;

pub(crate) struct Machine {
    pub(crate) process: Process,
    pub(crate) monitor: Monitor,
    pub(crate) link: Link,
    pub(crate) control: mpsc::Receiver<Control>,
    cgroup: Option<Cgroup>,
    throttle: Option<Throttle>,
    life: Life,
    /// With the spawner's thread its children would die.
    _host: Arc<Inner>,
}

/// Where its memory and its drive come from.
pub(crate) struct Files {
    pub(crate) memory: OwnedFd,
    pub(crate) disk: OwnedFd,
    pub(crate) base: OwnedFd,
    pub(crate) others: Vec<(OwnedFd, i32)>,
}

impl Machine {
    pub(crate) async fn spawn(
        host: &Arc<Inner>,
        shape: Shape,
        accelerator: Accelerator,
        purpose: Purpose,
        files: Files,
    ) -> Result<Self, Error> {
        let own = [(files.memory, fds::MEMORY), (files.disk, fds::DISK), (files.base, fds::BASE)];
        let spec = Spec {
            arguments: arguments(shape, accelerator, purpose),
            files: own.into_iter().chain(files.others).collect(),
        };
        let (mut process, monitor, agent) = host.spawner.spawn(&host.config, spec).await?;
        let monitor = match Monitor::open(monitor).await {
            Ok(monitor) => monitor,
            Err(error) => {
                process.kill().await;
                return Err(Error::Qemu(format!("{error}: {}", process.console.text().trim())));
            }
        };
        let (link, control) = Link::open(agent);
        Ok(Self {
            process,
            monitor,
            link,
            control,
            cgroup: None,
            throttle: None,
            life: Life::Spawned,
            _host: Arc::clone(host),
        })
    }

    /// Keeps it to its share of the host: by a cgroup, or by stops where there is none.
    pub(crate) fn bound(&mut self, host: &Inner, bounds: Bounds) -> Result<(), Error> {
        let pid = self.process.pid;
        match &host.cgroups {
            Some(cgroups) => self.cgroup = Some(cgroups.add(pid, bounds).map_err(Error::io("a machine's cgroup"))?),
            None => match Throttle::begin(pid, bounds.cpu_us) {
                Ok(throttle) => self.throttle = Some(throttle),
                // A kernel that is too old for it.
                Err(error) => tracing::debug!(%error, "a machine's CPU time has no bound"),
            },
        }
        Ok(())
    }

    /// Takes a step in its life.
    pub(crate) fn step(&mut self, step: Step) -> Result<(), Error> {
        let before = self.life;
        self.life =
            before.after(step).ok_or_else(|| Error::Qemu(format!("{step:?} makes no sense when {before:?}")))?;
        tracing::trace!(pid = self.process.pid, ?before, after = ?self.life, "a machine goes on");
        Ok(())
    }

    /// Waits for the agent's first word.
    pub(crate) async fn hello(&mut self, within: Duration) -> Result<Hello, Error> {
        self.step(Step::Boot)?;
        match self.frame(within, "the guest's boot").await? {
            ToHost::Hello(hello) => {
                self.step(Step::Hello)?;
                Ok(hello)
            }
            other => Err(Error::Guest(format!("{other:?} instead of hello"))),
        }
    }

    /// The next frame that is on no stream.
    pub(crate) async fn frame(&mut self, within: Duration, what: &'static str) -> Result<ToHost, Error> {
        let control = tokio::time::timeout(within, self.control.recv()).await.map_err(|_| Error::Slow(what))?;
        match control {
            Some(Control::Frame(frame)) => Ok(frame),
            Some(Control::Broken(why)) => Err(Error::Guest(why)),
            Some(Control::Closed) | None => {
                let console = self.process.console.text();
                Err(Error::Guest(format!("it ended during {what}: {}", console.trim())))
            }
        }
    }
}
