//! All versions of the lane: what is missing of one is brought once, however many runs wait.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use fabric::Fabric;
use images::bases::{BaseId, Shelf as Bases};
use images::{Architecture, Image};
use microvm::{Disk, Host, Shape, Speed, Template};
use parking_lot::Mutex;
use protocol::node::{Prepared, VersionSpec};
use protocol::ticket::{Purpose, SignedTicket, Ticket};
use protocol::{AccountId, ArtifactForm, ByteSize, Code, Digest, Kind, Lane as LaneName, Limits, Problem, VersionId};
use tokio::sync::Semaphore;

use super::cache::ImageCache;
use super::convert::{Conversion, Converted, describe};
use super::ports::Ports;
use super::tools::Tools;
use super::version::{About, Kept, OWN_KEPT_MAX, Version, WAITS_MAX};
use super::wasm::{self, Hosted};
use super::{notes, start};
use crate::admission::Admission;
use crate::artifacts::{Flight, Lru, blocking, fetch, fly, listed};
use crate::compile::Compiler;
use crate::config::Config;
use crate::egress::{EgressRules, Ways};

/// Raised when the same artifact becomes another image, or more is kept of it: older ones are made anew.
const CONVERSION: u32 = 3;
/// Versions that are remembered, once for each size of their machines.
const VERSIONS_MAX: u64 = 256;
/// What all templates that are kept may hold: a plain one has some 120 MiB, one with Python in memory more.
const TEMPLATES_MIB_MAX: u64 = 512;
/// What templates with one version's image in them may hold, all of them together.
const OWN_TEMPLATES_MIB_MAX: usize = 512;
/// Machines that nobody uses are looked for this often.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// What a template is for: one size, and the images on one base or all images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Fit {
    shape: Shape,
    base: Option<Digest>,
}

/// A base as a drive.
#[derive(Clone)]
struct BaseDrive {
    id: BaseId,
    digest: Digest,
    disk: Disk,
}

/// What runs WebAssembly in a machine.
struct Runner {
    path: std::path::PathBuf,
    digest: Digest,
}

/// The lane.
pub(crate) struct Lane {
    host: Host,
    bases: std::path::PathBuf,
    runner: Option<Runner>,
    fabric: Fabric,
    compiler: Compiler,
    admission: Arc<Admission>,
    artifact_max: ByteSize,
    images: ImageCache,
    conversions: AtomicU64,
    versions: Lru<Kept, Version>,
    templates: Lru<Fit, Template>,
    own_templates: Arc<Semaphore>,
    ways: Ways,
    /// By version and size, and whether it is for runs or only prepared.
    version_flights: Mutex<HashMap<(Kept, bool), Flight<Version>>>,
    template_flights: Mutex<HashMap<Fit, Flight<Template>>>,
}

impl Lane {
    /// Finds out what works here.
    pub(super) async fn open(
        config: &Config,
        tools: Tools,
        fabric: Fabric,
        compiler: Compiler,
        admission: Arc<Admission>,
    ) -> Result<Arc<Self>, String> {
        let machines = microvm::Config {
            qemu: tools.qemu,
            qemu_tree: tools.qemu_tree,
            kernel: tools.kernel,
            agent: tools.agent,
            work: config.data.join("machines"),
            first_uid: microvm::Config::FIRST_UID,
        };
        let host = Host::open(machines).await.map_err(|error| error.to_string())?;
        let images = ImageCache::open(&config.data.join("images"), config.images).map_err(|error| error.to_string())?;
        let runner = match &tools.runner {
            Some(path) => {
                let bytes = tokio::fs::read(path).await.map_err(|error| format!("{}: {error}", path.display()))?;
                Some(Runner { path: path.clone(), digest: Digest::of(&bytes) })
            }
            None => {
                tracing::warn!(
                    "the VM lane runs images alone: it has no `wasm-guest`, which `cargo xtask setup` builds"
                );
                None
            }
        };
        let limits = host.limits();
        tracing::info!(
            accelerator = host.accelerator().as_str(),
            turns_per_ms = host.speed().turns_per_ms,
            own_identity = limits.own_identity,
            cgroup = limits.cgroup.as_ref().err().map_or("yes", String::as_str),
            orphans_killed = limits.orphans_killed,
            "this node has the VM lane"
        );
        let lent = admission.egress();
        let lane = Arc::new(Self {
            host,
            bases: tools.bases,
            runner,
            fabric,
            compiler,
            admission,
            artifact_max: config.artifact_max,
            images,
            conversions: AtomicU64::new(0),
            versions: Lru::new(VERSIONS_MAX),
            templates: Lru::new(TEMPLATES_MIB_MAX),
            ways: Ways::new(config, lent),
            own_templates: Arc::new(Semaphore::new(OWN_TEMPLATES_MIB_MAX)),
            version_flights: Mutex::default(),
            template_flights: Mutex::default(),
        });
        tokio::spawn(tidy(Arc::downgrade(&lane)));
        Ok(lane)
    }

