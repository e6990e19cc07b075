//! A template: a guest that was booted once and saved when its agent waited for a workload. Its memory is a sealed
//! file, which every clone maps privately: nothing of one clone reaches the template or another clone.
//!
//! A plain template fits every image. One of a base has mounted it and has run a program of it, whose files are in
//! memory: it serves all images on that base. A prepared one is made out of one of these, and has mounted one image
//! already: it serves that image alone.

mod prepared;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use guest_agent::wire::{Base, Contract, Hello, Mount, ToGuest, ToHost};
use qapi::qmp;
use tokio::io::AsyncReadExt;

use crate::accelerator::{Accelerator, Speed};
use crate::command_line::{Purpose, fds};
use crate::config::{BOOT_WITHIN, STATE_BYTES_MAX, STATE_WITHIN, Shape};
use crate::disk::Disk;
use crate::error::Error;
use crate::host::Inner;
use crate::life::Step;
use crate::machine::{Files, Machine};
use crate::process::{inherit, pair};
use crate::run::{Run, Workload};
use crate::sys;

/// What a template does before it is saved.
#[derive(Debug, Clone)]
pub(crate) enum Preparation {
    Plain,
    /// It mounts its base, and runs a program of it.
    Base {
        disk: Disk,
        base: Base,
    },
}

/// A saved guest.
pub struct Template {
    host: Arc<Inner>,
    shape: Shape,
    accelerator: Accelerator,
    memory: File,
    state: File,
    fits: Fits,
    hello: Hello,
}

/// Which images a template serves.
enum Fits {
    All,
    /// Those on this base.
    On(Disk),
    Only(Disk),
}

impl Template {
    pub(crate) async fn boot(
        host: &Arc<Inner>,
        shape: Shape,
        accelerator: Accelerator,
        within: Duration,
        preparation: Preparation,
    ) -> Result<Self, Error> {
        let memory = sys::memory_file("template", shape.memory_bytes()).map_err(Error::io("a template's memory"))?;
        let disk = match &preparation {
            Preparation::Plain => host.nothing.clone(),
            Preparation::Base { disk, .. } => host.nothing.clone().on(disk)?,
        };
        let mut machine = cold(host, shape, accelerator, &memory, &disk).await?;
        let saved = async {
            let hello = machine.hello(within).await?;
            if let Preparation::Base { base, .. } = &preparation {
                machine.link.send(&[ToGuest::Base(base.clone())]);
                mounted(&mut machine, within).await?;
            }
            Ok((hello, save(&mut machine).await?))
        };
        let saved = saved.await;
        machine.process.kill().await;
        let (hello, state) = saved?;
        sys::seal(&memory).map_err(Error::io("a template's memory cannot be sealed"))?;
        let fits = match preparation {
            Preparation::Plain => Fits::All,
            Preparation::Base { disk, .. } => Fits::On(disk),
        };
        Ok(Self { host: Arc::clone(host), shape, accelerator, memory, state, fits, hello })
    }

    /// A machine that has just booted: it counts as a clone from here on.
    pub(crate) async fn boot_cold(
        host: &Arc<Inner>,
        shape: Shape,
        accelerator: Accelerator,
        disk: &Disk,
    ) -> Result<Paused, Error> {
        let memory = sys::memory_file("machine", shape.memory_bytes()).map_err(Error::io("a machine's memory"))?;
        let mut machine = cold(host, shape, accelerator, &memory, disk).await?;
        machine.hello(BOOT_WITHIN).await?;
        machine.step(Step::Adopt)?;
        Ok(Paused { machine, mounted: false, based: disk.base.is_some() })
    }

    /// Its size.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How fast its guest was.
    pub fn speed(&self) -> Speed {
        Speed { accelerator: self.accelerator, turns_per_ms: self.hello.turns_per_ms }
    }

    /// What it takes of the host's memory, which all its clones share.
    pub fn memory(&self) -> Option<u64> {
        sys::held(&self.memory).ok()
    }

    /// A private copy that stands still. A prepared template takes its own image alone, named or not.
    pub async fn restore(&self, disk: Option<&Disk>) -> Result<Paused, Error> {
        let (disk, mounted) = match (&self.fits, disk) {
            (Fits::Only(own), None) => (own, true),
            (Fits::Only(own), Some(disk)) if disk.is(own) => (own, true),
            (Fits::All, Some(disk)) => (disk, false),
            (Fits::On(base), Some(disk)) if disk.is_on(base) => (disk, false),
            (Fits::On(_), _) => return Err(Error::Missing("a base's template needs an image on that base".to_owned())),
            _ => return Err(Error::Missing("a plain template needs an image, a prepared one has its own".to_owned())),
        };
        let machine = self.load(Purpose::Clone, &self.memory, disk).await?;
        Ok(Paused { machine, mounted, based: disk.base.is_some() })
    }

