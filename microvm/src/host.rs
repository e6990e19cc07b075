//! A host of machines: what it has, what it can, and what it could not get.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use guest_agent::wire::Base;

use crate::accelerator::{self, Accelerator, Speed};
use crate::config::{BOOT_USUALLY_WITHIN, BOOT_WITHIN, Config, Shape};
use crate::disk::Disk;
use crate::error::Error;
use crate::initramfs;
use crate::kernel::Kernel;
use crate::process::{self, Spawner};
use crate::sys;
use crate::template::{Paused, Preparation, Template};

/// What all machines of a host share.
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) spawner: Spawner,
    pub(crate) kernel: Kernel,
    pub(crate) initramfs: File,
    pub(crate) counter_khz: u64,
    pub(crate) cgroups: Option<sys::Cgroups>,
    /// A drive with nothing on it.
    pub(crate) nothing: Disk,
}

/// How machines are confined here, beside QEMU's own sandbox. To be told to the lender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Each machine has an identity of its own; else it has this program's.
    pub own_identity: bool,
    /// CPU, memory and processes of each machine are bounded by a cgroup; else why not. Then its CPU time alone is bounded,
    /// and its process is stopped for it.
    pub cgroup: Result<(), String>,
    /// Machines of an earlier program that were still there, and were killed.
    pub orphans_killed: usize,
}

/// A host of machines.
pub struct Host {
    inner: Arc<Inner>,
    limits: Limits,
    speed: Speed,
}

impl Host {
    /// Looks at everything that machines need, sweeps what an earlier program left, and finds out which accelerator
    /// truly works.
    pub async fn open(config: Config) -> Result<Self, Error> {
        std::fs::create_dir_all(&config.work).map_err(Error::io("the machines' folder"))?;
        let orphans_killed = process::sweep(&config.work);
        let kernel = Kernel::find(&config.kernel)?;
        let archive = initramfs::build(&kernel, &config.agent)?;
        let initramfs = sys::memory_file("initramfs", 0).map_err(Error::io("the initramfs"))?;
        std::io::Write::write_all(&mut &initramfs, &archive).map_err(Error::io("the initramfs"))?;
        sys::seal(&initramfs).map_err(Error::io("the initramfs"))?;
        let (cgroups, cgroup) = match sys::Cgroups::open() {
            Ok(cgroups) => (Some(cgroups), Ok(())),
            Err(why) => (None, Err(why)),
        };
        let spawner = Spawner::new()?;
        let counter_khz = sys::counter_khz();
        let inner =
            Arc::new(Inner { config, spawner, kernel, initramfs, counter_khz, cgroups, nothing: Disk::empty()? });
        let limits = Limits { own_identity: sys::is_root(), cgroup, orphans_killed };
        let speed = accelerator::find(&inner).await?;
        Ok(Self { inner, limits, speed })
    }

    /// How machines are confined here.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What runs the guests, and how fast.
    pub fn speed(&self) -> Speed {
        self.speed
    }

    /// What runs the guests.
    pub fn accelerator(&self) -> Accelerator {
        self.speed.accelerator
    }

    /// Boots a template that fits every image.
    pub async fn template(&self, shape: Shape) -> Result<Template, Error> {
        self.booted(shape, || Preparation::Plain).await
    }

    async fn booted(&self, shape: Shape, preparation: impl Fn() -> Preparation) -> Result<Template, Error> {
        let boot = |within| Template::boot(&self.inner, shape, self.speed.accelerator, within, preparation());
        let began = Instant::now();
        match boot(BOOT_USUALLY_WITHIN).await {
            Err(error) if began.elapsed() >= BOOT_USUALLY_WITHIN => {
                tracing::warn!(%error, "a guest has not booted in the usual time; another one is tried");
                boot(BOOT_WITHIN).await
            }
            booted => booted,
        }
    }

    /// Boots a template for all images on one base: it is mounted, and this program of it has run once, so that clones
    /// find in memory what it has read. Give it nobody's program but the base's own.
    pub async fn base_template(&self, shape: Shape, base: &Disk, program: &[&str]) -> Result<Template, Error> {
        let argv: Vec<Vec<u8>> = program.iter().map(|word| word.as_bytes().to_vec()).collect();
        self.booted(shape, || Preparation::Base { disk: base.clone(), base: Base { argv: argv.clone() } }).await
    }

    /// Boots a guest for one workload, without a template: to compare with.
    pub async fn boot(&self, shape: Shape, disk: &Disk) -> Result<Paused, Error> {
        Template::boot_cold(&self.inner, shape, self.speed.accelerator, disk).await
    }

    /// Boots a guest under an accelerator of the caller's choice: for probes and tests.
    pub async fn template_under(
        &self,
        shape: Shape,
        accelerator: Accelerator,
        within: Duration,
    ) -> Result<Template, Error> {
        Template::boot(&self.inner, shape, accelerator, within, Preparation::Plain).await
    }
}
