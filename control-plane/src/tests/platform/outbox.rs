//! The outbox: many changes while nats-server is killed, a lost bucket, a second control plane, revocations.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::jetstream::kv::Store;
use fabric::{Fabric, Identity, subjects};
use futures::StreamExt as _;
use http::StatusCode;
use protocol::InstanceId;
use protocol::api::Version;
use protocol::node::NodeRecord;
use protocol::route::{ControlPulse, GatewayPulse, Route};
use serde_json::json;
use tokio::task::JoinHandle;

use super::{Platform, control_plane};
use crate::tests::harness::{Client, Ground, version_of};
use crate::tests::postgres::Postgres;

/// What a gateway does: watches the bucket from a snapshot on, for ever, and says how far it is.
struct Gateway {
    routes: Arc<Mutex<HashMap<String, Route>>>,
    task: JoinHandle<()>,
}

impl Gateway {
    fn start(fabric: Fabric) -> Self {
        let routes = Arc::new(Mutex::new(HashMap::<String, Route>::new()));
        let (known, instance) = (routes.clone(), InstanceId::new());
        let task = tokio::spawn(async move {
            let mut revision = 0;
            loop {
                let watched = watch(&fabric, &known, instance, &mut revision);
                drop(tokio::time::timeout(Duration::from_secs(60), watched).await);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { routes, task }
    }

    fn has(&self, key: &str) -> Option<Route> {
        self.routes.lock().unwrap().get(key).cloned()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn open(fabric: &Fabric) -> Option<Store> {
    let mut context = async_nats::jetstream::new(fabric.nats().clone());
    context.set_timeout(Duration::from_secs(2));
    context.get_key_value(subjects::ROUTES_BUCKET).await.ok()
}

async fn watch(
    fabric: &Fabric,
    known: &Mutex<HashMap<String, Route>>,
    instance: InstanceId,
    revision: &mut u64,
) -> Option<()> {
    let store = open(fabric).await?;
    let mut entries = store.watch_with_history(">").await.ok()?;
    let mut pulse = tokio::time::interval(Duration::from_millis(200));
    let mut quiet = 0;
    loop {
        tokio::select! {
            entry = entries.next() => {
                let entry = entry?.ok()?;
                quiet = 0;
                let route: Route = serde_json::from_slice(&entry.value).ok()?;
                let mut known = known.lock().unwrap();
                let before = known.get(&entry.key).map_or(0, |route| route.revision);
                assert!(route.revision >= before, "{}: {} after {before}", entry.key, route.revision);
                *revision = (*revision).max(route.revision);
                known.insert(entry.key, route);
            }
            _ = pulse.tick() => {
                // A watch that hangs after a restart of the server is made anew.
                quiet += 1;
                if quiet > 10 {
                    return None;
                }
            }
        }
        let pulse = GatewayPulse { instance, revision: *revision, draining: false };
        let _ = fabric.publish(subjects::GATEWAY_PULSE, serde_json::to_vec(&pulse).unwrap()).await;
    }
}

/// Changes of routes; `CROWDCLOUD_ROUTE_CHANGES` says more.
const CHANGES: u32 = 60;
/// The server is killed once among so many.
const KILLED_EVERY: u32 = 60;

/// Many changes, with the server killed in between: none is lost, none comes back, and each answer came after the gateway had
/// it.
async fn routes_survive(database: Option<String>) {
    let changes = std::env::var("CROWDCLOUD_ROUTE_CHANGES").ok().and_then(|text| text.parse().ok()).unwrap_or(CHANGES);
    let platform = Platform::start(database).await;
    let ground = &platform.ground;
    let gateway = Gateway::start(platform.fabric(Identity::Core(InstanceId::new())).await);
    let ada = ground.user("ada@example.org", "ada").await;
    let functions = ["aa", "bb", "cc"];
    for function in functions {
        ground.function(&ada, function).await;
        ground.deployed(&ada, function).await;
    }
    let (mut at_once, mut slowest) = (0, Duration::ZERO);
    for change in 0..changes {
        if change % KILLED_EVERY == KILLED_EVERY / 2 {
            platform.kill_server();
        }
        let function = functions[change as usize % 3];
        let begun = Instant::now();
        let number = if change % 10 == 0 {
            let compiling = crate_version(ground, &ada, function).await;
            ground.ready(compiling.id).await;
            compiling.number
        } else {
            let shares = json!({"shares": [{"version": 1 + (change / 3) % 2, "weight": 100}]});
            let moved = ada.put(&format!("/functions/{function}/aliases/live"), shares).await;
            assert_eq!(moved.status, StatusCode::OK, "{moved:?}");
            1 + (change / 3) % 2
        };
        slowest = slowest.max(begun.elapsed());
        let route = gateway.has(&format!("ada.{function}"));
        at_once += u32::from(route.is_some_and(|route| route.resolve(None, 0).unwrap().number == number));
    }
    // A restart may outlast the 3 s that an answer waits; that is the exception.
    let exceptions = 5 * changes.div_ceil(KILLED_EVERY);
    assert!(at_once > changes - exceptions, "{at_once} of {changes} answers came when the gateway had the change");
    assert!(slowest < Duration::from_secs(8), "{slowest:?}");
    for function in functions {
        let key = format!("ada.{function}");
        let truth: Route =
            ground.anonymous().send(http::Method::GET, &format!("/internal/routes/ada/{function}"), None).await.read();
        let until = Instant::now() + Duration::from_secs(15);
        while gateway.has(&key).as_ref() != Some(&truth) {
            assert!(Instant::now() < until, "{key}: {:?} is not {truth:?}", gateway.has(&key));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    drop(gateway);
    platform.end().await;
}

/// A version without waiting for a node.
async fn crate_version(ground: &Ground, client: &Client, function: &str) -> Version {
    let artifact = ground.artifact(client, b"an artifact").await;
    let asked = serde_json::from_value(version_of(artifact)).unwrap();
    let sha256 = crate::identity::credentials::sha256_hex(client.token().as_bytes());
    let caller = crate::identity::caller::authenticate(&ground.app, &sha256, None).await.unwrap();
    let id = crate::functions::versions::insert(&ground.app, &caller, function, asked).await.unwrap();
    crate::functions::versions::by_id(&ground.app, id).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_survive_restarts_on_sqlite() {
    routes_survive(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_survive_restarts_on_postgres() {
    let server = Postgres::start().await;
    routes_survive(Some(server.database("routes").await)).await;
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(15);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_bucket_is_rebuilt_and_another_takes_the_lead() {
    let platform = Platform::start(None).await;
    let ground = &platform.ground;
    let core = platform.fabric(Identity::Core(InstanceId::new())).await;
    let ada = ground.user("ada@example.org", "ada").await;
    ground.function(&ada, "hello").await;
    let stored = async || open(&core).await?.get("ada.hello").await.ok()?;
    until("the route is published", stored).await;
    ground.function(&ada, "old").await;
    assert_eq!(ada.patch("/functions/old", json!({"name": "young"})).await.status, StatusCode::OK);
    let context = async_nats::jetstream::new(core.nats().clone());
    for bucket in [subjects::ROUTES_BUCKET, subjects::NODES_BUCKET] {
        context.delete_key_value(bucket).await.unwrap();
    }
    until("the bucket is rebuilt", stored).await;
    let left = async || {
        let route = open(&core).await?.get("ada.old").await.ok()??;
        serde_json::from_slice::<Route>(&route).ok()
    };
    let left = until("a name that a function had is told of", left).await;
    assert!(left.deleted && left.renamed.is_some(), "{left:?}");
    let record = async || {
        let store = context.get_key_value(subjects::NODES_BUCKET).await.ok()?;
        let value = store.get(ground.node.to_string()).await.ok()??;
        serde_json::from_slice::<NodeRecord>(&value).ok()
    };
    assert_eq!(until("the node's record", record).await.name, "local");

    // A second control plane on the same database waits for the lead, and takes it when the first stops.
    let database = ground.app.config.database.clone();
    let (second, stop, task) =
        control_plane(&platform.server, &platform.authority, ground.folder.path(), database, ground.node).await;
    platform.stop.cancel();
    let ada = ada.on(crate::router(second));
    assert_eq!(ada.post("/functions", json!({"name": "next"})).await.status, StatusCode::CREATED);
    until("the second one publishes", async || open(&core).await?.get("ada.next").await.ok()?).await;
    stop.cancel();
    task.await.unwrap().unwrap();
    platform.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocations_are_told_at_once() {
    let platform = Platform::start(None).await;
    let ada = platform.ground.user("ada@example.org", "ada").await;
    let made = ada.post("/keys", json!({"name": "k", "scopes": ["invoke"]})).await;
    let key: protocol::api::Key = made.read();
    let core = platform.fabric(Identity::Core(InstanceId::new())).await;
    let mut pulses = core.events(subjects::CONTROL_PULSE).await.unwrap();
    let sha256 = crate::identity::credentials::sha256_hex(key.secret.unwrap().as_bytes());
    let begun = Instant::now();
    ada.delete(&format!("/keys/{}", key.id)).await;
    loop {
        let pulse = tokio::time::timeout(Duration::from_secs(3), pulses.next()).await.unwrap().unwrap();
        let pulse: ControlPulse = serde_json::from_slice(&pulse.payload).unwrap();
        if pulse.revoked.contains(&sha256) {
            break;
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    platform.end().await;
}
