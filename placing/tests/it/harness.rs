//! A server, a process that places runs, nodes' stand-ins, and short words for what tests do with them.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric::{
    Admit, Authority, Body, Busy, Exchange, Fabric, FabricConfig, Identity, Mount, NatsServer, NatsServerConfig,
    NodeEndpoint, ServeOptions, Serving, UserKey,
};
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use placing::{Attempt, Concluded, Learning, Placing, ResponseBody, RunFacts, Settings, TicketIssuer, Verdict};
use protocol::node::{NodeRecord, NodeReport};
use protocol::receipt::{Outcome, RunEnd, Usage};
use protocol::route::VersionRoute;
use protocol::ticket::{RunTicket, SignedTicket};
use protocol::{
    AccountId, ArtifactForm, ByteSize, Code, Digest, FunctionId, InstanceId, Kind, Lane, LaneChoice, Limits, Millis,
    NodeId, PlacementClass, Problem, RunId, Timestamp, VersionId, headers,
};

/// How long nodes' stand-ins have at the most.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
/// What nodes' stand-ins claim.
pub(crate) const CPU_US: u64 = 42;

/// A server, and a process that places runs.
pub(crate) struct Ground {
    pub(crate) core: Fabric,
    pub(crate) placing: Arc<Placing>,
    pub(crate) issuer: Arc<Issuer>,
    server: NatsServer,
    authority: Authority,
    _folder: tempfile::TempDir,
}

/// Signs nothing; says for whom a ticket is.
#[derive(Default)]
pub(crate) struct Issuer {
    pub(crate) mute: AtomicBool,
}

impl TicketIssuer for Issuer {
    fn issue(&self, ticket: RunTicket, _now: Timestamp, _lasts: Duration) -> Option<SignedTicket> {
        let mute = self.mute.load(Ordering::Relaxed);
        (!mute).then(|| SignedTicket(format!("{} on {}", ticket.run, ticket.node)))
    }
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

impl Ground {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With other settings.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(&folder.path().join("keys")).unwrap();
        let (listen, nats) = ("127.0.0.1:0".parse().unwrap(), folder.path().join("nats"));
        let config = NatsServerConfig { binary: binary(), folder: nats, listen };
        let server = NatsServer::start(config, &authority).await.unwrap();
        let instance = InstanceId::new();
        let core = Fabric::connect(FabricConfig {
            url: server.url(),
            credentials: authority.lenders_user("core").unwrap(),
            identity: Identity::Core(instance),
            name: "core".to_owned(),
        })
        .await
        .unwrap();
        // A busy machine may take its time.
        let mut settings = Settings { accept_within: Duration::from_secs(2), ..Settings::default() };
        change(&mut settings);
        let issuer = Arc::<Issuer>::default();
        let placing = Placing::new(
            settings,
            instance,
            Learning::new(&fabric::metric_names::LearningNames::GATEWAY),
            Arc::clone(&issuer) as Arc<dyn TicketIssuer>,
        );
        Self { core, placing, issuer, server, authority, _folder: folder }
    }

    /// A node that does as `answer` says.
    pub(crate) async fn node<F>(&self, answer: F) -> Node
    where
        F: Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Clone + Send + Sync + 'static,
    {
        self.node_with(ServeOptions::default(), answer).await
    }

    pub(crate) async fn node_with<F>(&self, options: ServeOptions, answer: F) -> Node
    where
        F: Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Clone + Send + Sync + 'static,
    {
        let id = NodeId::new();
        let config = FabricConfig {
            url: self.server.url(),
            credentials: UserKey::generate().of_node(self.authority.registrar(), id).unwrap(),
            identity: Identity::Node(id),
            name: id.to_string(),
        };
        let fabric = Fabric::connect(config).await.unwrap();
        let (calls, deaf) = (Arc::<AtomicU32>::default(), Arc::<AtomicBool>::default());
        let service = Service { answer, calls: Arc::clone(&calls), deaf: Arc::clone(&deaf) };
        let serving = fabric.serve(Mount::OnNode(NodeEndpoint::Run), service, options).await.unwrap();
        self.know(id);
        Node { id, fabric, calls, deaf, _serving: serving }
    }

