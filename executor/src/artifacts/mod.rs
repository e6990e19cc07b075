//! What a node has of versions: descriptions and programs in memory, machine code on disk, the rest a fetch away.
//!
//! The run path reads two maps without a lock. What is missing there is brought once, however many runs wait.

pub(crate) mod cache;
pub(crate) mod evict;
pub(crate) mod fetch;
mod lru;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fabric::Fabric;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use protocol::node::Prepared;
use protocol::ticket::{SignedTicket, Ticket};
use protocol::{AccountId, ArtifactForm, ByteSize, Code, Digest, Problem, VersionId};
use wasm_host::Through;

use self::cache::{Compiled, DiskCache};
pub(crate) use self::lru::Lru;
use crate::compile::Compiler;
use crate::config::Config;
use crate::egress::{EgressRules, Ways};
use crate::wasm::{Format, Lane, Program, Surroundings};

/// Descriptions that are remembered.
const VERSIONS_MAX: u64 = 4096;

/// A program that is ready to run.
pub(crate) struct Loaded {
    pub(crate) program: Program,
    format: Format,
    compile_ms: u64,
    code_size: u64,
    /// Whether it was fetched and compiled for this, or was on disk.
    fetched: bool,
}

/// What several wait for, and one brings.
pub(crate) type Flight<T> = Shared<BoxFuture<'static, Result<Arc<T>, Problem>>>;

/// All of a node's versions.
pub(crate) struct Library {
    fabric: Fabric,
    lane: Arc<Lane>,
    disk: DiskCache,
    compiler: Compiler,
    artifact_max: ByteSize,
    ways: Ways,
    programs: Lru<Digest, Loaded>,
    versions: Lru<VersionId, Surroundings>,
    program_flights: Mutex<HashMap<Digest, Flight<Loaded>>>,
    version_flights: Mutex<HashMap<VersionId, Flight<Surroundings>>>,
}

impl Library {
    /// Opens the node's cache.
    pub(crate) fn open(
        config: &Config,
        key: [u8; 32],
        fabric: Fabric,
        lane: Arc<Lane>,
        compiler: Compiler,
        egress: Arc<AtomicBool>,
    ) -> std::io::Result<Arc<Self>> {
        let mut hasher = DefaultHasher::new();
        lane.host.engine().precompile_compatibility_hash().hash(&mut hasher);
        let engine = format!("{:016x}", hasher.finish());
        let disk = DiskCache::open(&config.data.join("artifacts"), key, engine, config.cache)?;
        Ok(Arc::new(Self {
            fabric,
            lane,
            disk,
            compiler,
            artifact_max: config.artifact_max,
            ways: Ways::new(config, egress),
            programs: Lru::new(config.code.0),
            versions: Lru::new(VERSIONS_MAX),
            program_flights: Mutex::default(),
            version_flights: Mutex::default(),
        }))
    }

    /// What a run needs, where all of it is in memory.
    pub(crate) fn warm(&self, ticket: &Ticket) -> Option<(Arc<Loaded>, Arc<Surroundings>)> {
        Some((self.programs.get(&ticket.artifact)?, self.versions.get(&ticket.version)?))
    }

    /// What a run needs, fetched and compiled where it must be; and whether it had to be.
    pub(crate) async fn get(
        self: &Arc<Self>,
        ticket: &Ticket,
        signed: &SignedTicket,
    ) -> Result<(Arc<Loaded>, Arc<Surroundings>, bool), Problem> {
        let version = self.version(ticket, signed);
        let program = self.program(ticket, signed);
        let (version, (program, fetched)) = futures::future::try_join(version, program).await?;
        Ok((program, version, fetched))
    }

    /// Whether the program is in memory. What a run finds around it is small, and fetched with the first run's own ticket.
    pub(crate) fn is_loaded(&self, ticket: &Ticket) -> bool {
        self.programs.get(&ticket.artifact).is_some()
    }

    /// Fetches, checks and compiles, so that a version becomes ready.
    pub(crate) async fn prepare(self: &Arc<Self>, ticket: &Ticket, signed: &SignedTicket) -> Result<Prepared, Problem> {
        let (loaded, _) = self.program(ticket, signed).await?;
        Ok(Prepared {
            kind: loaded.format.kind(),
            format: loaded.format.describe().to_owned(),
            compile_ms: loaded.compile_ms,
            code_size: ByteSize(loaded.code_size),
            form: ArtifactForm::Wasm,
            notes: Vec::new(),
        })
    }

    /// The artifacts that a run would start warm with, the most recent first.
    pub(crate) fn warm_digests(&self, count_max: usize) -> Vec<Digest> {
        self.programs.recent(count_max)
    }

    /// The artifacts whose machine code is on disk, the most recent first.
    pub(crate) async fn cached_digests(&self, count_max: usize) -> Vec<Digest> {
        let disk = self.disk.clone();
        listed(move || disk.recent(count_max)).await
    }

    /// Disk space that machine code has.
    pub(crate) fn disk_used(&self) -> ByteSize {
        self.disk.used()
    }

    /// Machine code has so much disk space at most from now on.
    pub(crate) fn lend_disk(&self, limit: ByteSize) {
        let disk = self.disk.clone();
        if disk.set_limit(limit) {
            tokio::task::spawn_blocking(move || disk.shrink());
        }
    }

