//! Each service as a process of its own: for clusters, and for `up --separate`.

use std::ffi::OsString;
use std::io::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use control_plane::{LocalJoin, LocalNode, Stores};
use executor::NodeKeys;
use fabric::{Credentials, Fabric, Identity};
use protocol::{InstanceId, NodeId, PlacementClass};
use store::engine::{Disk, Engine, S3};
use store::{Legacy, Store};
use tokio::sync::{oneshot, watch};

use super::child::{MIGRATING_LINE, PULSE_EVERY, PULSE_LINE, READY_LINE};
use super::nats::{connect, read_credentials, read_jwt};
use super::{log, probes, runtime};
use crate::args::Global;
use crate::failure::{Exit, Failure};

/// The services.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ServiceCommand {
    /// The public door
    #[command(hide = true)]
    Gateway(GatewayArgs),
    /// Accounts, functions, nodes, settlement
    #[command(hide = true)]
    ControlPlane(ControlPlaneArgs),
    /// A node
    #[command(hide = true)]
    Executor(ExecutorArgs),
    /// Works for a platform, confined; called by `lend`
    #[command(hide = true)]
    LentWorker(super::lend::WorkerArgs),
    /// Compiles an artifact, with bounds on time and memory; called by the executor
    #[command(hide = true)]
    CompileArtifact {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        rest: Vec<OsString>,
    },
}

/// How a process reaches NATS and its supervisor.
#[derive(Debug, clap::Args)]
pub(crate) struct ProcessArgs {
    /// NATS
    #[arg(long, value_name = "URL", env = "CROWDCLOUD_NATS_URL")]
    connect: String,
    /// The file with the NATS user's JWT and seed; of a node the JWT alone: its seed is in its folder
    #[arg(long, value_name = "FILE", env = "CROWDCLOUD_NATS_CREDENTIALS")]
    credentials: PathBuf,
    /// The connection's name
    #[arg(long, value_name = "NAME", default_value = "crowdcloud")]
    instance_name: String,
    /// The parent process: die with it, and tell it that this one lives
    #[arg(long, hide = true, value_name = "PID")]
    supervisor: Option<u32>,
    /// An address for /healthz, /readyz and /metrics of this process
    #[arg(long, value_name = "ADDR", env = "CROWDCLOUD_METRICS_LISTEN")]
    metrics_listen: Option<SocketAddr>,
}

/// How a process of the core reaches NATS: its own account, and the one where lenders' nodes are.
#[derive(Debug, clap::Args)]
pub(crate) struct CoreArgs {
    #[command(flatten)]
    process: ProcessArgs,
    /// The file with the JWT and seed of a NATS user in the lenders' account
    #[arg(long, value_name = "FILE", env = "CROWDCLOUD_NATS_LENDERS_CREDENTIALS")]
    lenders_credentials: PathBuf,
}

