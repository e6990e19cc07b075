//! A version that can be started at once: its image, its template, and machines that wait for the next run.
//!
//! ```text
//! template --restore--> clone --rehearse--> waiting --a run comes--> running --> gone
//!                                              \--too long, or the memory is needed--> gone
//! ```
//! Where the image has a base, the base's own template takes the plain one's place as soon as it is there.
//! One run is ever in a machine of the command contract. Machines of servers are in `server.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use microvm::{Contract, Disk, Paused, Template, Workload};
use parking_lot::Mutex;
use protocol::{ByteSize, Digest, Kind};

use super::server::Idle;
use crate::admission::{Admission, Held};
use crate::egress::EgressRules;

/// Unused, a machine waits so long.
pub(super) const WAITS_MAX: Duration = Duration::from_secs(60);

/// What the image and its maker say.
pub(super) struct About {
    pub(super) artifact: Digest,
    pub(super) kind: Kind,
    /// It is WebAssembly: a runner serves it, and says how each run ended.
    pub(super) hosted: bool,
    /// For people.
    pub(super) format: String,
    pub(super) size: ByteSize,
    pub(super) convert_ms: u64,
    pub(super) egress: Arc<EgressRules>,
}

/// See the module.
pub(crate) struct Version {
    pub(super) about: About,
    pub(super) workload: Workload,
    /// What a machine takes of the node's memory.
    pub(super) memory: ByteSize,
    template: ArcSwap<Template>,
    disk: Disk,
    admission: Arc<Admission>,
    waiting: Mutex<Vec<Waiting>>,
    pub(super) idle: Mutex<Vec<Idle>>,
}

/// A clone that stands still, and the memory that is kept for it.
struct Waiting {
    clone: Paused,
    since: Instant,
    _memory: Held,
}

impl Version {
    pub(super) fn new(
        about: About,
        workload: Workload,
        memory: ByteSize,
        template: Arc<Template>,
        disk: Disk,
        admission: Arc<Admission>,
    ) -> Self {
        let (template, waiting, idle) = (ArcSwap::new(template), Mutex::default(), Mutex::default());
        Self { about, workload, memory, template, disk, admission, waiting, idle }
    }

    /// A machine for one run.
    pub(super) async fn machine(&self) -> Result<Paused, microvm::Error> {
        while let Some(mut waiting) = self.next() {
            if waiting.clone.is_alive() {
                return Ok(waiting.clone);
            }
            tracing::warn!(pid = waiting.clone.pid(), "a machine ended while it waited");
        }
        self.template.load_full().restore(Some(&self.disk)).await
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
                let mut clone = version.template.load_full().restore(Some(&version.disk)).await?;
                let program = version.workload.argv.iter().take(1);
                let warm: Vec<_> = program.map(|path| path.trim_start_matches('/').to_owned()).collect();
                clone.rehearse(version.workload.contract, version.workload.overlay_bytes, &warm).await?;
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