    /// What runs the guests, and how fast.
    pub(super) fn speed(&self) -> Speed {
        self.host.speed()
    }

    /// The version, where it can be started at once in a machine of the ticket's size.
    pub(crate) fn warm(&self, ticket: &Ticket) -> Option<Arc<Version>> {
        self.versions.get(&Kept::for_run(ticket)).filter(|version| version.about.for_runs)
    }

    /// Whether only what a run finds around it is missing: that is small, and fetched with the first run's own ticket.
    pub(crate) fn is_prepared(&self, ticket: &Ticket) -> bool {
        self.versions.get(&Kept::for_run(ticket)).is_some()
    }

    /// The artifacts that a run would start warm with, the most recent first.
    pub(crate) fn warm_digests(&self, count_max: usize) -> Vec<Digest> {
        let mut listed = HashSet::new();
        let artifacts = self.recent(usize::MAX).into_iter().map(|version| version.about.artifact);
        artifacts.filter(|artifact| listed.insert(*artifact)).take(count_max).collect()
    }

    /// The artifacts whose images are on disk, the most recent first.
    pub(crate) async fn cached_digests(self: &Arc<Self>, count_max: usize) -> Vec<Digest> {
        let lane = Arc::clone(self);
        listed(move || lane.images.recent(count_max)).await
    }

    /// Disk space that images have.
    pub(crate) fn disk_used(&self) -> ByteSize {
        self.images.used()
    }

    /// Images have so much disk space at most from now on.
    pub(crate) fn lend_disk(self: &Arc<Self>, limit: ByteSize) {
        if self.images.set_limit(limit) {
            let lane = Arc::clone(self);
            tokio::task::spawn_blocking(move || lane.images.shrink());
        }
    }

    /// Fetches and converts, so that a version becomes ready.
    pub(crate) async fn prepare(self: &Arc<Self>, ticket: &Ticket, signed: &SignedTicket) -> Result<Prepared, Problem> {
        let version = self.get(ticket, signed).await?;
        version.refill();
        Ok(Prepared {
            kind: version.about.kind,
            format: version.about.format.clone(),
            compile_ms: version.about.convert_ms,
            code_size: version.about.size,
            form: if version.about.hosted { ArtifactForm::Wasm } else { ArtifactForm::Image },
            notes: version.about.notes.clone(),
        })
    }

    /// The version, brought where it must be.
    pub(crate) async fn get(self: &Arc<Self>, ticket: &Ticket, signed: &SignedTicket) -> Result<Arc<Version>, Problem> {
        let (kept, for_runs) = (Kept::for_run(ticket), ticket.purpose == Purpose::Run);
        let found = self.versions.get(&kept);
        if let Some(found) = found.filter(|found| found.about.for_runs || !for_runs) {
            return Ok(found);
        }
        let (lane, signed, ticket) = (Arc::clone(self), signed.clone(), ticket.clone());
        let bring = async move {
            let (version, base) = Box::pin(lane.bring(&ticket, &signed)).await?;
            let version = Arc::new(version);
            match lane.versions.get(&kept) {
                // Brought for a run meanwhile: that is more.
                Some(found) if found.about.for_runs && !for_runs => return Ok(found),
                Some(prepared) => version.take_over(&prepared),
                None => {}
            }
            lane.versions.put(kept, Arc::clone(&version), 1, Some(ticket.account));
            if let Some(base) = base {
                lane.warm_up(&version, shape_of(&ticket.limits), base);
            }
            Ok(version)
        };
        fly(&self.version_flights, (kept, for_runs), bring).await
    }

    /// Lets machines go in which nothing runs, the least recently used first, and then versions' own templates, until so
    /// much memory is free.
    pub(crate) fn make_room(&self, needed: ByteSize) {
        let versions = self.recent(usize::MAX);
        let mut freed = 0;
        for version in versions.iter().rev() {
            if freed < needed.0 {
                freed += version.release(Duration::ZERO).0;
            }
        }
        for version in versions.iter().rev() {
            if freed < needed.0 {
                freed += version.forget_own(Duration::ZERO).0;
            }
        }
    }

