//! A version that can be started at once in machines of one size: its image, its template, and machines that wait for the
//! next run.
//!
//! ```text
//! template --restore--> clone --rehearse--> waiting --a run comes--> running --> gone
//!                                              \--too long, or the memory is needed--> gone
//! ```
//! Where the image has a base, the base's own template takes the plain one's place as soon as it is there. A version that
//! is called again gets one of its own, with its image mounted, while all such templates together hold no more than they
//! may; it goes when it is not used.
//! One run is ever in a machine of the command contract. Machines of servers are in `server.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use microvm::{Contract, Disk, Paused, Template, Workload};
use parking_lot::Mutex;
use protocol::ticket::Ticket;
use protocol::{ByteSize, Digest, Kind, Limits, VersionId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::Habit;
use super::ports::Ports;
use super::server::Idle;
use crate::admission::{Admission, Held};
use crate::egress::EgressRules;

/// Unused, a machine waits so long.
pub(super) const WAITS_MAX: Duration = Duration::from_secs(60);

/// So many machines a version has needed before it gets a template of its own.
pub(super) const MACHINES_BEFORE_OWN: u32 = 3;
/// Unused, that template is kept so long.
pub(super) const OWN_KEPT_MAX: Duration = Duration::from_secs(600);

/// What machines are kept by: their version, and the limits that make a machine, for a job may ask for its own. All other
/// limits are each run's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Kept {
    version: VersionId,
    memory: ByteSize,
    cpus: u32,
}

impl Kept {
    pub(super) fn of(version: VersionId, limits: &Limits) -> Self {
        Self { version, memory: limits.memory, cpus: limits.cpus }
    }

    pub(super) fn for_run(ticket: &Ticket) -> Self {
        Self::of(ticket.version, &ticket.limits)
    }
}

/// What the image and its maker say.
pub(super) struct About {
    pub(super) artifact: Digest,
    pub(super) kind: Kind,
    /// It is WebAssembly: a runner serves it, and says how each run ended.
    pub(super) hosted: bool,
    /// It has what a run finds around it; what was only prepared has not.
    pub(super) for_runs: bool,
    /// For people.
    pub(super) format: String,
    /// For the deployer.
    pub(super) notes: Vec<String>,
    pub(super) size: ByteSize,
    pub(super) convert_ms: u64,
    pub(super) egress: Arc<EgressRules>,
    /// Where it is asked, where it is a server.
    pub(super) ports: Ports,
    /// Whether the image was made for this, or was on disk.
    pub(super) fetched: bool,
}

/// See the module.
pub(crate) struct Version {
    pub(super) about: About,
    pub(super) workload: Workload,
    /// What a machine takes of the node's memory.
    pub(super) memory: ByteSize,
    template: ArcSwap<Template>,
    own: Mutex<Option<Own>>,
    /// In MiB, for templates of all versions' own.
    room: Arc<Semaphore>,
    /// Since there was no template of its own.
    machines: AtomicU32,
    disk: Disk,
    admission: Arc<Admission>,
    waiting: Mutex<Vec<Waiting>>,
    pub(super) idle: Mutex<Vec<Idle>>,
    /// How its server, where it is one, treats connections.
    pub(super) habit: Habit,
}

/// A template with the version's image in it, and the room that it takes.
struct Own {
    template: Arc<Template>,
    used: Instant,
    _room: OwnedSemaphorePermit,
    memory: Held,
}

/// A clone that stands still, and the memory that is kept for it.
struct Waiting {
    clone: Paused,
    since: Instant,
    _memory: Held,
}

impl Version {
    /// Whether the image was made for whoever asked first, or was on disk.
    pub(crate) fn fetched(&self) -> bool {
        self.about.fetched
    }

    pub(super) fn new(
        about: About,
        workload: Workload,
        memory: ByteSize,
        template: Arc<Template>,
        disk: Disk,
        admission: Arc<Admission>,
        room: Arc<Semaphore>,
    ) -> Self {
        let (template, waiting, idle) = (ArcSwap::new(template), Mutex::default(), Mutex::default());
        let (own, machines) = (Mutex::default(), AtomicU32::new(0));
        let habit = if about.hosted { Habit::known() } else { Habit::default() };
        Self { about, workload, memory, template, own, room, machines, disk, admission, waiting, idle, habit }
    }

    /// A machine for one run.
    pub(super) async fn machine(self: &Arc<Self>) -> Result<Paused, microvm::Error> {
        if self.machines.fetch_add(1, Ordering::Relaxed) + 1 == MACHINES_BEFORE_OWN {
            let version = Arc::clone(self);
            tokio::spawn(async move {
                if let Err(error) = version.make_own().await {
                    tracing::warn!(%error, "a version stays without a template of its own");
                }
            });
        }
        while let Some(mut waiting) = self.next() {
            if waiting.clone.is_alive() {
                return Ok(waiting.clone);
            }
            tracing::warn!(pid = waiting.clone.pid(), "a machine ended while it waited");
        }
        self.best_template().restore(Some(&self.disk)).await
    }

