//! On a real nats-server: deploys through a node, and (in `outbox`) routes while the server is killed.

mod calibration;
mod outbox;
mod settlement;
mod training;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use ed25519_dalek::SigningKey;
use fabric::{
    Authority, CallOptions, Credentials, Fabric, FabricConfig, Identity, Mount, NatsServer, NatsServerConfig,
    NodeEndpoint, NodeService, ServeOptions, Serving, Target, UserKey, subjects,
};
use futures::StreamExt as _;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use protocol::api::{Page, Version, VersionState};
use protocol::node::{HelloReply, NodeReport, NodeState, Prepared, VersionSpec};
use protocol::ticket::SignedTicket;
use protocol::{ArtifactForm, ByteSize, Code, InstanceId, Kind, Lane, NodeId, Problem, headers};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::harness::{Ground, config, sqlite_url, version_of};
use super::joining::{self, Machine};
use super::settlement::hello_of;
use crate::{App, ControlFabrics};

/// The binary that xtask has fetched.
fn binary() -> PathBuf {
    let path = std::env::var_os("CROWDCLOUD_NATS_SERVER").map(PathBuf::from).unwrap_or_else(|| {
        let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
        let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
        cache.join("crowdcloud/bin/nats-server")
    });
    assert!(path.exists(), "nats-server is missing at {}: `cargo xtask test` fetches it", path.display());
    path
}

/// A control plane on a real server.
struct Platform {
    ground: Ground,
    server: NatsServer,
    authority: Authority,
    stop: CancellationToken,
    task: JoinHandle<Result<(), crate::Error>>,
}

async fn connect(server: &NatsServer, authority: &Authority, identity: Identity) -> Fabric {
    let credentials = match &identity {
        Identity::Core(_) => authority.core_user("core").unwrap(),
        Identity::Node(node) => UserKey::generate().of_node(authority.registrar(), *node).unwrap(),
    };
    connect_as(server, credentials, identity).await
}

async fn connect_as(server: &NatsServer, credentials: Credentials, identity: Identity) -> Fabric {
    let config = FabricConfig { url: server.url(), credentials, identity, name: "test".to_owned() };
    Fabric::connect(config).await.unwrap()
}

impl Platform {
    async fn start(database: Option<String>) -> Self {
        let (folder, node) = (tempfile::tempdir().unwrap(), NodeId::new());
        let authority = Authority::open(&folder.path().join("keys")).unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let nats = NatsServerConfig { binary: binary(), folder: folder.path().join("nats"), listen };
        let server = NatsServer::start(nats, &authority).await.unwrap();
        let database = database.unwrap_or_else(|| sqlite_url(folder.path()));
        let (app, stop, task) = control_plane(&server, &authority, folder.path(), database, node).await;
        let term = parking_lot::Mutex::default();
        let ground = Ground { router: crate::router(app.clone()), app, node, folder, term };
        Self { ground, server, authority, stop, task }
    }

    async fn fabric(&self, identity: Identity) -> Fabric {
        connect(&self.server, &self.authority, identity).await
    }

    fn kill_server(&self) {
        let pid = self.server.pid().expect("it runs").to_string();
        assert!(std::process::Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
        self.server.stop().await;
    }
}

async fn control_plane(
    server: &NatsServer,
    authority: &Authority,
    folder: &std::path::Path,
    database: String,
    node: NodeId,
) -> (App, CancellationToken, JoinHandle<Result<(), crate::Error>>) {
    let core = connect(server, authority, Identity::Core(InstanceId::new())).await;
    let lenders = authority.lenders_user("core").unwrap();
    let nodes = connect_as(server, lenders, Identity::Core(InstanceId::new())).await;
    let fabrics = ControlFabrics { core, nodes };
    let store = store::Store::disk(folder.join("store")).unwrap();
    let mut config = config(folder, database, node);
    config.lenders_key = Some(folder.join("keys/nats-lenders.nk"));
    config.lease = "2s".parse().unwrap();
    config.node_checks_every = "50ms".parse().unwrap();
    let app = App::open(config, store, Some(fabrics.clone())).await.unwrap();
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let stop = CancellationToken::new();
    let run = {
        let (app, stop) = (app.clone(), stop.clone());
        async move { crate::run(app, &fabrics, ready, stop).await }
    };
    let task = tokio::spawn(run);
    is_ready.await.unwrap();
    (app, stop, task)
}

/// A node that prepares what begins with a zero byte.
struct Node {
    fabric: Fabric,
    _serving: Serving,
    reports: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.reports.abort();
    }
}

