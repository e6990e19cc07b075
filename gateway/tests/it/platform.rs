//! A platform of stand-ins around one real gateway, and short words for what tests do with it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream;
use bytes::Bytes;
use fabric::{
    Authority, Body, CoreService, Fabric, FabricConfig, Identity, Mount, NatsServer, NatsServerConfig, ServeOptions,
    Serving, subjects,
};
use gateway::{Config, Fabrics};
use http::Request;
use http_body_util::BodyExt as _;
use protocol::receipt::Observation;
use protocol::route::{ControlPulse, Grant, Principal, Route, Scope, Share, VersionRoute};
use protocol::{
    AccountId, ByteSize, Digest, FunctionId, InstanceId, KeyId, Kind, LaneChoice, Limits, Millis, Name, PlacementClass,
    VersionId,
};
use sha2::{Digest as _, Sha256};
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::{Response as Answer, fetch};
use crate::control::Control;

/// The platform and its one account, `ada`.
pub(crate) struct Platform {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) server: NatsServer,
    pub(crate) authority: Authority,
    pub(crate) core: Fabric,
    pub(crate) control: Arc<Control>,
    pub(crate) account: AccountId,
    pub(crate) port: u16,
    pub(crate) store: Store,
    control_serving: Vec<Serving>,
    gateway: Option<Running>,
}

struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), gateway::Error>>,
}

