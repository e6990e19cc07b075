//! The platform on this machine: `up` in one process or as supervised processes, and each service alone.

mod check;
mod child;
mod data;
mod embedded;
mod folder_lock;
mod hello;
mod https;
mod join;
mod lend;
mod log;
mod nats;
mod parts;
mod probes;
mod ready;
mod replicas;
mod runtime;
mod separate;
mod service;

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::args::{Global, LENT, LentFlags};
use crate::failure::Failure;

pub(crate) use data::pids;
pub(crate) use lend::{Joined, joined, lend, own_node_folder};
pub(crate) use nats::binary as nats_binary;
pub(crate) use service::ServiceCommand;

/// Local nodes of one platform.
const EXECUTORS_MAX: u16 = 64;

/// `up`
#[derive(Debug, Clone, clap::Args)]
#[command(group = clap::ArgGroup::new("processes").args(["separate", "replicas"]).multiple(true))]
pub(crate) struct UpArgs {
    /// The folder with all data
    #[arg(long, value_name = "DIR", env = "CROWDCLOUD_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// The address of the one public port (127.0.0.1:8080)
    #[arg(long, value_name = "ADDR", env = "CROWDCLOUD_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// Start, deploy, call, print the answer, stop
    #[arg(long)]
    pub(crate) check: bool,
    /// Run each service as a process of its own, started again when it dies or hangs
    #[arg(long)]
    pub(crate) separate: bool,
    /// Copies of each blob, on the folders of as many executors; more than one needs --executors, and means --separate
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=8))]
    pub(crate) replicas: u16,
    /// Executors, with --separate
    #[arg(
        long,
        default_value_t = 1,
        requires = "processes",
        value_parser = clap::value_parser!(u16).range(1..=i64::from(EXECUTORS_MAX))
    )]
    pub(crate) executors: u16,
    /// Gateways, with --separate; they share the public port
    #[arg(long, default_value_t = 1, requires = "processes", value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(crate) gateways: u16,
    /// Control planes, with --separate: one leads, the others take over
    #[arg(long, default_value_t = 1, requires = "processes", value_parser = clap::value_parser!(u16).range(1..=8))]
    pub(crate) control_planes: u16,
    /// The domain of functions' own hosts (localhost)
    #[arg(long, value_name = "DOMAIN", env = "CROWDCLOUD_FUNCTIONS_DOMAIN")]
    pub(crate) functions_domain: Option<String>,
    /// A host that it answers at, beside localhost and the listening address; again for more, `*` for any
    #[arg(long = "host", value_name = "HOST", env = "CROWDCLOUD_HOSTS", value_delimiter = ',')]
    pub(crate) hosts: Vec<String>,
    /// The certificate chain of HTTPS on the public port, as PEM; without one it speaks plain HTTP
    #[arg(long, value_name = "FILE", env = "CROWDCLOUD_TLS_CERTIFICATE", requires = "tls_key")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// The certificate's private key, as PEM
    #[arg(long, value_name = "FILE", env = "CROWDCLOUD_TLS_KEY", requires = "tls_certificate")]
    pub(crate) tls_key: Option<PathBuf>,
    /// HTTPS with a certificate that is made at each start
    #[arg(long, env = "CROWDCLOUD_TLS_SELF_SIGNED", conflicts_with = "tls_certificate")]
    pub(crate) tls_self_signed: bool,
    /// The first address for figures and health, with --separate: each process has the next port (free ones)
    #[arg(long, value_name = "ADDR", env = "CROWDCLOUD_METRICS_LISTEN")]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// A NATS server of your own, instead of a child process
    #[arg(long, value_name = "URL", env = "CROWDCLOUD_NATS_URL")]
    pub(crate) nats_url: Option<String>,
    /// The folder with the keys that the server of your own trusts (DATA/keys)
    #[arg(long, value_name = "DIR", env = "CROWDCLOUD_NATS_KEYS")]
    pub(crate) nats_keys: Option<PathBuf>,
    /// The port of the nats-server child (a free one)
    #[arg(long, value_name = "ADDR", env = "CROWDCLOUD_NATS_LISTEN")]
    pub(crate) nats_listen: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) lent: LentFlags,
    /// No connections of functions to other hosts
    #[arg(long, help_heading = LENT)]
    pub(crate) no_egress: bool,
}

