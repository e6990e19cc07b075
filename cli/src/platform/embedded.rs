//! The whole platform in one process. The parts share nothing but the fabric and the store's folder; the local node
//! has exactly a lender's credentials, on a connection of its own.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use control_plane::Stores;
use executor::NodeKeys;
use fabric::{Fabric, Identity};
use store::Legacy;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::nats::{Nats, connect};
use super::parts::{Settings, parse};
use super::ready::{READY_WITHIN, time_is_over};
use super::runtime::{Beside, Threads};
use super::service::{credentials, node_keys, on_disks};
use crate::failure::{Exit, Failure};

/// A local node that is refused asks again after this.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// How long each part may take to stop: together less than the five seconds that Ctrl-C has.
pub(super) const GATEWAY_STOPS_WITHIN: Duration = Duration::from_millis(2000);
pub(super) const NODE_STOPS_WITHIN: Duration = Duration::from_millis(1200);
pub(super) const CONTROL_PLANE_STOPS_WITHIN: Duration = Duration::from_millis(800);
pub(super) const NATS_STOPS_WITHIN: Duration = Duration::from_millis(800);

/// A running platform.
pub(crate) struct Embedded {
    pub(crate) settings: Settings,
    nats: Nats,
    gateway: Part,
    executor: Part,
    control_plane: Part,
    /// Where the control plane runs.
    _beside: Beside,
    /// Cancelled when a part has ended by itself.
    broken: CancellationToken,
}

/// One service in this process.
struct Part {
    name: &'static str,
    stop: CancellationToken,
    /// One task: the service, which says why it has ended.
    task: JoinSet<()>,
    ended: std::sync::Arc<std::sync::Mutex<Option<String>>>,
}

impl Part {
    /// Starts a service on these threads; whenever it ends without being asked to, `broken` is cancelled.
    fn start<E: std::fmt::Display>(
        name: &'static str,
        threads: &Handle,
        stop: CancellationToken,
        broken: CancellationToken,
        service: impl Future<Output = Result<(), E>> + Send + 'static,
    ) -> Self {
        let ended = std::sync::Arc::new(std::sync::Mutex::new(None));
        let (why, asked) = (ended.clone(), stop.clone());
        let mut task = JoinSet::new();
        let service = Box::pin(service);
        let watched = async move {
            let result = service.await;
            if !asked.is_cancelled() {
                let text = result.err().map_or_else(|| "it has ended".to_owned(), |error| error.to_string());
                *why.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(text);
                broken.cancel();
            }
        };
        task.spawn_on(watched, threads);
        Self { name, stop, task, ended }
    }

    fn failure(&self) -> Option<Failure> {
        let why = self.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()?;
        Some(Failure::new(Exit::Platform, "part_failed", format!("The {} cannot go on", self.name)).why(why))
    }

    async fn stop(mut self, within: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(within, self.task.join_next()).await.is_err() {
            tracing::warn!(part = self.name, "shutdown grace period exceeded");
        }
    }
}

impl Embedded {
    /// Starts everything; returns when it can be used.
    pub(crate) async fn start(mut settings: Settings) -> Result<Self, Failure> {
        let listener = tokio::net::TcpListener::from_std(settings.bind()?)?;
        // Figures count from the first part on.
        gateway::recorder();
        let nats = Nats::start(&settings).await?;
        write_pids(&settings, &nats);
        let store = on_disks(&[settings.data.join("store")], NonZeroUsize::MIN);
        let legacy = Some(Legacy::disk(settings.data.join("chunks")));
        let (run_path, beside) = (Handle::current(), Beside::start(Threads::ControlPlane)?);
        let broken = CancellationToken::new();
        let mut waiting = Vec::new();
        let mut ready = || {
            let (sender, receiver) = oneshot::channel();
            waiting.push(receiver);
            sender
        };

        let mut config: control_plane::Config = parse("control-plane", settings.control_plane())?;
        let node = settings.data.node(1)?;
        let node_config: executor::Config = parse("executor", settings.executor(1)?)?;
        let keys = node_keys(&node_config.data)?;
        let join = super::join::local(&node_config, &keys)?;
        config.local_nodes = vec![super::service::local_node(node, "local-1", Some(join))];
        // What comes over them is handled where they were opened.
        let fabrics = control_plane::ControlFabrics {
            core: beside.within(nats.core("control-plane")).await?,
            nodes: beside.within(nats.among_nodes("control-plane for nodes")).await?,
        };
        let stop = CancellationToken::new();
        let stores = Stores { store: store.clone(), legacy, copies: Some(NonZeroUsize::MIN) };
        let service = control_plane::serve(config, fabrics, stores, ready(), stop.clone());
        let control_plane = Part::start("control plane", beside.handle(), stop, broken.clone(), service);

        let credentials = credentials(&keys, nats.node_jwt(node, keys.nats())?)?;
        let fabric = connect(&nats.url, credentials, Identity::Node(node), "node local-1").await?;
        let stop = CancellationToken::new();
        let service = local_node(node_config, fabric, ready(), stop.clone());
        let executor = Part::start("local node", &run_path, stop, broken.clone(), service);

        let mut config: gateway::Config = parse("gateway", settings.gateway(1))?;
        config.nats_websocket = config.nats_websocket.or_else(|| nats.websocket());
        let fabrics =
            gateway::Fabrics { core: nats.core("gateway").await?, nodes: nats.among_nodes("gateway for nodes").await? };
        let stop = CancellationToken::new();
        let service = gateway::serve(config, listener, fabrics, store, ready(), stop.clone());
        let gateway = Part::start("gateway", &run_path, stop, broken.clone(), service);

        let platform = Self { settings, nats, gateway, executor, control_plane, _beside: beside, broken };
        match platform.ready(waiting).await {
            Ok(()) => Ok(platform),
            Err(failure) => {
                platform.stop().await;
                Err(failure)
            }
        }
    }