/// Where blobs are.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreArgs {
    /// A folder for blobs, which all control planes and gateways share; again for more disks. Without one, without a bucket
    /// and without --store-nodes, they are in JetStream
    #[arg(long, value_name = "DIR", env = "CROWDCLOUD_STORE_DIR", value_delimiter = ',')]
    store_dir: Vec<PathBuf>,
    /// A bucket for blobs, `https://HOST/BUCKET[/PREFIX]` or `s3://BUCKET`; again for more; `AWS_ACCESS_KEY_ID` and such
    /// say whose
    #[arg(long, value_name = "URL", env = "CROWDCLOUD_STORE_S3", value_delimiter = ',')]
    store_s3: Vec<String>,
    /// Blobs are on the disks of the operator's own nodes: of the executors that have a --store-dir
    #[arg(long, env = "CROWDCLOUD_STORE_NODES", conflicts_with_all = ["store_dir", "store_s3"])]
    store_nodes: bool,
    /// Copies of each blob in these folders and buckets, or on these nodes; no two on one disk or in one bucket. As many as
    /// before where nothing is said, or less: `crowdcloud store copies` lowers it
    #[arg(long, value_name = "N")]
    store_copies: Option<NonZeroUsize>,
    /// Copies of each blob in JetStream
    #[arg(long, value_name = "N", default_value_t = 3)]
    store_replicas: usize,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GatewayArgs {
    #[command(flatten)]
    core: CoreArgs,
    #[command(flatten)]
    store: StoreArgs,
    /// The public address
    #[arg(long, value_name = "ADDR", required_unless_present = "listen_stdin")]
    listen: Option<SocketAddr>,
    /// Standard input is the public socket
    #[arg(long, hide = true)]
    listen_stdin: bool,
    #[command(flatten)]
    config: Box<gateway::Config>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ControlPlaneArgs {
    #[command(flatten)]
    core: CoreArgs,
    #[command(flatten)]
    store: StoreArgs,
    /// The folder in which an earlier release kept chunks: what is in it is put into the store
    #[arg(long, value_name = "DIR")]
    chunks: Option<PathBuf>,
    /// A node of the operator's own, and the file with what it joins with; again for more
    #[arg(long, value_name = "ID=NAME[=FILE]", value_parser = parse_local_node)]
    local_node: Vec<LocalNode>,
    #[command(flatten)]
    config: Box<control_plane::Config>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExecutorArgs {
    #[command(flatten)]
    process: ProcessArgs,
    #[command(flatten)]
    config: Box<executor::Config>,
}

/// The keys of the node with this folder; made where it has none.
pub(crate) fn node_keys(node_data: &Path) -> Result<NodeKeys, Failure> {
    NodeKeys::open(node_data)
        .map_err(|why| Failure::new(Exit::Platform, "node_keys", "The node's keys cannot be used").why(why))
}

/// The node's NATS user: what the platform has signed, with the key that never leaves the node.
pub(crate) fn credentials(keys: &NodeKeys, jwt: String) -> Result<Credentials, Failure> {
    keys.nats()
        .credentials(jwt)
        .map_err(|why| Failure::new(Exit::Platform, "node_keys", "The node's keys cannot be used").why(why))
}

/// A node of the operator's own.
pub(crate) fn local_node(id: NodeId, name: &str, join: Option<LocalJoin>) -> LocalNode {
    LocalNode { id, name: name.to_owned(), class: PlacementClass::Operator, join }
}

fn parse_local_node(text: &str) -> Result<LocalNode, String> {
    let (id, name) = text.split_once('=').ok_or("expected ID=NAME")?;
    let (name, file) = name.split_once('=').map_or((name, None), |(name, file)| (name, Some(file)));
    let join = file.map(|file| -> Result<LocalJoin, String> {
        let text = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
        serde_json::from_slice(&text).map_err(|error| format!("{file}: {error}"))
    });
    Ok(local_node(id.parse().map_err(|_| "expected a node's id")?, name, join.transpose()?))
}

/// Runs one until a signal.
pub(crate) fn run(command: ServiceCommand, global: &Global) -> Result<(), Failure> {
    let command = match command {
        ServiceCommand::LentWorker(args) => return super::lend::work(args, global),
        command => command,
    };
    log::start(global);
    if let Some(pid) = process(&command).and_then(|process| process.supervisor) {
        die_with(pid)?;
    }
    let threads = match &command {
        ServiceCommand::ControlPlane(_) => runtime::Threads::ControlPlane,
        _ => runtime::Threads::RunPath,
    };
    let runtime = runtime::build(threads)?;
    let result = runtime.block_on(Box::pin(serve(command)));
    runtime.shutdown_background();
    result
}

async fn serve(command: ServiceCommand) -> Result<(), Failure> {
    let stop = runtime::stop_on_signals()?;
    let (sender, became_ready) = oneshot::channel();
    let (tell, ready) = watch::channel(false);
    tokio::spawn(async move {
        if became_ready.await.is_ok() {
            // Nobody may look.
            tell.send(true).ok();
        }
    });
    if let Some(process) = process(&command) {
        if process.supervisor.is_some() {
            tokio::spawn(pulse(ready.clone()));
        }
        probes::serve(process.metrics_listen, ready, stop.clone()).await?;
    }
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Platform, "service_failed", "The service cannot go on").why(error)
    };
    match command {
        ServiceCommand::Gateway(args) => {
            let listener = args.listener()?;
            let fabrics = gateway::Fabrics { core: args.core.own().await?, nodes: args.core.among_nodes().await? };
            let store = args.store.open(&fabrics.core).await?;
            gateway::serve(*args.config, listener, fabrics, store, sender, stop).await.map_err(|error| failed(&error))
        }
        ServiceCommand::ControlPlane(args) => {
            let fabrics =
                control_plane::ControlFabrics { core: args.core.own().await?, nodes: args.core.among_nodes().await? };
            let store = args.store.open(&fabrics.core).await?;
            let legacy = args.store.legacy(args.chunks.as_deref(), &fabrics.core).await?;
            let stores = Stores { store, legacy, copies: args.store.copies() };
            let config = control_plane::Config { local_nodes: args.local_node, ..*args.config };
            control_plane::serve(config, fabrics, stores, sender, stop).await.map_err(|error| failed(&error))
        }
        ServiceCommand::Executor(args) => {
            let mut config = *args.config;
            let jwt = read_jwt(&args.process.credentials)?;
            let keys = node_keys(&config.data)?;
            let credentials = credentials(&keys, jwt)?;
            let fabric = args.process.connect(credentials, Identity::Node(config.node), "").await?;
            config.vm_tools.get_or_insert_with(super::vm_tools);
            executor::serve(config, keys.into(), fabric, sender, stop).await.map_err(|error| failed(&error))
        }
        ServiceCommand::LentWorker(_) | ServiceCommand::CompileArtifact { .. } => Ok(()),
    }
}