async fn fetch(fabric: &Fabric, path: String, ticket: &str) -> (StatusCode, bytes::Bytes) {
    let request = Request::get(path).header(headers::TICKET, ticket).body(fabric::empty()).unwrap();
    let reply = fabric.call(Target::FromNode(NodeService::Blob), request, CallOptions::default()).await.unwrap();
    let status = reply.response.status();
    (status, reply.response.into_body().collect().await.unwrap().to_bytes())
}

async fn prepare(State(fabric): State<Fabric>, headers: HeaderMap) -> axum::response::Response {
    use axum::response::IntoResponse as _;
    let ticket = headers[headers::TICKET].to_str().unwrap();
    // The version stands at this place.
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, ticket).unwrap();
    let version = protocol::VersionId::from_uuid(uuid::Uuid::from_slice(&bytes[85..101]).unwrap());
    let (_, spec) = fetch(&fabric, format!("/versions/{version}"), ticket).await;
    let spec: VersionSpec = serde_json::from_slice(&spec).unwrap();
    let (_, artifact) = fetch(&fabric, format!("/artifacts/{}", spec.artifact), ticket).await;
    assert_eq!(protocol::Digest::of(&artifact), spec.artifact);
    if artifact[0] != 0 {
        return crate::error::respond(&Problem::new(Code::NotWasm, "no zero byte"));
    }
    let prepared = Prepared {
        kind: Kind::Http,
        format: "zero".to_owned(),
        compile_ms: 1,
        code_size: ByteSize(1),
        form: ArtifactForm::Wasm,
        notes: Vec::new(),
    };
    axum::Json(prepared).into_response()
}

fn report(of: &Fabric, node: NodeId, sequence: u64) -> NodeReport {
    NodeReport {
        v: NodeReport::VERSION,
        node,
        sequence,
        cores: 2,
        load: 0.0,
        memory_total: ByteSize::mib(1024),
        memory_free: ByteSize::mib(1024),
        slots: 8,
        running: 0,
        lanes: vec![Lane::Wasm],
        arch: "x86_64".to_owned(),
        warm: vec![],
        cached: vec![],
        draining: false,
        vm: None,
        boot: Some(of.boot().clone()),
        lending: None,
        confinement: None,
        lists: None,
    }
}

