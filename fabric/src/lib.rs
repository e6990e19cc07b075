//! HTTP over NATS: a `tower::Service` mounted on a subject, and callers that send it an `http::Request`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::{InstanceId, NodeId};
use tokio_util::sync::CancellationToken;

/// The body of every request and response on the fabric.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BodyError>;

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The peer went away, or a gap in the sequence.
    #[error("the peer was lost")]
    Lost,
    /// The peer ended the exchange, with this reason.
    #[error("the peer aborted: {0}")]
    Aborted(String),
    /// The deadline passed.
    #[error("the deadline passed")]
    Deadline,
    /// The producer of the body failed.
    #[error("the body's source failed: {0}")]
    Source(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Who a process is on the fabric. Decides subjects and permissions.
#[derive(Debug, Clone)]
pub enum Identity {
    /// A trusted part.
    Core(InstanceId),
    /// A lender's node.
    Node(NodeId),
}

/// A NATS user: its JWT and its seed, as in a `.creds` file.
#[derive(Clone)]
pub struct Credentials {
    pub jwt: String,
    pub seed: String,
}

/// Everything that a connection needs.
#[derive(Clone)]
pub struct FabricConfig {
    /// `nats://host:port`, several with commas.
    pub url: String,
    pub credentials: Credentials,
    pub identity: Identity,
    /// Shown in the server's list of connections.
    pub name: String,
}

/// A service of the core, answered by one of its instances (queue group).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CoreService {
    ControlPlane,
}

/// What nodes may ask of the core: `cc.node.<id>.<name>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeService {
    Api,
    Blob,
    Kv,
    Log,
    Receipt,
}

/// What the core may ask of a node: `cc.node.<id>.in.<name>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeEndpoint {
    /// A run: the request is the function's own.
    Run,
    /// Prepare, drain.
    Control,
}

/// Where a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// From the core to the core.
    Core(CoreService),
    /// From the core to a node.
    Node(NodeId, NodeEndpoint),
    /// From a node to the core.
    FromNode(NodeService),
}

/// Where a service is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mount {
    /// In the core, for the core.
    Core(CoreService),
    /// In the core, for every node.
    ForNodes(NodeService),
    /// On a node, for the core.
    OnNode(NodeEndpoint),
}

/// Who called: proven by the subject that the call came on. An extension of every served request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    Core(InstanceId),
    Node(NodeId),
}

/// The exchange that a served request belongs to. An extension of every served request.
#[derive(Clone)]
pub struct Exchange {
    /// When the caller gives up.
    pub deadline: Option<Instant>,
    /// Cancelled when the caller goes away, cancels, or is lost.
    pub cancelled: CancellationToken,
    end: std::sync::Arc<std::sync::Mutex<Option<tokio::sync::oneshot::Sender<Bytes>>>>,
}

impl Exchange {
    /// Claims the payload of the exchange's `end` frame: `end` is then held back, also after a cancel, until
    /// the sender is used or dropped, 2 s at most.
    pub fn claim_end(&self) -> Option<EndSender> {
        None
    }
}

/// Sends the payload of `end`, once.
pub struct EndSender(tokio::sync::oneshot::Sender<Bytes>);

impl EndSender {
    pub fn send(self, payload: Bytes) {
        drop(self.0.send(payload));
    }
}

/// Says no before a request is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    pub reason: String,
}

/// Decides on the request's head alone, at once, whether it is taken. What it returns is put into the request's
/// extensions as a `Permit`.
pub type Admit = std::sync::Arc<dyn Fn(&http::request::Parts, Peer) -> Result<Permit, Busy> + Send + Sync>;

/// What admission reserved; given back when dropped. In a served request's extensions.
#[derive(Clone)]
pub struct Permit(pub std::sync::Arc<dyn std::any::Any + Send + Sync>);

/// How a service is served.
#[derive(Clone, Default)]
pub struct ServeOptions {
    /// None: everything is taken, up to the limit.
    pub admit: Option<Admit>,
    /// Exchanges at once; more are answered `busy`. None: 4096.
    pub concurrency: Option<usize>,
}

/// How a call is made.
#[derive(Debug, Clone)]
pub struct CallOptions {
    /// From now to the answer's last byte. Travels as remaining milliseconds.
    pub deadline: Duration,
    /// How long to wait for `accepted`.
    pub accept_within: Duration,
}

impl Default for CallOptions {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(30), accept_within: Duration::from_millis(250) }
    }
}

/// The answer's head and body, and the future of its end. Dropping the body before its end cancels the exchange.
pub struct Reply {
    pub response: http::Response<Body>,
    pub peer: Peer,
    pub end: EndFuture,
}

/// Resolves after the last byte (or the cancel, 2 s at most) to what `end` carried.
pub struct EndFuture(tokio::sync::oneshot::Receiver<End>);

impl Future for EndFuture {
    type Output = End;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<End> {
        std::pin::Pin::new(&mut self.0).poll(cx).map(|end| end.unwrap_or(End { payload: None, how: EndKind::Lost }))
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub payload: Option<Bytes>,
    pub how: EndKind,
}

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndKind {
    Completed,
    Cancelled,
    Aborted(String),
    Deadline,
    Lost,
}

/// Why a call brought no answer's head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nobody listens there.
    #[error("nobody listens there")]
    NoResponder,
    /// The peer said no.
    #[error("the peer is busy: {0}")]
    Busy(String),
    /// No `accepted` in time; it was revoked, and the peer may or may not have started. `revoked`: the peer has
    /// confirmed that it had not started.
    #[error("the peer did not accept in time")]
    NotAccepted { revoked: bool },
    /// The peer was lost after it had accepted.
    #[error("the peer was lost")]
    Lost,
    #[error("the deadline passed")]
    Deadline,
    #[error("the peer aborted: {0}")]
    Aborted(String),
    /// Not connected to NATS.
    #[error("not connected: {0}")]
    Disconnected(String),
    /// The request cannot be sent: its head is too large.
    #[error("the request cannot be sent: {0}")]
    Unsendable(String),
}

