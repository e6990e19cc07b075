//! Wires a gateway: opens the spool, starts what listens and reports, then accepts until told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fabric::metric_names::LearningNames;
use fabric::profile::{self, Part};
use fabric::subjects;
use placing::{Learning, Placing};
use protocol::InstanceId;
use store::{NodeDisks, Store};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::core_client::CoreClient;
use crate::epochs::Epochs;
use crate::error::Error;
use crate::finite::Bounds;
use crate::hosts::Hosts;
use crate::install::Installer;
use crate::issuer::{self, Issuer};
use crate::keys::Keys;
use crate::meters::{self, Meters};
use crate::mirror::{Sink, mirror};
use crate::models::Models;
use crate::node_connections::NodeConnections;
use crate::nodes::NodeRecords;
use crate::refusals::Refusals;
use crate::routes::Routes;
use crate::spool::Spool;
use crate::state::{Fabrics, Gateway};
use crate::tls::Tls;
use crate::{accept, pulse};

/// Histograms are folded so often.
const UPKEEP_EACH: Duration = Duration::from_secs(5);
/// Nodes get so long to say what cut runs used.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(400);
/// The control plane is asked so often whether it is there, and has so long to answer.
const ASK_AGAIN: Duration = Duration::from_millis(50);
const ASK_WITHIN: Duration = Duration::from_millis(500);
/// Background tasks get so long to end.
const TASKS_END_WITHIN: Duration = Duration::from_secs(2);