impl Node {
    async fn start(platform: &Platform) -> Self {
        let node = platform.ground.node;
        let fabric = platform.fabric(Identity::Node(node)).await;
        let router = Router::new().route("/prepare", post(prepare)).with_state(fabric.clone());
        let at = Mount::OnNode(NodeEndpoint::Control);
        let serving = fabric.serve(at, crate::over_fabric(router), ServeOptions::default()).await.unwrap();
        let reporting = fabric.clone();
        let reports = tokio::spawn(async move {
            for sequence in 0.. {
                let report = report(&reporting, node, sequence);
                let _ = reporting.publish(&subjects::report(node), serde_json::to_vec(&report).unwrap()).await;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        });
        Self { fabric, _serving: serving, reports }
    }

    async fn hello(&self, min: u16, max: u16) -> (StatusCode, bytes::Bytes) {
        let mut hello = hello_of(&SigningKey::from_bytes(&[7; 32]));
        (hello.protocol_min, hello.protocol_max) = (min, max);
        hello.boot = Some(self.fabric.boot().clone());
        let body = serde_json::to_vec(&hello).unwrap();
        let request =
            Request::post("/hello").header("content-type", "application/json").body(fabric::full(body)).unwrap();
        let reply =
            self.fabric.call(Target::FromNode(NodeService::Api), request, CallOptions::default()).await.unwrap();
        let status = reply.response.status();
        (status, reply.response.into_body().collect().await.unwrap().to_bytes())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deploys_through_a_node() {
    let platform = Platform::start(None).await;
    let ground = &platform.ground;
    let ada = ground.user("ada@example.org", "ada").await;
    ada.post("/functions", json!({"name": "hello"})).await;
    let early = ground.compiling(&ada, "hello").await;

    let node = Node::start(&platform).await;
    // Who has copied the node's credentials hears the answer, and does not read it.
    let copy = platform.fabric(Identity::Node(ground.node)).await;
    let mut heard = copy.nats().subscribe(format!("cc.node.{}.in.>", ground.node)).await.unwrap();
    copy.nats().flush().await.unwrap();
    let (status, reply) = node.hello(1, 2).await;
    assert_eq!(status, StatusCode::OK);
    let reply: HelloReply = serde_json::from_slice(&reply).unwrap();
    assert_eq!((reply.protocol, reply.checkpoint), (2, 0));
    assert_eq!(reply.node_keys, ground.app.tickets.node_keys(ground.node, reply.now));
    let mut messages = 0;
    while let Ok(Some(message)) = tokio::time::timeout(Duration::from_millis(500), heard.next()).await {
        assert!(!message.payload.windows(9).any(|window| window == b"node_keys"), "{}", message.subject);
        messages += 1;
    }
    assert!(messages > 0, "it did listen");
    drop(copy);
    let (status, refused) = node.hello(7, 9).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let refused: Problem = serde_json::from_slice(&refused).unwrap();
    assert!(refused.detail.contains("7 to 9; the platform 2 to 2"), "{refused}");

    let good = ground.artifact(&ada, b"\0 a good artifact").await;
    let deployed = ada.post("/functions/hello/versions", version_of(good)).await;
    assert_eq!(deployed.status, StatusCode::CREATED, "{deployed:?}");
    let version: Version = deployed.read();
    assert_eq!((version.state, version.format.as_deref()), (VersionState::Ready, Some("zero")));
    let bad = ground.artifact(&ada, b"#!/bin/sh").await;
    let refused = ada.post("/functions/hello/versions", version_of(bad)).await;
    assert_eq!(refused.code(), Code::NotWasm);
    // The one that found no node is tried again, and fails: it is no zero byte either.
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let row: Version = ada.get(&format!("/functions/hello/versions/{}", early.number)).await.read();
        if row.state == VersionState::Failed {
            break;
        }
        assert!(Instant::now() < until, "{row:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let states: Page<Version> = ada.get("/functions/hello/versions").await.read();
    let states: Vec<_> = states.items.iter().map(|row| row.state).collect();
    assert_eq!(states, [VersionState::Failed, VersionState::Ready, VersionState::Failed]);

    let nodes: Page<protocol::api::Node> = ada.get("/nodes").await.read();
    let seen = &nodes.items[0];
    assert_eq!((seen.state, seen.slots, seen.name.as_str()), (NodeState::Online, 8, "local"));
    blobs_need_tickets(&platform, &node, &version).await;
    drop(node);
    platform.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a15_what_a_node_cannot_be_is_neither_listed_nor_kept() {
    let platform = Platform::start(None).await;
    let ground = &platform.ground;
    let ada = ground.user("ada@example.org", "ada").await;
    let node = Node::start(&platform).await;
    assert_eq!(node.hello(2, 2).await.0, StatusCode::OK);
    let good = serde_json::to_value(report(&node.fabric, ground.node, 1)).unwrap();
    let listed = async || -> protocol::api::Node {
        let nodes: Page<protocol::api::Node> = ada.get("/nodes").await.read();
        nodes.items[0].clone()
    };
    let strange = [
        ("load", json!(1e39)),
        ("load", json!(-1)),
        ("arch", json!("x86\u{1b}[2J")),
        ("cores", json!(4_000_000_000_u32)),
        ("memory_total", json!(u64::MAX)),
        ("vm", json!({"state": "missing", "why": "\u{1b}]0;owned\u{7}"})),
    ];
    for (field, value) in strange {
        let mut report = good.clone();
        report[field] = value;
        report["running"] = json!(7);
        node.fabric.publish(&subjects::report(ground.node), report.to_string()).await.unwrap();
    }
    let mut mark = good.clone();
    mark["running"] = json!(3);
    // What came before has been heard when this has.
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        node.fabric.publish(&subjects::report(ground.node), mark.to_string()).await.unwrap();
        let shown = listed().await;
        assert!(shown.running != 7 && shown.load.abs() < 0.001 && shown.arch == "x86_64", "{shown:?}");
        if shown.running == 3 {
            break;
        }
        assert!(Instant::now() < until, "{shown:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut hello = hello_of(&SigningKey::from_bytes(&[7; 32]));
    hello.os = "\u{1b}[31mred".to_owned();
    let request = Request::post("/hello").header("content-type", "application/json");
    let request = request.body(fabric::full(serde_json::to_vec(&hello).unwrap())).unwrap();
    let reply = node.fabric.call(Target::FromNode(NodeService::Api), request, CallOptions::default()).await.unwrap();
    assert_eq!(reply.response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    drop(node);
    platform.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_joins_and_is_cut_off_when_it_is_revoked() {
    let platform = Platform::start(None).await;
    let ground = &platform.ground;
    let ada = ground.user("ada@example.org", "ada").await;
    let (machine, token) = (Machine::new(30), joining::token(&ada).await);
    let answer = joining::register(ground, &machine.asks(&token)).await;
    let admission = joining::admitted(ground, &token, &answer).await;
    let node = admission.node;
    // Its own JWT is good for WebSockets alone, which only gateways bring.
    let credentials = machine.nats.of_node(platform.authority.registrar(), node).unwrap();
    let fabric = connect_as(&platform.server, credentials, Identity::Node(node)).await;
    let hello = async || {
        let mut hello = machine.hello();
        hello.boot = Some(fabric.boot().clone());
        let request = Request::post("/hello").header("content-type", "application/json");
        let request = request.body(fabric::full(serde_json::to_vec(&hello).unwrap())).unwrap();
        let reply = fabric.call(Target::FromNode(NodeService::Api), request, CallOptions::default()).await.unwrap();
        reply.response.status()
    };
    assert_eq!(hello().await, StatusCode::OK);
    let core = platform.fabric(Identity::Core(InstanceId::new())).await;
    let context = async_nats::jetstream::new(core.nats().clone());
    let bucket = context.get_key_value(subjects::NODES_BUCKET).await.unwrap();
    let until = async |there: bool, within: Duration| {
        let begun = Instant::now();
        while bucket.get(node.to_string()).await.unwrap().is_some() != there {
            assert!(begun.elapsed() < within, "its record is there: {}", !there);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    until(true, Duration::from_secs(10)).await;
    // A call that it does not answer; and where it is told that it ends.
    let (told, mut is_told) = tokio::sync::mpsc::unbounded_channel();
    let (arrived, mut has_arrived) = tokio::sync::mpsc::unbounded_channel();
    let hanging = move || {
        arrived.send(()).ok();
        std::future::pending::<StatusCode>()
    };
    let end = move |axum::Json(problem): axum::Json<Problem>| {
        drop(told.send(problem));
        std::future::ready(StatusCode::NO_CONTENT)
    };
    let router = Router::new().route("/prepare", post(hanging)).route("/end", post(end));
    let at = Mount::OnNode(NodeEndpoint::Control);
    let _serving = fabric.serve(at, crate::over_fabric(router), ServeOptions::default()).await.unwrap();
    let nodes = ground.app.fabrics.as_ref().unwrap().nodes.clone();
    let call = tokio::spawn(async move {
        let request = Request::post("/prepare").body(fabric::empty()).unwrap();
        nodes.call(Target::Node(node, NodeEndpoint::Control), request, CallOptions::default()).await.map(drop)
    });
    has_arrived.recv().await.unwrap();
    assert_eq!(ada.post(&format!("/nodes/{node}/revoke"), json!({})).await.status, StatusCode::NO_CONTENT);
    let cut = tokio::time::timeout(Duration::from_secs(1), call).await.expect("what was on its way is cut").unwrap();
    assert!(cut.is_err(), "{cut:?}");
    let why = tokio::time::timeout(Duration::from_secs(1), is_told.recv()).await.unwrap().unwrap();
    assert_eq!((why.code, why.detail.contains("revoked")), (Code::NodeLeft, true), "{why}");
    until(false, Duration::from_secs(1)).await;
    assert_eq!(hello().await, StatusCode::GONE);
    platform.end().await;
}

async fn blobs_need_tickets(platform: &Platform, node: &Node, version: &Version) {
    use protocol::Timestamp;
    let app = &platform.ground.app;
    let row = sea_orm::EntityTrait::find_by_id;
    let row: sea_orm::Select<crate::db::entities::versions::Entity> = row(crate::db::columns::Col(version.id));
    let row = row.one(app.db.read()).await.unwrap().unwrap();
    let second = Duration::from_secs(1);
    let good = app.tickets.prepare(&row, platform.ground.node, Lane::Wasm, Timestamp::now(), second);
    let path = format!("/versions/{}", version.id);
    assert_eq!(fetch(&node.fabric, path.clone(), &good.0).await.0, StatusCode::OK);
    let foreign = app.tickets.prepare(&row, NodeId::new(), Lane::Wasm, Timestamp::now(), second);
    let old = app.tickets.prepare(&row, platform.ground.node, Lane::Wasm, Timestamp(0), second);
    let forged = SignedTicket(format!("{}x", good.0));
    for ticket in [foreign, old, forged, SignedTicket(String::new())] {
        assert_eq!(fetch(&node.fabric, path.clone(), &ticket.0).await.0, StatusCode::FORBIDDEN);
    }
    let other = format!("/versions/{}", protocol::VersionId::new());
    assert_eq!(fetch(&node.fabric, other, &good.0).await.0, StatusCode::FORBIDDEN);
    let other = format!("/artifacts/{}", protocol::Digest([1; 32]));
    assert_eq!(fetch(&node.fabric, other, &good.0).await.0, StatusCode::FORBIDDEN);
}