impl CallError {
    /// Whether the peer has surely not begun to work on it, so that another may.
    pub fn surely_not_started(&self) -> bool {
        matches!(self, Self::NoResponder | Self::Busy(_) | Self::NotAccepted { revoked: true } | Self::Unsendable(_))
    }
}

/// Why the fabric cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FabricError {
    #[error("cannot connect to NATS at {url}: {reason}")]
    Connect { url: String, reason: String },
    #[error("cannot subscribe: {0}")]
    Subscribe(String),
    #[error("bad credentials: {0}")]
    Credentials(String),
    #[error("{0}")]
    Server(String),
}

/// One NATS connection with one wildcard reply subscription. Cheap to clone.
#[derive(Clone)]
pub struct Fabric {
    nats: async_nats::Client,
}

/// A mounted service. Dropping it unmounts at once; `drain` stops taking calls and waits for the running ones.
pub struct Serving(CancellationToken);

impl Serving {
    pub async fn drain(self, grace: Duration) {
        let _ = grace;
    }
}

impl Fabric {
    /// Connects; keeps reconnecting for ever after the first success.
    pub async fn connect(config: FabricConfig) -> Result<Self, FabricError> {
        let _ = config;
        unimplemented!()
    }

    /// The client, for trusted parts' JetStream and events.
    pub fn nats(&self) -> &async_nats::Client {
        &self.nats
    }

    /// Sends a request and waits for the answer's head. Dropping the future cancels.
    pub async fn call(
        &self,
        to: Target,
        request: http::Request<Body>,
        options: CallOptions,
    ) -> Result<Reply, CallError> {
        let _ = (to, request, options);
        unimplemented!()
    }

    /// Mounts a service. Its error type is infallible: a failure is a response.
    pub async fn serve<S>(&self, at: Mount, service: S, options: ServeOptions) -> Result<Serving, FabricError>
    where
        S: tower::Service<http::Request<Body>, Response = http::Response<Body>, Error = std::convert::Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
    {
        let _ = (at, service, options);
        unimplemented!()
    }

    /// Ends the connection.
    pub async fn close(&self) {}
}

/// The keys that make NATS users: operator, account and system account, kept in a folder (mode 0600).
#[derive(Clone)]
pub struct Authority {}

impl Authority {
    /// Opens the folder's keys, or makes them.
    pub fn open(folder: &std::path::Path) -> Result<Self, FabricError> {
        let _ = folder;
        unimplemented!()
    }
    /// A user with all rights in the account.
    pub fn core_user(&self, name: &str) -> Result<Credentials, FabricError> {
        let _ = name;
        unimplemented!()
    }
    /// A node's user: publishes under `cc.node.<id>.{out.>,api,blob,kv,log,receipt}`, listens on `cc.node.<id>.in.>`, nothing else.
    pub fn node_user(&self, node: NodeId) -> Result<Credentials, FabricError> {
        let _ = node;
        unimplemented!()
    }
}

/// The nats-server child process of embedded mode.
#[derive(Debug, Clone)]
pub struct NatsServerConfig {
    pub binary: PathBuf,
    /// JetStream's folder, the config file, and the pid file.
    pub folder: PathBuf,
    /// Port 0: a free one.
    pub listen: SocketAddr,
}

/// A supervised nats-server: restarted when it dies or hangs; dies with this process, also after `kill -9`.
pub struct NatsServer {}

impl NatsServer {
    /// Ends an orphan of an earlier start of the same folder, starts, waits until it is ready.
    pub async fn start(config: NatsServerConfig, authority: &Authority) -> Result<Self, FabricError> {
        let _ = (config, authority);
        unimplemented!()
    }
    pub fn url(&self) -> String {
        String::new()
    }
    /// The child's pid now.
    pub fn pid(&self) -> Option<u32> {
        None
    }
    /// Stops it cleanly, within 3 s.
    pub async fn stop(self) {}
}

/// Subjects: built and parsed here, nowhere else.
pub mod subjects {
    use protocol::NodeId;

    /// Reports of one node, published by it each second.
    pub fn report(node: NodeId) -> String {
        format!("cc.node.{node}.out.report")
    }
    /// All nodes' reports, for trusted parts.
    pub const REPORTS: &str = "cc.node.*.out.report";
    /// Which node published on this `out` subject.
    pub fn node_of(subject: &str) -> Option<NodeId> {
        subject.strip_prefix("cc.node.")?.split('.').next()?.parse().ok()
    }
    /// The control plane's pulse.
    pub const CONTROL_PULSE: &str = "cc.core.events.control";
    /// Each gateway's pulse.
    pub const GATEWAY_PULSE: &str = "cc.core.events.gateway";
    /// KV bucket of routes.
    pub const ROUTES_BUCKET: &str = "cc-routes";
    /// KV bucket of node records.
    pub const NODES_BUCKET: &str = "cc-nodes";
}