    /// A machine that goes on where this one was saved, once it is told to; `memory` is this one's, or a copy.
    async fn load(&self, purpose: Purpose, memory: &File, disk: &Disk) -> Result<Machine, Error> {
        let state = sys::reopen(&self.state).map_err(Error::io("a template's state"))?;
        let files = Files {
            memory: inherit(memory)?,
            disk: sys::reopen(&disk.image).map_err(Error::io("the image"))?,
            base: base_of(&self.host, disk)?,
            others: vec![(state, fds::STATE)],
        };
        let mut machine = Machine::spawn(&self.host, self.shape, self.accelerator, purpose, files).await?;
        machine.bound(&self.host, self.shape.bounds())?;
        machine.step(Step::Load)?;
        machine.monitor.ignore_shared_memory().await?;
        let uri = Some(format!("fd:{}", fds::STATE));
        machine.monitor.execute(qmp::migrate_incoming { channels: None, exit_on_error: None, uri }).await?;
        machine.monitor.migrated(STATE_WITHIN).await?;
        machine.step(Step::StateRead)?;
        Ok(machine)
    }
}

/// A clone that stands still.
pub struct Paused {
    machine: Machine,
    mounted: bool,
    based: bool,
}

impl Paused {
    /// Lets it go on with a workload.
    pub async fn start(mut self, workload: Workload, within: Duration) -> Result<Run, Error> {
        self.machine.step(Step::Continue)?;
        let mount = self.mount(workload.overlay_bytes);
        Run::start(self.machine, mount, workload, within).await
    }

    /// Mounts the image and does once what a run does, so that the run need not, and finds its way translated. The run
    /// may write that much to its disk, and finds the files in `warm`, from the root on, in memory.
    pub async fn rehearse(&mut self, contract: Contract, overlay_bytes: u64, warm: &[String]) -> Result<(), Error> {
        let mut mount = self.mount(overlay_bytes);
        if let Some(mount) = &mut mount {
            mount.warm = warm.iter().map(|path| path.clone().into_bytes()).collect();
        }
        crate::rehearsal::rehearse(&mut self.machine, mount, contract).await?;
        self.mounted = true;
        Ok(())
    }

    /// What is still to be mounted.
    fn mount(&self, overlay_bytes: u64) -> Option<Mount> {
        (!self.mounted).then(|| Mount { overlay_bytes, warm: Vec::new(), based: self.based })
    }

    /// Its process has not ended while it waited.
    pub fn is_alive(&mut self) -> bool {
        self.machine.process.is_alive()
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.machine.process.pid
    }

    /// Memory that it shares with nobody, in bytes.
    pub fn private_memory(&self) -> Option<u64> {
        sys::private_memory(self.pid())
    }
}

/// A drive for the base, also where there is none: a template and its clones have the same devices.
fn base_of(host: &Inner, disk: &Disk) -> Result<OwnedFd, Error> {
    let base = disk.base.as_ref().unwrap_or(&host.nothing.image);
    sys::reopen(base).map_err(Error::io("the base image"))
}

async fn cold(
    host: &Arc<Inner>,
    shape: Shape,
    accelerator: Accelerator,
    memory: &File,
    disk: &Disk,
) -> Result<Machine, Error> {
    let open = |path: &Path| File::open(path).map_err(Error::io("the kernel cannot be opened"));
    let files = Files {
        memory: inherit(memory)?,
        disk: sys::reopen(&disk.image).map_err(Error::io("the image"))?,
        base: base_of(host, disk)?,
        others: vec![
            (open(&host.kernel.image)?.into(), fds::KERNEL),
            (sys::reopen(&host.initramfs).map_err(Error::io("the initramfs"))?, fds::INITRAMFS),
        ],
    };
    let purpose = Purpose::Template { counter_khz: host.counter_khz };
    Machine::spawn(host, shape, accelerator, purpose, files).await
}

/// Waits until the guest has mounted what it was told to.
async fn mounted(machine: &mut Machine, within: Duration) -> Result<(), Error> {
    match machine.frame(within, "mounting the image").await? {
        ToHost::Mounted => Ok(()),
        ToHost::Ended(end, _) => Err(Error::Guest(format!("{end:?}"))),
        other => Err(Error::Guest(format!("{other:?} instead of mounted"))),
    }
}

/// Stops a machine and takes the state of its devices. Its memory is in the file already.
async fn save(machine: &mut Machine) -> Result<File, Error> {
    const STATE: &str = "state";
    machine.step(Step::Save)?;
    machine.monitor.execute(qmp::stop {}).await?;
    machine.monitor.ignore_shared_memory().await?;
    // QEMU opens and connects to nothing: it may be forbidden to.
    let (stream, theirs) = pair()?;
    machine.monitor.give(theirs, STATE).await?;
    let uri = Some(format!("fd:{STATE}"));
    machine.monitor.execute(qmp::migrate { channels: None, detach: None, resume: None, uri }).await?;
    let receive = async {
        let mut state = Vec::new();
        let limit = u64::try_from(STATE_BYTES_MAX).unwrap_or(u64::MAX);
        stream.take(limit).read_to_end(&mut state).await?;
        let file = sys::memory_file("state", 0)?;
        std::io::Write::write_all(&mut &file, &state)?;
        sys::seal(&file)?;
        Ok(file)
    };
    let state = tokio::time::timeout(STATE_WITHIN, receive).await.map_err(|_| Error::Slow("saving a template"))?;
    let state = state.map_err(Error::io("a template's state"))?;
    machine.monitor.migrated(STATE_WITHIN).await?;
    machine.step(Step::StateWritten)?;
    Ok(state)
}