    fn recent(&self, count_max: usize) -> Vec<Arc<Version>> {
        self.versions.recent_values(count_max)
    }

    /// Brings the base's own template in the background: the first run does not wait for it, later ones find the base's
    /// files in memory.
    fn warm_up(self: &Arc<Self>, version: &Arc<Version>, shape: Shape, base: BaseDrive) {
        let (lane, version) = (Arc::clone(self), Arc::clone(version));
        tokio::spawn(async move {
            match lane.template(shape, Some(base)).await {
                Ok(template) => version.replace_template(template),
                Err(problem) => tracing::warn!(%problem, "a base's files stay cold"),
            }
        });
    }

    async fn bring(
        self: &Arc<Self>,
        ticket: &Ticket,
        signed: &SignedTicket,
    ) -> Result<(Version, Option<BaseDrive>), Problem> {
        let spec = fetch::spec(&self.fabric, ticket.version, signed).await?;
        if spec.artifact != ticket.artifact || spec.version != ticket.version {
            return Err(Problem::new(Code::NodeFailed, "the version's spec is not the ticket's"));
        }
        self.ways.allow(&spec.egress)?;
        let limits = ticket.limits;
        let template = self.template(shape_of(&limits), None);
        let ((converted, fetched), template) =
            futures::future::try_join(self.image(&spec, ticket.account, signed), template).await?;
        let Converted { image, hosted, convert_ms } = converted;
        let (disk, base) = self.disk(&image).await?;
        let egress = Arc::new(EgressRules::parse(&spec.egress).of(ticket.account, &self.ways));
        let (kind, format, notes, workload) = match hosted {
            Some(_) if spec.kind == Some(Kind::Server) => {
                let detail = "`kind`: a server is a program of its own; this is WebAssembly, which is called";
                return Err(Problem::of(Code::InvalidField, "kind", detail));
            }
            Some(Hosted { format, .. }) => {
                let workload = wasm::workload(&image.config, format, &limits, spec.env, &egress)?;
                (format.kind(), format.describe().to_owned(), Vec::new(), workload)
            }
            None => {
                let kind = kind_of(&spec, &image);
                let workload = start::workload(&image.config, kind, &limits, spec.env, &egress);
                (kind, describe(&image), notes::of(&image, kind), workload)
            }
        };
        let (artifact, size) = (spec.artifact, image.rootfs.size);
        let (hosted, for_runs) = (hosted.is_some(), ticket.purpose == Purpose::Run);
        let ports = Ports::of(&image.config);
        let about = About { artifact, kind, hosted, for_runs, format, notes, size, convert_ms, egress, ports, fetched };
        let memory = limits.memory_in(LaneName::Vm);
        let (admission, room) = (Arc::clone(&self.admission), Arc::clone(&self.own_templates));
        Ok((Version::new(about, workload, memory, template, disk, admission, room), base))
    }

    /// The image, out of the cache or converted now, and whether it had to be.
    async fn image(
        self: &Arc<Self>,
        spec: &VersionSpec,
        account: AccountId,
        signed: &SignedTicket,
    ) -> Result<(Converted, bool), Problem> {
        let key = self.key(spec);
        let lane = Arc::clone(self);
        if let Some(found) = blocking(move || lane.images.get(key).filter(|image| lane.is_current(image))).await? {
            return Ok((found, false));
        }
        let slot = self.compiler.slot(account).await?;
        let folder = self.images.folder();
        // A version may be brought for machines of several sizes at once.
        let turn = self.conversions.fetch_add(1, Ordering::Relaxed);
        let artifact = folder.join(format!("{}-{turn}.partial", VersionId::to_string(&spec.version)));
        let converted = async {
            fetch::artifact(&self.fabric, spec.artifact, self.artifact_max, signed, &artifact).await?;
            let conversion = Conversion {
                artifact: artifact.clone(),
                base: spec.base,
                command: spec.command.clone(),
                runner: self.runner.as_ref().map(|runner| runner.path.clone()),
                bases: self.bases.clone(),
            };
            self.compiler.convert(&slot, conversion, folder).await
        }
        .await;
        drop(tokio::fs::remove_file(&artifact).await);
        let converted = converted?;
        let (lane, kept, artifact) = (Arc::clone(self), converted.clone(), spec.artifact);
        blocking(move || {
            if let Err(error) = lane.images.put(key, artifact, kept, Some(account)) {
                tracing::warn!(%error, "an image's description cannot be kept");
            }
        })
        .await?;
        Ok((converted, true))
    }