/// Runs a gateway on `listener` until `shutdown`. `ready` is told when routes have been read once, and so requests
/// find their functions in memory, and the control plane has answered: with the keys of tickets, and that it is ready.
///
/// # Errors
/// When a setting is out of range, or the certificate or the spool's folder cannot be used.
pub async fn serve(
    config: Config,
    listener: TcpListener,
    fabrics: Fabrics,
    store: Store,
    ready: oneshot::Sender<()>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    config.check().map_err(Error::Config)?;
    let recorder = meters::recorder();
    let meters = Arc::new(Meters::new());
    let (spool, spool_tasks) = Spool::open(&config, Arc::clone(&meters))?;
    let (instance, issuer) = (InstanceId::new(), Arc::new(Issuer::default()));
    let placing =
        Placing::new(config.placing(), instance, Learning::new(&LearningNames::GATEWAY), Arc::<Issuer>::clone(&issuer));
    let core = CoreClient::new(fabrics.core.clone());
    let epochs = Arc::new(Epochs::new(core.clone(), instance, store.clone()));
    let tls = Tls::open(&config).map_err(Error::Config)?.map(Arc::new);
    let node_connections = Arc::new(NodeConnections::new(&config));
    let gateway = Arc::new(Gateway {
        instance,
        keys: Arc::new(Keys::new(&config, core.clone(), Arc::clone(&meters))),
        routes: Arc::new(Routes::new(&config, core.clone(), Arc::clone(&meters))),
        placing: Arc::clone(&placing),
        core: core.clone(),
        fabrics: fabrics.clone(),
        store,
        epochs: Arc::clone(&epochs),
        spool,
        meters,
        issuer: Arc::clone(&issuer),
        warmed_up: AtomicBool::new(false),
        draining: Arc::default(),
        cut: CancellationToken::new(),
        concluding: TaskTracker::new(),
        leaving: CancellationToken::new(),
        port: listener.local_addr().map_or(0, |address| address.port()),
        hosts: Hosts::new(&config.hosts, config.public_url.as_deref(), &config.functions_domain),
        connections: Arc::default(),
        strangers: Arc::default(),
        bounds: Bounds::new(&config),
        refusals: Refusals::new(&config),
        tls: tls.clone(),
        node_connections: Arc::clone(&node_connections),
        installer: Installer::new(),
        config,
    });

    let tasks = TaskTracker::new();
    // The background goes on until the last request is answered.
    let stop = CancellationToken::new();
    let nats = fabrics.core.nats().clone();
    let behind = Arc::new(Notify::new());
    let (warm, warmed_up) = oneshot::channel();
    let routes = Arc::new(Warming { routes: Arc::clone(&gateway.routes), warm: parking_lot::Mutex::new(Some(warm)) });
    tasks.spawn(mirror(nats.clone(), subjects::ROUTES_BUCKET, routes, Arc::clone(&behind), stop.clone()));
    let Placing { nodes, learning, .. } = &*placing;
    let disks = NodeDisks::of(&gateway.store, &fabrics.nodes);
    let records = NodeRecords::new(Arc::clone(&placing), fabrics.nodes.clone(), node_connections, disks);
    let records = Arc::new(records);
    tasks.spawn(mirror(nats.clone(), subjects::NODES_BUCKET, records, Arc::default(), stop.clone()));
    let models = Arc::new(Models(Arc::clone(learning)));
    tasks.spawn(mirror(nats, subjects::MODELS_BUCKET, models, Arc::default(), stop.clone()));
    tasks.spawn(placing::learning::run(Arc::clone(learning), gateway.store.clone(), stop.clone()));
    let keys = issuer::follow(issuer, core.clone());
    tasks.spawn(stop.clone().run_until_cancelled_owned(keys));
    tasks.spawn(stop.clone().run_until_cancelled_owned(async move { epochs.tend().await }));
    tasks.spawn(placing::age(Arc::clone(nodes), stop.clone()));
    tasks.spawn(placing::hear_boots(fabrics.nodes.clone(), stop.clone()));
    let heard = Arc::clone(nodes);
    let heard = move |report, now| heard.heard(report, now);
    tasks.spawn(placing::hear_reports(fabrics.nodes.clone(), heard, stop.clone()));
    let (keys, routes) = (Arc::clone(&gateway.keys), Arc::clone(&gateway.routes));
    let behind_max = gateway.config.routes_behind.duration();
    tasks.spawn(pulse::hear_control(fabrics.core.clone(), keys, routes, behind, behind_max, stop.clone()));
    let (routes, draining) = (Arc::clone(&gateway.routes), Arc::clone(&gateway.draining));
    tasks.spawn(pulse::pulse(fabrics.core, gateway.instance, routes, draining, stop.clone()));
    tasks.spawn(profile::around(Part::Bookkeeping, spool_tasks.run(core.settlement(), stop.clone())));
    if let Some(tls) = tls {
        tasks.spawn(tls.follow(stop.clone()));
    }
    if let Some(recorder) = recorder {
        tasks.spawn(upkeep(recorder, stop.clone()));
    }
    let starting = Arc::clone(&gateway);
    let announce = async move {
        if warmed_up.await.is_ok() {
            while !(starting.issuer.is_ready() && starting.core.is_ready(ASK_WITHIN).await) {
                tokio::time::sleep(ASK_AGAIN).await;
            }
            starting.warmed_up.store(true, Ordering::Relaxed);
            ready.send(()).unwrap_or_else(|()| tracing::debug!("nobody waits for ready"));
        }
    };
    tasks.spawn(stop.clone().run_until_cancelled_owned(announce));

    accept::serve(Arc::clone(&gateway), listener, shutdown).await;
    gateway.concluding.close();
    if tokio::time::timeout(LAST_WORDS_WITHIN, gateway.concluding.wait()).await.is_err() {
        gateway.leaving.cancel();
        gateway.concluding.wait().await;
    }
    // Nodes may have had the last runs of this gateway through this gateway.
    gateway.node_connections.close().await;
    stop.cancel();
    tasks.close();
    if tokio::time::timeout(TASKS_END_WITHIN, tasks.wait()).await.is_err() {
        tracing::warn!(left = tasks.len(), "background tasks did not end in time");
    }
    Ok(())
}

/// Tells once that the first snapshot of the routes is whole.
struct Warming {
    routes: Arc<Routes>,
    warm: parking_lot::Mutex<Option<oneshot::Sender<()>>>,
}

impl Sink for Warming {
    fn begin(&self) {
        self.routes.begin();
    }

    fn put(&self, key: &str, value: &[u8]) {
        self.routes.put(key, value);
    }

    fn remove(&self, key: &str) {
        self.routes.remove(key);
    }

    fn complete(&self) {
        self.routes.complete();
        if let Some(warm) = self.warm.lock().take() {
            warm.send(()).unwrap_or_else(|()| tracing::debug!("warm, but stopping"));
        }
    }
}

async fn upkeep(recorder: &'static metrics_exporter_prometheus::PrometheusHandle, stop: CancellationToken) {
    let mut each = tokio::time::interval(UPKEEP_EACH);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = each.tick() => recorder.run_upkeep(),
        }
    }
}
