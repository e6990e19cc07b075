//! The platform of these tests: nats-server, and what a node asks of the core, answered from memory.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use ed25519_dalek::VerifyingKey;
use fabric::{
    Authority, Body, CallError, CallOptions, Fabric, FabricConfig, Identity, Mount, NatsServer, NatsServerConfig,
    NodeEndpoint, NodeService, Peer, Reply, ServeOptions, Serving, Target,
};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use protocol::node::{Hello, HelloReply, LogLine, RevisedWish, RunLog, VersionSpec};
use protocol::receipt::{Checkpoint, CheckpointAck, NodeReceipt, RunEnd};
use protocol::ticket::{Purpose, SignedTicket, Ticket, TicketRoot};
use protocol::{ByteSize, Code, Digest, InstanceId, LaneChoice, Millis, NodeId, Problem, Timestamp, headers};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::compile::tests::compiler;
use crate::keys::NodeKeys;
use crate::tickets::tests::ticket;
use crate::{Config, Error};

/// What the core has seen and has.
#[derive(Default)]
pub(super) struct Core {
    pub(super) artifacts: HashMap<Digest, Bytes>,
    pub(super) specs: HashMap<String, VersionSpec>,
    pub(super) fetches: Vec<String>,
    pub(super) hello: Option<Hello>,
    pub(super) checkpoints: Vec<Checkpoint>,
    pub(super) lines: Vec<LogLine>,
    pub(super) hellos_refused: u32,
    /// What the owner wants from afar, as hellos are told.
    pub(super) wish: Option<RevisedWish>,
    pub(super) damaged: bool,
    /// The platform's clock minus the machine's.
    pub(super) ahead_ms: i64,
}

pub(super) struct Ground {
    pub(super) core: Arc<Mutex<Core>>,
    pub(super) fabric: Fabric,
    pub(super) node: NodeId,
    pub(super) folder: tempfile::TempDir,
    authority: Authority,
    server: NatsServer,
    _services: Vec<Serving>,
}

pub(super) struct Agent {
    pub(super) shutdown: CancellationToken,
    pub(super) task: JoinHandle<Result<(), Error>>,
}

fn nats_server() -> PathBuf {
    if let Some(path) = std::env::var_os("CROWDCLOUD_NATS_SERVER") {
        return path.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"), PathBuf::from);
    cache.join("crowdcloud/bin/nats-server")
}

impl Ground {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(&folder.path().join("keys")).unwrap();
        let config = NatsServerConfig {
            binary: nats_server(),
            folder: folder.path().join("nats"),
            listen: "127.0.0.1:0".parse().unwrap(),
        };
        let server = NatsServer::start(config, &authority).await.unwrap();
        let fabric = connect(&server, authority.lenders_user("core").unwrap(), Identity::Core(InstanceId::new())).await;
        let core = Arc::new(Mutex::new(Core::default()));
        let mut services = Vec::new();
        for service in [NodeService::Api, NodeService::Blob, NodeService::Log, NodeService::Receipt] {
            let core = Arc::clone(&core);
            let answer = tower::service_fn(move |request: http::Request<Body>| {
                let core = Arc::clone(&core);
                async move { Ok::<_, Infallible>(answer(&core, request).await) }
            });
            services.push(fabric.serve(Mount::ForNodes(service), answer, ServeOptions::default()).await.unwrap());
        }
        Self { core, fabric, node: NodeId::new(), folder, authority, server, _services: services }
    }

    pub(super) fn config(&self) -> Config {
        let mut config = Config::new(self.folder.path().join("node"), self.node, "test node");
        config.compile_command = Some(compiler().command);
        config.slots = 8;
        config.memory = ByteSize::mib(1024);
        config
    }

    /// Starts the agent and waits until it is ready.
    pub(super) async fn agent(&self, config: Config) -> Agent {
        let (agent, is_ready) = self.begin(config).await;
        tokio::time::timeout(Duration::from_secs(20), is_ready).await.unwrap().unwrap();
        agent
    }

    /// Starts the agent.
    pub(super) async fn begin(&self, config: Config) -> (Agent, oneshot::Receiver<()>) {
        let identity = Identity::Node(self.node);
        let keys = NodeKeys::open(&config.data).unwrap();
        let credentials = keys.nats().of_node(self.authority.registrar(), self.node).unwrap();
        let fabric = connect(&self.server, credentials, identity).await;
        let (ready, is_ready) = oneshot::channel();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(crate::serve(config, keys.into(), fabric, ready, shutdown.clone()));
        (Agent { shutdown, task }, is_ready)
    }

    /// Makes a version of this artifact, and a ticket for it.
    pub(super) fn deploy(&self, wasm: Vec<u8>) -> Ticket {
        let mut ticket = ticket(self.node, Purpose::Run);
        ticket.artifact = Digest::of(&wasm);
        let spec = VersionSpec {
            version: ticket.version,
            function: ticket.function,
            account: ticket.account,
            artifact: ticket.artifact,
            artifact_size: ByteSize(wasm.len() as u64),
            kind: None,
            lane: LaneChoice::Auto,
            limits: ticket.limits,
            env: [("COLOUR".to_owned(), "green".to_owned())].into(),
            egress: Vec::new(),
            base: None,
            command: Vec::new(),
        };
        let mut core = self.core.lock();
        core.artifacts.insert(ticket.artifact, wasm.into());
        core.specs.insert(ticket.version.to_string(), spec);
        ticket
    }

    /// Calls the node with a ticket as it is.
    pub(super) async fn call(
        &self,
        endpoint: NodeEndpoint,
        ticket: &Ticket,
        request: http::request::Builder,
        body: impl Into<Bytes>,
    ) -> Result<Reply, CallError> {
        let request = request.header(headers::TICKET, issued(ticket).0).body(fabric::full(body)).unwrap();
        let options = CallOptions { deadline: Duration::from_secs(30), accept_within: Duration::from_secs(2) };
        self.fabric.call(Target::Node(self.node, endpoint), request, options).await
    }

    /// Runs a version: a new run of its ticket.
    pub(super) async fn run(&self, of: &Ticket, target: &str, body: impl Into<Bytes>) -> Result<Reply, CallError> {
        let mut ticket = of.clone();
        ticket.run = protocol::RunId::new();
        self.call(NodeEndpoint::Run, &ticket, http::Request::post(target), body).await
    }

    pub(super) fn receipts(&self) -> Vec<NodeReceipt> {
        let core = self.core.lock();
        let receipts = core.checkpoints.iter().flat_map(|checkpoint| checkpoint.receipts.clone());
        receipts.map(protocol::wire::Written::into_value).collect()
    }

    /// Waits until something holds.
    pub(super) async fn until(&self, what: &str, mut holds: impl FnMut(&Core) -> bool) {
        for _ in 0..100 {
            if holds(&self.core.lock()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("not within 10 s: {what}");
    }
}

impl Agent {
    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.task).await.unwrap().unwrap().unwrap();
    }
}