    /// A node on record, with room: whether anybody is there is another question.
    pub(crate) fn know(&self, node: NodeId) {
        let (account, class) = (AccountId::new(), PlacementClass::Operator);
        let (name, arch) = ("node".to_owned(), "x86_64".to_owned());
        self.placing.nodes.upsert(NodeRecord {
            node,
            account,
            name,
            class,
            arch,
            protocol: 1,
            trust: None,
            key: None,
            disks: Vec::new(),
        });
        self.placing.nodes.heard(report(node), Instant::now());
    }

    /// A call's run that looks for a node.
    pub(crate) fn attempt(&self) -> Attempt {
        self.attempt_since(Instant::now())
    }

    /// The same, of a request that came at this time.
    pub(crate) fn attempt_since(&self, received: Instant) -> Attempt {
        let version = version();
        let facts = RunFacts {
            method: "POST",
            path: "/thumbs?size=9",
            ..RunFacts::of(RunId::new(), AccountId::new(), FunctionId::new(), &version)
        };
        self.placing.begin(&facts, version.artifact, received)
    }

    /// Sends a small request to this node.
    pub(crate) async fn send(&self, attempt: &mut Attempt, node: NodeId) -> Result<Response<Body>, Verdict> {
        self.send_within(attempt, node, TIMEOUT).await
    }

    pub(crate) async fn send_within(
        &self,
        attempt: &mut Attempt,
        node: NodeId,
        within: Duration,
    ) -> Result<Response<Body>, Verdict> {
        let to = self.placing.reserve(node, Lane::Wasm, &Limits::default());
        let deadline = Instant::now() + within;
        attempt.bytes_in(ByteSize(5));
        attempt.send(&self.core, to, post(fabric::full("hello")), deadline, || {}).await
    }

    /// Runs there, as this process counts them.
    pub(crate) fn running(&self, node: NodeId) -> u32 {
        self.placing.nodes.look(|nodes| nodes.iter().find(|view| view.record.node == node).unwrap().running())
    }

    /// How far away it seems to be.
    pub(crate) fn distance(&self, node: NodeId) -> Duration {
        self.placing.nodes.look(|nodes| nodes.iter().find(|view| view.record.node == node).unwrap().distance.get())
    }

    /// Whether others are asked before this node.
    pub(crate) fn suspects(&self, node: NodeId) -> bool {
        self.placing.nodes.is_suspect(node, Instant::now())
    }
}

/// A node's stand-in.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) fabric: Fabric,
    calls: Arc<AtomicU32>,
    deaf: Arc<AtomicBool>,
    _serving: Serving,
}

impl Node {
    /// Runs that it has begun.
    pub(crate) fn called(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }

    /// From now on its process hears nothing for a while after each message.
    pub(crate) fn stalls(&self) {
        self.deaf.store(true, Ordering::Relaxed);
    }
}

/// Counts what it begins. The fabric clones it where it reads messages, so that a slow clone is a process that stands still.
struct Service<F> {
    answer: F,
    calls: Arc<AtomicU32>,
    deaf: Arc<AtomicBool>,
}

impl<F: Clone> Clone for Service<F> {
    fn clone(&self) -> Self {
        if self.deaf.load(Ordering::Relaxed) {
            // Timers of the same thread go on elsewhere.
            tokio::task::block_in_place(|| std::thread::sleep(Duration::from_millis(700)));
        }
        Self { answer: self.answer.clone(), calls: Arc::clone(&self.calls), deaf: Arc::clone(&self.deaf) }
    }
}

impl<F> tower::Service<Request<Body>> for Service<F>
where
    F: Fn(Request<Body>) -> BoxFuture<'static, Response<Body>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let answered = (self.answer)(request);
        Box::pin(async move { Ok(answered.await) })
    }
}