    /// Code is for the runner that it was packed with.
    fn is_current(&self, converted: &Converted) -> bool {
        let runner = self.runner.as_ref().map(|runner| runner.digest);
        converted.hosted.is_none_or(|hosted| Some(hosted.runner) == runner)
    }

    /// What an image is made from. A base that was made anew makes another image.
    fn key(&self, spec: &VersionSpec) -> Digest {
        let bases = Bases::new(&self.bases);
        let all = images::bases::BaseId::ALL.map(|id| bases.open(id, Architecture::HOST).ok());
        let digests: Vec<_> = all.iter().flatten().map(|base| base.rootfs.digest.to_string()).collect();
        let words = (spec.artifact, spec.base, &spec.command, digests, CONVERSION);
        Digest::of(&serde_json::to_vec(&words).unwrap_or_default())
    }

    async fn disk(self: &Arc<Self>, image: &Image) -> Result<(Disk, Option<BaseDrive>), Problem> {
        let (path, base) = (image.rootfs.path.clone(), image.base);
        let (bases, folder) = (Bases::new(&self.bases), self.images.folder().to_owned());
        blocking(move || {
            let failed = |error: &dyn std::fmt::Display| Problem::new(Code::NodeFailed, error.to_string());
            let disk = Disk::open(&path).map_err(|error| failed(&error))?;
            let Some(id) = base else { return Ok((disk, None)) };
            let base = bases.open(id, Architecture::HOST).map_err(|error| failed(&error))?;
            // A copy of this node's own: a drive is longer than its file, and the shelf may be others' too.
            let own = folder.join(format!("base-{}.drive", base.rootfs.digest));
            if !own.exists() {
                let scratch = own.with_extension("partial");
                std::fs::copy(&base.rootfs.path, &scratch).map_err(|error| failed(&error))?;
                std::fs::rename(&scratch, &own).map_err(|error| failed(&error))?;
            }
            let base =
                BaseDrive { id, digest: base.rootfs.digest, disk: Disk::open(&own).map_err(|error| failed(&error))? };
            Ok((disk.on(&base.disk).map_err(|error| failed(&error))?, Some(base)))
        })
        .await?
    }

    /// The template of a size: of a base, or the plain one.
    async fn template(self: &Arc<Self>, shape: Shape, base: Option<BaseDrive>) -> Result<Arc<Template>, Problem> {
        let fit = Fit { shape, base: base.as_ref().map(|base| base.digest) };
        if let Some(found) = self.templates.get(&fit) {
            return Ok(found);
        }
        let lane = Arc::clone(self);
        let boot = async move {
            let template = match &base {
                Some(base) => lane.host.base_template(shape, &base.disk, base.id.warm_up()).await,
                None => lane.host.template(shape).await,
            };
            let template = template.map_err(|error| Problem::new(Code::NodeFailed, error.to_string()))?;
            let template = Arc::new(template);
            let held_mib = template.memory().unwrap_or(0) >> 20;
            lane.templates.put(fit, Arc::clone(&template), held_mib.max(1), None);
            Ok(template)
        };
        fly(&self.template_flights, fit, boot).await
    }
}

/// The machine that holds a function with these limits.
pub(super) fn shape_of(limits: &Limits) -> Shape {
    let mib = limits.memory_in(LaneName::Vm).0 >> 20;
    Shape { memory_mib: u32::try_from(mib).unwrap_or(u32::MAX), cpus: limits.cpus }
}

/// What the deployer says; else an image that names ports is a server.
fn kind_of(spec: &VersionSpec, image: &Image) -> Kind {
    match spec.kind {
        Some(Kind::Server) => Kind::Server,
        Some(Kind::Command) => Kind::Command,
        None | Some(Kind::Http) if image.config.exposed_ports.is_empty() => Kind::Command,
        None | Some(Kind::Http) => Kind::Server,
    }
}

async fn tidy(lane: Weak<Lane>) {
    loop {
        tokio::time::sleep(TIDY_EVERY).await;
        let Some(lane) = lane.upgrade() else { return };
        for version in lane.recent(usize::MAX) {
            version.release(WAITS_MAX);
            version.forget_own(OWN_KEPT_MAX);
        }
    }
}