/// The answer's status and body, and what the node says of the run.
pub(super) async fn read(reply: Reply) -> (u16, String, RunEnd) {
    let status = reply.response.status().as_u16();
    let body = reply.response.into_body().collect().await.unwrap().to_bytes();
    let end = reply.end.await;
    let end = serde_json::from_slice(&end.payload.unwrap()).unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap(), end)
}

pub(super) fn limits(ticket: &mut Ticket, memory_mib: u64, timeout_ms: u64) {
    ticket.limits.memory = ByteSize::mib(memory_mib);
    ticket.limits.timeout = Millis(timeout_ms);
}

async fn connect(server: &NatsServer, credentials: fabric::Credentials, identity: Identity) -> Fabric {
    let config = FabricConfig { url: server.url(), credentials, identity, name: "test".to_owned() };
    Fabric::connect(config).await.unwrap()
}

/// What the core derives all keys of tickets from.
pub(super) fn root() -> TicketRoot {
    TicketRoot::of(&[9; 32])
}

/// As the issuer makes it at its time.
fn issued(ticket: &Ticket) -> SignedTicket {
    root().issuer(ticket.epoch, ticket.issued).issue(ticket)
}

/// The core's side of hello, blobs, logs and checkpoints.
async fn answer(core: &Mutex<Core>, request: http::Request<Body>) -> http::Response<Body> {
    let (head, body) = request.into_parts();
    let Some(Peer::Node(node)) = head.extensions.get().copied() else { panic!("nodes alone ask here") };
    let body = body.collect().await.unwrap().to_bytes();
    let path = head.uri.path().to_owned();
    let mut core = core.lock();
    let reply = |status: u16, body: Bytes| http::Response::builder().status(status).body(fabric::full(body)).unwrap();
    if let Some(id) = path.strip_prefix("/versions/").or_else(|| path.strip_prefix("/artifacts/")) {
        let signed = SignedTicket(head.headers[headers::TICKET].to_str().unwrap().to_owned());
        assert!(root().check(&signed).is_ok());
        core.fetches.push(path.clone());
        return match path.starts_with("/versions/") {
            true => match core.specs.get(id) {
                Some(spec) => reply(200, serde_json::to_vec(spec).unwrap().into()),
                None => reply(404, Bytes::new()),
            },
            false => {
                let mut bytes = core.artifacts[&id.parse().unwrap()].to_vec();
                if core.damaged {
                    bytes[10] ^= 1;
                }
                reply(200, bytes.into())
            }
        };
    }
    match path.as_str() {
        "/hello" if core.hellos_refused > 0 => {
            core.hellos_refused -= 1;
            reply(422, Bytes::from_static(b"no common protocol"))
        }
        "/hello" => {
            core.hello = Some(serde_json::from_slice(&body).unwrap());
            let last = core.checkpoints.last();
            let now = Timestamp(Timestamp::now().0 + core.ahead_ms);
            let hello = HelloReply {
                protocol: 2,
                node_keys: root().node_keys(node, now),
                checkpoint: last.map_or(0, |last| last.sequence),
                checkpoint_digest: last.map_or(Digest([0; 32]), |last| last.digest),
                now,
                wish: core.wish,
            };
            reply(200, serde_json::to_vec(&hello).unwrap().into())
        }
        "/logs" => {
            let logs: Vec<RunLog> = serde_json::from_slice(&body).unwrap();
            core.lines.extend(logs.into_iter().flat_map(|log| log.lines));
            reply(204, Bytes::new())
        }
        "/checkpoints" => {
            let checkpoint: Checkpoint = serde_json::from_slice(&body).unwrap();
            let public: [u8; 32] =
                URL_SAFE_NO_PAD.decode(&core.hello.as_ref().unwrap().public_key).unwrap().try_into().unwrap();
            assert!(checkpoint.verify(&VerifyingKey::from_bytes(&public).unwrap()));
            let sequence = core.checkpoints.last().map_or(0, |last| last.sequence);
            if checkpoint.sequence > sequence + 1 {
                let problem = Problem::new(Code::PreconditionFailed, "Send the successor of the last one.");
                return reply(412, serde_json::to_vec(&problem).unwrap().into());
            }
            if checkpoint.sequence == sequence + 1 {
                core.checkpoints.push(checkpoint);
            }
            let ack = CheckpointAck { sequence: core.checkpoints.last().unwrap().sequence };
            reply(200, serde_json::to_vec(&ack).unwrap().into())
        }
        _ => reply(404, Bytes::new()),
    }
}