impl Platform {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With other settings.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(&folder.path().join("keys")).unwrap();
        let server = NatsServer::start(
            NatsServerConfig {
                binary: binary(),
                folder: folder.path().join("nats"),
                listen: "127.0.0.1:0".parse().unwrap(),
            },
            &authority,
        )
        .await
        .unwrap();
        let core = connect(&server, authority.core_user("core").unwrap()).await;
        for bucket in [subjects::ROUTES_BUCKET, subjects::NODES_BUCKET, subjects::MODELS_BUCKET] {
            let config = jetstream::kv::Config { bucket: bucket.to_owned(), num_replicas: 1, ..Default::default() };
            jetstream::new(core.nats().clone()).create_key_value(config).await.unwrap();
        }
        let control = Arc::new(Control { epoch_lasts: 60_000.into(), ..Control::default() });
        let store = Store::disk(folder.path().join("store")).unwrap();
        let mut platform = Self {
            folder,
            server,
            authority,
            core,
            control,
            account: AccountId::new(),
            port: 0,
            store,
            control_serving: Vec::new(),
            gateway: None,
        };
        platform.mount_control().await;
        platform.start_gateway(change).await;
        platform
    }

    /// Starts the gateway, on the same folders as any before it.
    pub(crate) async fn start_gateway(&mut self, change: impl FnOnce(&mut Config)) {
        let ready = self.launch_gateway(change).await;
        tokio::time::timeout(Duration::from_secs(10), ready).await.expect("ready within 10 s").unwrap();
    }

    /// The same, without waiting until it is ready.
    pub(crate) async fn launch_gateway(&mut self, change: impl FnOnce(&mut Config)) -> oneshot::Receiver<()> {
        let mut config = Config::new(self.folder.path().join("spool"));
        config.grace = Millis::seconds(2);
        config.spool_post = Millis(20);
        // A busy machine may take its time.
        config.accept_within = Millis::seconds(2);
        config.nats_websocket = Some(self.server.websocket().to_string());
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.port = listener.local_addr().unwrap().port();
        let fabrics = Fabrics {
            core: connect(&self.server, self.authority.core_user("gateway").unwrap()).await,
            nodes: self.among_nodes().await,
        };
        let (sender, ready) = oneshot::channel();
        let shutdown = CancellationToken::new();
        let task =
            tokio::spawn(gateway::serve(config, listener, fabrics, self.store.clone(), sender, shutdown.clone()));
        self.gateway = Some(Running { shutdown, task });
        ready
    }

    /// A connection of the core where nodes are.
    pub(crate) async fn among_nodes(&self) -> Fabric {
        connect(&self.server, self.authority.lenders_user("core").unwrap()).await
    }

    /// The control plane goes away without a word.
    pub(crate) fn stop_control(&mut self) {
        self.control_serving = Vec::new();
    }

    /// Tells the gateway to stop, without waiting.
    pub(crate) fn begin_shutdown(&self) {
        self.gateway.as_ref().unwrap().shutdown.cancel();
    }

    /// Waits until the gateway has stopped.
    pub(crate) async fn stop_gateway(&mut self) {
        let running = self.gateway.take().unwrap();
        running.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(10), running.task).await.expect("stops").unwrap().unwrap();
    }

    /// Ends the gateway as a crash would: no drain, no last flush.
    pub(crate) async fn crash_gateway(&mut self) {
        let running = self.gateway.take().unwrap();
        running.task.abort();
        drop(running.task.await);
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        fetch(self.port, "GET", target, &[], b"").await
    }

    pub(crate) async fn fetch(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        fetch(self.port, method, target, headers, body).await
    }

    /// Makes a key of the account; says it.
    pub(crate) fn key(&self, scopes: &[Scope]) -> String {
        self.key_of(self.account, scopes, None)
    }

    pub(crate) fn key_of(&self, account: AccountId, scopes: &[Scope], function: Option<FunctionId>) -> String {
        let id = KeyId::new();
        let key = format!("cck_{id}_secret");
        let principal = Principal::Key { key: id };
        let grant = Grant { principal, account, scopes: scopes.to_vec(), function, expires: None };
        self.control.grants.lock().insert(sha256(&key), grant);
        key
    }

    /// Deploys a public function by the outbox's way; answers its route.
    pub(crate) async fn deploy(&self, name: &str, change: impl FnOnce(&mut Route)) -> Route {
        let mut route = self.route(name);
        change(&mut route);
        self.publish(&route).await;
        route
    }

    /// A public function's route, of the next revision.
    pub(crate) fn route(&self, name: &str) -> Route {
        let version = VersionRoute {
            version: VersionId::new(),
            number: 1,
            artifact: Digest::of(name.as_bytes()),
            artifact_size: ByteSize::kib(1),
            kind: Kind::Http,
            lane: LaneChoice::Auto,
            placement: PlacementClass::Any,
            limits: Limits { timeout: Millis::seconds(10), ..Limits::default() },
            form: protocol::ArtifactForm::Wasm,
        };
        let live: Name = "live".parse().unwrap();
        Route {
            v: Route::VERSION,
            revision: self.control.revision.fetch_add(1, Ordering::Relaxed) + 1,
            account: self.account,
            account_name: "ada".parse().unwrap(),
            function: FunctionId::new(),
            function_name: name.parse().unwrap(),
            deleted: false,
            renamed: None,
            public: true,
            versions: BTreeMap::from([(1, version)]),
            aliases: BTreeMap::from([(live, vec![Share { version: 1, weight: 100 }])]),
        }
    }

    /// Writes a route into the bucket and waits until the gateway knows it.
    pub(crate) async fn publish(&self, route: &Route) {
        let key = Route::key(&route.account_name, &route.function_name);
        self.control.routes.lock().insert(key.clone(), route.clone());
        self.publish_as(key, route.revision, serde_json::to_vec(route).unwrap()).await;
    }

    /// Writes these bytes as a route of this revision, and waits until the gateway has seen it.
    pub(crate) async fn publish_as(&self, key: String, revision: u64, bytes: Vec<u8>) {
        let mut pulses = self.core.events(subjects::GATEWAY_PULSE).await.unwrap();
        let bucket = jetstream::new(self.core.nats().clone()).get_key_value(subjects::ROUTES_BUCKET).await.unwrap();
        bucket.put(key, bytes.into()).await.unwrap();
        let known = async {
            while let Some(event) = pulses.next().await {
                let pulse: protocol::route::GatewayPulse = serde_json::from_slice(&event.payload).unwrap();
                if pulse.revision >= revision {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), known).await.expect("the gateway applies the route");
    }

    /// The observation of the run that an answer names.
    pub(crate) async fn observation(&self, answer: &Answer) -> Observation {
        let run = answer.header("x-crowdcloud-run").to_owned();
        assert!(!run.is_empty(), "no run: {answer:?}");
        self.observed(|seen| seen.run.to_string() == run).await
    }

    pub(crate) async fn observed(&self, wanted: impl Fn(&Observation) -> bool) -> Observation {
        for _ in 0..200 {
            if let Some(found) = self.control.observations.lock().iter().find(|seen| wanted(seen)) {
                return found.clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no such observation within 10 s");
    }

    async fn mount_control(&mut self) {
        let control = Arc::clone(&self.control);
        let service = tower::service_fn(move |request: Request<Body>| {
            let control = Arc::clone(&control);
            async move { Ok::<_, Infallible>(control.answer(request).await) }
        });
        for service_of in [CoreService::ControlPlane, CoreService::Settlement] {
            let serving = self.core.serve(Mount::Core(service_of), service.clone(), ServeOptions::default()).await;
            self.control_serving.push(serving.unwrap());
        }
        let (control, fabric, instance) = (Arc::clone(&self.control), self.core.clone(), InstanceId::new());
        tokio::spawn(async move {
            loop {
                if !control.silent.load(Ordering::Relaxed) {
                    let pulse = ControlPulse {
                        instance,
                        revision: control.revision.load(Ordering::Relaxed),
                        revoked: control.revoked.lock().clone(),
                    };
                    drop(fabric.publish(subjects::CONTROL_PULSE, serde_json::to_vec(&pulse).unwrap()).await);
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
    }
}

pub(crate) async fn bytes(body: Body) -> Bytes {
    body.collect().await.unwrap().to_bytes()
}

pub(crate) fn sha256(text: &str) -> String {
    let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    Digest(hash).to_string()
}

pub(crate) fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

async fn connect(server: &NatsServer, credentials: fabric::Credentials) -> Fabric {
    Fabric::connect(FabricConfig {
        url: server.url(),
        credentials,
        identity: Identity::Core(InstanceId::new()),
        name: "core".to_owned(),
    })
    .await
    .unwrap()
}

/// The binary that xtask has fetched.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("CROWDCLOUD_NATS_SERVER") {
        return path.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"), PathBuf::from);
    cache.join("crowdcloud/bin/nats-server")
}