    async fn version(self: &Arc<Self>, ticket: &Ticket, signed: &SignedTicket) -> Result<Arc<Surroundings>, Problem> {
        let id = ticket.version;
        if let Some(found) = self.versions.get(&id) {
            return Ok(found);
        }
        let (library, signed, artifact) = (Arc::clone(self), signed.clone(), ticket.artifact);
        let account = ticket.account;
        let bring = async move {
            let spec = fetch::spec(&library.fabric, id, &signed).await?;
            if spec.artifact != artifact || spec.version != id {
                return Err(Problem::new(Code::NodeFailed, "the version's spec is not the ticket's"));
            }
            library.ways.allow(&spec.egress)?;
            let egress = Arc::new(Through::new(EgressRules::parse(&spec.egress).of(account, &library.ways)));
            let surroundings = Arc::new(Surroundings { env: spec.env.into_iter().collect(), egress });
            library.versions.put(id, Arc::clone(&surroundings), 1, Some(account));
            Ok(surroundings)
        };
        fly(&self.version_flights, id, bring).await
    }

    async fn program(self: &Arc<Self>, ticket: &Ticket, signed: &SignedTicket) -> Result<(Arc<Loaded>, bool), Problem> {
        let (digest, account) = (ticket.artifact, ticket.account);
        if let Some(found) = self.programs.get(&digest) {
            return Ok((found, false));
        }
        let (library, signed) = (Arc::clone(self), signed.clone());
        let bring = async move {
            let loaded = Arc::new(library.bring(digest, account, &signed).await?);
            library.programs.put(digest, Arc::clone(&loaded), loaded.code_size, Some(account));
            Ok(loaded)
        };
        let brought = fly(&self.program_flights, digest, bring).await?;
        let fetched = brought.fetched;
        Ok((brought, fetched))
    }

    async fn bring(
        self: &Arc<Self>,
        digest: Digest,
        account: AccountId,
        signed: &SignedTicket,
    ) -> Result<Loaded, Problem> {
        let library = Arc::clone(self);
        if let Some(loaded) = blocking(move || library.disk.get(digest).map(|code| library.load(&code, false))).await? {
            return loaded;
        }
        let slot = self.compiler.slot(account).await?;
        let (artifact, code) = (self.disk.scratch(&format!("{digest}.wasm")), self.disk.scratch(&digest.to_string()));
        let compiled = async {
            fetch::artifact(&self.fabric, digest, self.artifact_max, signed, &artifact).await?;
            self.compiler.compile(&slot, &artifact, &code).await
        }
        .await;
        drop(tokio::fs::remove_file(&artifact).await);
        let report = compiled?;
        let library = Arc::clone(self);
        blocking(move || {
            let bytes = std::fs::read(&code).map_err(|error| Problem::new(Code::NodeFailed, error.to_string()))?;
            drop(std::fs::remove_file(&code));
            let compiled = Compiled { format: report.format, compile_ms: report.compile_ms, code: bytes };
            let loaded = library.load(&compiled, true)?;
            if let Err(error) = library.disk.put(digest, &compiled, Some(account)) {
                tracing::warn!(%error, "a compiled artifact cannot be kept on disk");
            }
            Ok(loaded)
        })
        .await?
    }

    fn load(&self, compiled: &Compiled, fetched: bool) -> Result<Loaded, Problem> {
        // SAFETY: the code comes from this node's own compiler: just now, or out of the cache that has checked it.
        #[allow(unsafe_code, reason = "machine code of this node's own making")]
        let linked = unsafe { self.lane.host.load(compiled.format, &compiled.code) };
        // What the look at the names could not see: a function that an offered interface does not have.
        let program = linked.map_err(|error| Problem::new(Code::UnknownImport, format!("{error:#}")))?;
        let code_size = u64::try_from(compiled.code.len()).unwrap_or(u64::MAX);
        Ok(Loaded { program, format: compiled.format, compile_ms: compiled.compile_ms, code_size, fetched })
    }
}

/// One task brings it for all who wait, and goes on when they give up.
pub(crate) async fn fly<K, T, F>(flights: &Mutex<HashMap<K, Flight<T>>>, key: K, bring: F) -> Result<Arc<T>, Problem>
where
    K: std::hash::Hash + Eq + Copy,
    T: Send + Sync + 'static,
    F: Future<Output = Result<Arc<T>, Problem>> + Send + 'static,
{
    let flight = flights
        .lock()
        .entry(key)
        .or_insert_with(|| {
            let task = tokio::spawn(bring);
            async move { task.await.unwrap_or_else(|error| Err(Problem::new(Code::NodeFailed, error.to_string()))) }
                .boxed()
                .shared()
        })
        .clone();
    let result = flight.await;
    flights.lock().remove(&key);
    result
}

/// Nothing where it cannot be listed: then those who place runs know less.
pub(crate) async fn listed(list: impl FnOnce() -> std::io::Result<Vec<Digest>> + Send + 'static) -> Vec<Digest> {
    let listed = blocking(list).await.unwrap_or_else(|problem| Err(std::io::Error::other(problem.detail)));
    listed.unwrap_or_else(|error| {
        tracing::warn!(%error, "what is on disk cannot be listed");
        Vec::new()
    })
}

pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::new(Code::NodeFailed, error.to_string()))
}