impl CoreArgs {
    async fn own(&self) -> Result<Fabric, Failure> {
        self.connect(&self.process.credentials, "").await
    }

    async fn among_nodes(&self) -> Result<Fabric, Failure> {
        self.connect(&self.lenders_credentials, " for nodes").await
    }

    async fn connect(&self, file: &Path, suffix: &str) -> Result<Fabric, Failure> {
        self.process.connect(read_credentials(file)?, Identity::Core(InstanceId::new()), suffix).await
    }
}

impl ProcessArgs {
    async fn connect(&self, credentials: Credentials, identity: Identity, suffix: &str) -> Result<Fabric, Failure> {
        connect(&self.connect, credentials, identity, &format!("{}{suffix}", self.instance_name)).await
    }
}

impl StoreArgs {
    async fn open(&self, fabric: &Fabric) -> Result<Store, Failure> {
        let copies = self.copies().unwrap_or(NonZeroUsize::MIN);
        if self.store_nodes {
            return Ok(Store::changing(copies).claimed_only());
        }
        if !self.store_dir.is_empty() || !self.store_s3.is_empty() {
            let mut engines = disks(&self.store_dir);
            for url in &self.store_s3 {
                engines.push(Arc::new(S3::at(url).map_err(|error| no_store(&error))?));
            }
            return Ok(Store::on(engines, copies).claimed_only());
        }
        let store = Store::jetstream(fabric.nats().clone(), "cc-blobs", self.store_replicas).await;
        store.map(Store::claimed_only).map_err(|error| no_store(&error))
    }

    /// How many copies are asked for; a stream has replicas.
    fn copies(&self) -> Option<NonZeroUsize> {
        let has_disks = self.store_nodes || !self.store_dir.is_empty() || !self.store_s3.is_empty();
        self.store_copies.filter(|_| has_disks)
    }

    /// What an earlier release has kept: where it would be.
    async fn legacy(&self, chunks: Option<&Path>, fabric: &Fabric) -> Result<Option<Legacy>, Failure> {
        match chunks {
            Some(folder) => Ok(Some(Legacy::disk(folder))),
            None if self.store_dir.is_empty() && !self.store_nodes => {
                let legacy = Legacy::jetstream(fabric.nats().clone(), "cc-chunks").await;
                legacy.map(Some).map_err(|error| no_store(&error))
            }
            None => Ok(None),
        }
    }
}

/// A store in these folders, with so many copies of each blob.
pub(crate) fn on_disks(folders: &[PathBuf], copies: NonZeroUsize) -> Store {
    Store::on(disks(folders), copies).claimed_only()
}

/// One that fails does not end a start: the others may be enough.
fn disks(folders: &[PathBuf]) -> Vec<Arc<dyn Engine>> {
    folders.iter().map(|folder| Arc::new(Disk::at(folder)) as Arc<dyn Engine>).collect()
}

fn no_store(why: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Platform, "store", "The store cannot be opened").why(why)
}

impl GatewayArgs {
    fn listener(&self) -> Result<tokio::net::TcpListener, Failure> {
        let listener = match self.listen {
            Some(address) => std::net::TcpListener::bind(address).map_err(|why| {
                Failure::new(Exit::Conflict, "port", format!("{address} cannot be listened on")).why(why)
            })?,
            None => std::net::TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned()?),
        };
        listener.set_nonblocking(true)?;
        Ok(tokio::net::TcpListener::from_std(listener)?)
    }
}

fn process(command: &ServiceCommand) -> Option<&ProcessArgs> {
    match command {
        ServiceCommand::Gateway(args) => Some(&args.core.process),
        ServiceCommand::ControlPlane(args) => Some(&args.core.process),
        ServiceCommand::Executor(args) => Some(&args.process),
        ServiceCommand::LentWorker(_) | ServiceCommand::CompileArtifact { .. } => None,
    }
}

/// Asks the kernel to kill this process with its parent; the parent may be gone already.
pub(crate) fn die_with(parent: u32) -> Result<(), Failure> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(std::io::Error::from)?;
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if now == Some(parent) { Ok(()) } else { Err(Failure::new(Exit::Platform, "orphan", "The supervisor has gone")) }
}

/// Tells the supervisor that this process lives. When nobody listens any more, it ends.
async fn pulse(ready: watch::Receiver<bool>) {
    let mut told = false;
    loop {
        if !told && *ready.borrow() {
            told = true;
            say(READY_LINE);
        }
        say(if control_plane::is_migrating() { MIGRATING_LINE } else { PULSE_LINE });
        tokio::time::sleep(PULSE_EVERY).await;
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}