    fn best_template(&self) -> Arc<Template> {
        let mut own = self.own.lock();
        let found = own.as_mut().map(|own| {
            own.used = Instant::now();
            Arc::clone(&own.template)
        });
        found.unwrap_or_else(|| self.template.load_full())
    }

    /// The program, from the image's root on: what is in memory before it is needed.
    fn warm(&self) -> Vec<String> {
        let program = self.workload.argv.iter().take(1);
        program.map(|path| path.trim_start_matches('/').to_owned()).collect()
    }

    /// Makes a template of its own, where there is room for one.
    pub(super) async fn make_own(&self) -> Result<(), microvm::Error> {
        let from = self.template.load_full();
        let held_mib = u32::try_from(from.memory().unwrap_or(0) >> 20).unwrap_or(u32::MAX).max(1);
        let room = Arc::clone(&self.room).try_acquire_many_owned(held_mib).ok();
        let room = room.and_then(|room| Some((room, self.admission.hold(ByteSize::mib(held_mib.into()))?)));
        let Some((room, memory)) = room else {
            self.machines.store(0, Ordering::Relaxed);
            return Ok(());
        };
        let template = from.prepared(&self.disk, self.workload.overlay_bytes, &self.warm()).await?;
        let mut own = self.own.lock();
        if Arc::ptr_eq(&from, &self.template.load()) {
            *own = Some(Own { template: Arc::new(template), used: Instant::now(), _room: room, memory });
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// It has a template of its own.
    #[cfg(test)]
    pub(super) fn has_own(&self) -> bool {
        self.own.lock().is_some()
    }

    /// Lets its own template go where it was not used for so long; how much memory that gives back.
    pub(super) fn forget_own(&self, unused_for: Duration) -> ByteSize {
        let old = self.own.lock().take_if(|own| own.used.elapsed() >= unused_for);
        if old.is_some() {
            self.machines.store(0, Ordering::Relaxed);
        }
        old.map_or(ByteSize(0), |own| own.memory.bytes())
    }

    /// Machines that wait know nothing of a run yet: those of the prepared version are this one's.
    pub(super) fn take_over(&self, prepared: &Self) {
        let waiting = std::mem::take(&mut *prepared.waiting.lock());
        self.waiting.lock().extend(waiting);
    }

    fn next(&self) -> Option<Waiting> {
        self.waiting.lock().pop()
    }

    /// Makes one machine wait for the next run, where none does and there is memory for it.
    pub(super) fn refill(self: &Arc<Self>) {
        if !self.waiting.lock().is_empty() || self.workload.contract != Contract::Command {
            return;
        }
        let Some(memory) = self.hold() else { return };
        let version = Arc::clone(self);
        tokio::spawn(async move {
            let made = async {
                let mut clone = version.best_template().restore(Some(&version.disk)).await?;
                clone.rehearse(version.workload.contract, version.workload.overlay_bytes, &version.warm()).await?;
                Ok::<_, microvm::Error>(clone)
            };
            match made.await {
                Ok(clone) => {
                    let mut waiting = version.waiting.lock();
                    if waiting.is_empty() {
                        waiting.push(Waiting { clone, since: Instant::now(), _memory: memory });
                    }
                }
                Err(error) => tracing::warn!(%error, "no machine waits for the next run"),
            }
        });
    }

    /// Clones come from this template from now on; one that waits is made anew.
    pub(super) fn replace_template(self: &Arc<Self>, template: Arc<Template>) {
        self.template.store(template);
        self.forget_own(Duration::ZERO);
        self.machines.store(0, Ordering::Relaxed);
        let waited = std::mem::take(&mut *self.waiting.lock());
        if !waited.is_empty() {
            drop(waited);
            self.refill();
        }
    }

    /// Memory for a machine in which nothing runs.
    pub(super) fn hold(&self) -> Option<Held> {
        self.admission.hold(self.memory)
    }

    /// Lets machines go in which nothing runs and that were not used for so long; how much memory that gives back.
    pub(super) fn release(&self, unused_for: Duration) -> ByteSize {
        let now = Instant::now();
        let old = |since: Instant| now.saturating_duration_since(since) >= unused_for;
        let waiting: Vec<Waiting> = self.waiting.lock().extract_if(.., |waiting| old(waiting.since)).collect();
        let idle: Vec<Idle> = self.idle.lock().extract_if(.., |idle| old(idle.since)).collect();
        let gone = u64::try_from(waiting.len() + idle.len()).unwrap_or(u64::MAX);
        ByteSize(self.memory.0.saturating_mul(gone))
    }
}