    async fn ready(&self, waiting: Vec<oneshot::Receiver<()>>) -> Result<(), Failure> {
        let all = async {
            for part in waiting {
                if part.await.is_err() {
                    // It has ended: the reason follows at once.
                    self.broken.cancelled().await;
                }
            }
        };
        tokio::select! {
            () = all => Ok(()),
            () = self.broken.cancelled() => Err(self.why_broken()),
            () = time_is_over(READY_WITHIN, control_plane::is_migrating) => {
                Err(Failure::new(Exit::Timeout, "not_ready", "The platform did not become ready within a minute")
                    .help("try again with -v to see what it waits for"))
            }
        }
    }

    fn why_broken(&self) -> Failure {
        let parts = [&self.control_plane, &self.executor, &self.gateway];
        let known = parts.into_iter().filter_map(Part::failure).next();
        known.unwrap_or_else(|| Failure::new(Exit::Platform, "part_failed", "A part of the platform cannot go on"))
    }

    /// Until the signal, or until a part has ended by itself.
    pub(crate) async fn wait(&self, stop: &CancellationToken) -> Result<(), Failure> {
        let mut pid = self.nats.pid();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.broken.cancelled() => return Err(self.why_broken()),
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
            if pid != self.nats.pid() {
                pid = self.nats.pid();
                write_pids(&self.settings, &self.nats);
            }
        }
    }

    /// Drains the gateway, then stops what it needs: the node while its last receipts are still taken, NATS last.
    pub(crate) async fn stop(self) {
        self.gateway.stop(GATEWAY_STOPS_WITHIN).await;
        self.executor.stop(NODE_STOPS_WITHIN).await;
        self.control_plane.stop(CONTROL_PLANE_STOPS_WITHIN).await;
        drop(tokio::time::timeout(NATS_STOPS_WITHIN, self.nats.stop()).await);
        drop(self.settings);
    }
}

/// The local node. While the platform refuses it, which its operator can do, all else goes on without it.
async fn local_node(
    config: executor::Config,
    fabric: Fabric,
    ready: oneshot::Sender<()>,
    stop: CancellationToken,
) -> Result<(), executor::Error> {
    let mut ready = Some(ready);
    loop {
        let (sender, is_ready) = oneshot::channel();
        let keys = NodeKeys::open(&config.data).map_err(executor::Error::Folder)?;
        let serving = Box::pin(executor::serve(config.clone(), keys.into(), fabric.clone(), sender, stop.clone()));
        let told = async {
            if is_ready.await.is_ok()
                && let Some(ready) = ready.take()
            {
                ready.send(()).ok();
            }
            std::future::pending().await
        };
        let served = tokio::select! {
            served = serving => served,
            never = told => never,
        };
        let Err(executor::Error::Refused(problem)) = served else { return served };
        tracing::error!(%problem, "the platform refuses the local node");
        if let Some(ready) = ready.take() {
            ready.send(()).ok();
        }
        tokio::select! {
            () = tokio::time::sleep(REFUSED_FOR) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

fn write_pids(settings: &Settings, nats: &Nats) {
    let mut pids = BTreeMap::from([("up".to_owned(), std::process::id())]);
    if let Some(pid) = nats.pid() {
        pids.insert("nats-server".to_owned(), pid);
    }
    super::data::write_pids(&settings.data.join("run/pids.json"), &pids);
}