fn report(node: NodeId) -> NodeReport {
    NodeReport {
        v: NodeReport::VERSION,
        node,
        sequence: 1,
        cores: 4,
        load: 0.1,
        memory_total: ByteSize::mib(8192),
        memory_free: ByteSize::mib(8192),
        slots: 64,
        running: 0,
        lanes: vec![Lane::Wasm],
        arch: "x86_64".to_owned(),
        warm: Vec::new(),
        cached: Vec::new(),
        draining: false,
        vm: None,
        boot: None,
        lending: None,
        confinement: None,
        lists: None,
    }
}

pub(crate) fn version() -> VersionRoute {
    VersionRoute {
        version: VersionId::new(),
        number: 3,
        artifact: Digest::of(b"thumbs"),
        artifact_size: ByteSize::kib(1),
        kind: Kind::Http,
        lane: LaneChoice::Auto,
        placement: PlacementClass::Any,
        limits: Limits { timeout: Millis::from(TIMEOUT), ..Limits::default() },
        form: ArtifactForm::Wasm,
    }
}

pub(crate) fn post(body: Body) -> Request<Body> {
    Request::post("/thumbs").body(body).unwrap()
}

/// A node that has no room, and says why.
pub(crate) fn full(why: &'static str) -> ServeOptions {
    let admit: Admit = Arc::new(move |_, _| Err(Busy { reason: why.to_owned() }));
    ServeOptions { admit: Some(admit), ..ServeOptions::default() }
}

/// Answers with what came.
pub(crate) fn echo(request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
    Box::pin(async move {
        claim(&request, Outcome::Succeeded, None);
        let (head, body) = request.into_parts();
        let mut response = Response::new(body);
        response.headers_mut().insert("seen-ticket", head.headers[headers::TICKET].clone());
        response
    })
}

pub(crate) fn exchange(request: &Request<Body>) -> Exchange {
    request.extensions().get::<Exchange>().unwrap().clone()
}

/// A node's last word, with three other runs there.
pub(crate) fn last_word(outcome: Outcome, code: Option<Code>) -> Bytes {
    let usage = Usage { cpu_us: CPU_US, ..Usage::default() };
    let detail = code.map(|_| "as the test wants it".to_owned());
    let end = RunEnd { outcome, code, detail, usage, warm: true, cached: false, running: 3 };
    serde_json::to_vec(&end).unwrap().into()
}

/// Says it now: it goes with the end.
pub(crate) fn claim(request: &Request<Body>, outcome: Outcome, code: Option<Code>) {
    exchange(request).claim_end().unwrap().send(last_word(outcome, code));
}

/// A problem of the node's own.
pub(crate) fn problem(code: Code) -> Response<Body> {
    let problem = Problem::new(code, "as the test wants it").with_help("Ask the test.");
    Response::builder()
        .status(code.status())
        .header(headers::NODE_PROBLEM, code.as_str())
        .body(fabric::full(problem.to_json()))
        .unwrap()
}

/// Reads a response to its end, as an owner does; its bytes, or why there are not all.
pub(crate) async fn pour(response: Response<Body>, attempt: Attempt) -> (Attempt, Result<Bytes, String>) {
    pour_up_to(response, attempt, ByteSize::mib(1)).await
}

pub(crate) async fn pour_up_to(
    response: Response<Body>,
    attempt: Attempt,
    size_max: ByteSize,
) -> (Attempt, Result<Bytes, String>) {
    let mut body = ResponseBody::new(response.into_body(), VecDeque::new(), size_max, attempt);
    let read = (&mut body).collect().await;
    let read = read.map(|all| all.to_bytes()).map_err(|error| error.to_string());
    (body.into_holder(), read)
}

/// Waits for the last word, and ends it.
pub(crate) async fn conclude(mut attempt: Attempt) -> Concluded {
    attempt.leave();
    attempt.last_word().await;
    attempt.conclude()
}
