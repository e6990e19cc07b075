//! Each service as a process of its own: for clusters, and for `up --separate`.

use std::ffi::OsString;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use fabric::{Credentials, Fabric, Identity};
use protocol::{NodeId, PlacementClass};
use store::Store;
use tokio::sync::{oneshot, watch};

use super::child::{PULSE_EVERY, PULSE_LINE, READY_LINE};
use super::nats::{connect, read_credentials};
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
    /// The file with the NATS user's JWT and seed
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

/// Where chunks are.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreArgs {
    /// A folder for chunks; without one they are in JetStream
    #[arg(long, value_name = "DIR")]
    chunks: Option<PathBuf>,
    /// Copies of each chunk in JetStream
    #[arg(long, default_value_t = 3)]
    chunk_replicas: usize,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GatewayArgs {
    #[command(flatten)]
    process: ProcessArgs,
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
    process: ProcessArgs,
    #[command(flatten)]
    store: StoreArgs,
    /// A node of the operator's own; again for more
    #[arg(long, value_name = "ID=NAME", value_parser = parse_local_node)]
    local_node: Vec<control_plane::LocalNode>,
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

/// A node of the operator's own.
pub(crate) fn local_node(id: NodeId, name: &str) -> control_plane::LocalNode {
    control_plane::LocalNode { id, name: name.to_owned(), class: PlacementClass::Operator }
}

fn parse_local_node(text: &str) -> Result<control_plane::LocalNode, String> {
    let (id, name) = text.split_once('=').ok_or("expected ID=NAME")?;
    Ok(local_node(id.parse().map_err(|_| "expected a node's id")?, name))
}

/// Runs one until a signal.
pub(crate) fn run(command: ServiceCommand, global: &Global) -> Result<(), Failure> {
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
            let fabrics =
                gateway::Fabrics { core: args.process.core("").await?, nodes: args.process.core(" for nodes").await? };
            let store = args.store.open(&fabrics.core).await?;
            gateway::serve(*args.config, listener, fabrics, store, sender, stop).await.map_err(|error| failed(&error))
        }
        ServiceCommand::ControlPlane(args) => {
            let fabrics = control_plane::ControlFabrics {
                core: args.process.core("").await?,
                nodes: args.process.core(" for nodes").await?,
            };
            let store = args.store.open(&fabrics.core).await?;
            let config = control_plane::Config { local_nodes: args.local_node, ..*args.config };
            control_plane::serve(config, fabrics, store, sender, stop).await.map_err(|error| failed(&error))
        }
        ServiceCommand::Executor(args) => {
            let fabric = args.process.open(Identity::Node(args.config.node), "").await?;
            let mut config = *args.config;
            config.vm_tools.get_or_insert_with(super::vm_tools);
            executor::serve(config, fabric, sender, stop).await.map_err(|error| failed(&error))
        }
        ServiceCommand::CompileArtifact { .. } => Ok(()),
    }
}

impl ProcessArgs {
    async fn core(&self, suffix: &str) -> Result<Fabric, Failure> {
        self.open(Identity::Core(protocol::InstanceId::new()), suffix).await
    }

    async fn open(&self, identity: Identity, suffix: &str) -> Result<Fabric, Failure> {
        let credentials: Credentials = read_credentials(&self.credentials)?;
        connect(&self.connect, credentials, identity, &format!("{}{suffix}", self.instance_name)).await
    }
}

impl StoreArgs {
    async fn open(&self, fabric: &Fabric) -> Result<Store, Failure> {
        let store = match &self.chunks {
            Some(folder) => Store::disk(folder),
            None => Store::jetstream(fabric.nats().clone(), "cc-chunks", self.chunk_replicas).await,
        };
        store.map_err(|error| Failure::new(Exit::Platform, "store", "The store cannot be opened").why(error))
    }
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
        ServiceCommand::Gateway(args) => Some(&args.process),
        ServiceCommand::ControlPlane(args) => Some(&args.process),
        ServiceCommand::Executor(args) => Some(&args.process),
        ServiceCommand::CompileArtifact { .. } => None,
    }
}

/// Asks the kernel to kill this process with its parent; the parent may be gone already.
fn die_with(parent: u32) -> Result<(), Failure> {
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
        say(PULSE_LINE);
        tokio::time::sleep(PULSE_EVERY).await;
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}