impl UpArgs {
    /// Whether each service is a process of its own: where that is said, or something else asks for it.
    pub(crate) fn is_separate(&self) -> bool {
        self.separate
            || [self.replicas, self.executors, self.gateways, self.control_planes].iter().any(|many| *many > 1)
    }
}

/// Where the VM lane's parts are, unless somebody says otherwise.
pub(crate) fn vm_tools() -> PathBuf {
    let named = std::env::var_os("CROWDCLOUD_VM_TOOLS").filter(|value| !value.is_empty());
    named.map_or_else(componentize::cache_dir, PathBuf::from)
}

/// `crowdcloud up`
pub(crate) fn up(args: &UpArgs, global: &Global) -> Result<(), Failure> {
    log::start(global);
    let runtime = runtime::build(runtime::Threads::RunPath)?;
    let result = runtime.block_on(async {
        if args.check { Box::pin(check::run(args, global)).await } else { Box::pin(run(args, global)).await }
    });
    runtime.shutdown_background();
    result
}

/// A service alone.
pub(crate) fn service(command: ServiceCommand, global: &Global) -> Result<(), Failure> {
    service::run(command, global)
}

/// Starts, says what to do next, waits for a signal, stops.
async fn run(args: &UpArgs, global: &Global) -> Result<(), Failure> {
    let stop = runtime::stop_on_signals()?;
    let output = crate::output::Output::new(global);
    let settings = parts::Settings::read(args, None)?;
    let spinner = output.spinner("starting");
    let running = tokio::select! {
        running = Running::start(settings) => running?,
        () = stop.cancelled() => return Ok(()),
    };
    spinner.finish_and_clear();
    if let Err(failure) = parts::welcome(&output, running.settings(), running.probes()) {
        // Nobody knows where it is: it would run unseen.
        running.stop().await;
        return Err(failure);
    }
    if let Some(text) = Box::pin(https::text(running.settings())).await {
        output.note(text);
    }
    if let Some(why) = running.settings().vm_missing()? {
        output.note(match why {
            executor::VmMissing::ForGood(why) => format!("functions run in the wasm lane alone; no VM lane: {why}"),
            executor::VmMissing::Yet(why) => format!(
                "functions run in the wasm lane alone for now; the VM lane comes without a restart once its parts are \
                 there: {why}"
            ),
        });
    }
    let ended = running.wait(&stop).await;
    output.note("stopping");
    running.stop().await;
    ended
}

/// A platform that runs.
enum Running {
    Embedded(Box<embedded::Embedded>),
    Separate(Box<separate::Separate>),
}

impl Running {
    async fn start(settings: parts::Settings) -> Result<Self, Failure> {
        replicas::check(&settings)?;
        if settings.args.is_separate() {
            Ok(Self::Separate(Box::new(Box::pin(separate::Separate::start(settings)).await?)))
        } else {
            Ok(Self::Embedded(Box::new(Box::pin(embedded::Embedded::start(settings)).await?)))
        }
    }

    fn settings(&self) -> &parts::Settings {
        match self {
            Self::Embedded(platform) => &platform.settings,
            Self::Separate(platform) => &platform.settings,
        }
    }

    /// Where each process tells how it is; nothing where all are one process.
    fn probes(&self) -> &[(String, SocketAddr)] {
        match self {
            Self::Embedded(_) => &[],
            Self::Separate(platform) => &platform.probes,
        }
    }

    /// Until the signal, or until a part has ended by itself.
    async fn wait(&self, stop: &tokio_util::sync::CancellationToken) -> Result<(), Failure> {
        match self {
            Self::Embedded(platform) => platform.wait(stop).await,
            Self::Separate(_) => {
                stop.cancelled().await;
                Ok(())
            }
        }
    }

    async fn stop(self) {
        match self {
            Self::Embedded(platform) => platform.stop().await,
            Self::Separate(platform) => platform.stop().await,
        }
    }
}
