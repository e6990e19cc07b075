//! The fabric itself: connects, calls, mounts, and hands each message to the exchange that it belongs to.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use protocol::node::BootKey;
use protocol::{InstanceId, NodeId, Problem};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::address::{Identity, Mount, NodeEndpoint, Peer, Target, Way};
use crate::body::Body;
use crate::boots::Boots;
use crate::call::{CallOptions, EndFuture, Reply};
use crate::credentials::Credentials;
use crate::dropped::{DropLog, Dropped};
use crate::error::{CallError, FabricError};
use crate::exchange::Shared;
use crate::exchange::callee::{Opened, on_open};
use crate::exchange::caller::{Call, node_key};
use crate::exchange::mounted::Mounted;
use crate::exchange::table::{Key, Table};
use crate::exchange::ticker;
use crate::exchange::window::Failure;
use crate::frame::{self, Frame, FrameError, Message};
use crate::lists::Lists;
use crate::profile::{self, Part};
use crate::seal;
use crate::serve::{ServeOptions, Serving};
use crate::shut_out::{self, ShutOut};
use crate::subjects::{self, inbox};
use crate::uplink::Uplink;
use crate::wire::{Handler, Inbound, Subscription, Wire};

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

/// One NATS connection with one wildcard reply subscription for each kind of peer it speaks with. Cheap to clone.
#[derive(Clone)]
pub struct Fabric {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    identity: Identity,
    /// Which of a node's connections it is.
    way: Way,
    config: FabricConfig,
    core_inbox: OnceLock<Subscription>,
    node_inbox: OnceLock<Subscription>,
    nats: OnceLock<async_nats::Client>,
    ticker: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.ticker.abort();
    }
}

impl Fabric {
    /// Connects; keeps reconnecting for ever after the first success.
    pub async fn connect(config: FabricConfig) -> Result<Self, FabricError> {
        Self::connect_by(config, None, BootKey(rand::random()), Way::Runs).await
    }

    /// The same through a gateway; `config.url` is only shown.
    pub async fn connect_through(uplink: Uplink, config: FabricConfig) -> Result<Self, FabricError> {
        Self::connect_by(config, Some(uplink), BootKey(rand::random()), Way::Runs).await
    }

    /// Another connection of this start of the node, on which its disks are served: what is on its way there delays no run.
    /// Not through a gateway: the operator's own nodes alone have disks.
    pub async fn of_disks(&self) -> Result<Self, FabricError> {
        let mut config = self.inner.config.clone();
        config.name.push_str(" (disks)");
        Self::connect_by(config, None, self.boot().clone(), Way::Store).await
    }

    async fn connect_by(
        config: FabricConfig,
        uplink: Option<Uplink>,
        boot: BootKey,
        way: Way,
    ) -> Result<Self, FabricError> {
        let wire = Wire::connect(&config, uplink).await?;
        let shared = Arc::new(Shared {
            wire,
            table: Table::default(),
            started: Instant::now(),
            drops: DropLog::default(),
            boots: Boots::default(),
            lists: Lists::default(),
            shut_out: ShutOut::default(),
            boot,
        });
        let ticker = tokio::spawn(ticker::run(Arc::downgrade(&shared))).abort_handle();
        let inner = Inner {
            shared,
            identity: config.identity.clone(),
            way,
            config,
            core_inbox: OnceLock::new(),
            node_inbox: OnceLock::new(),
            nats: OnceLock::new(),
            ticker,
        };
        let fabric = Self { inner: Arc::new(inner) };
        if let Identity::Node(_) = fabric.inner.identity {
            fabric.listen(true);
        }
        Ok(fabric)
    }

    /// A general client with a connection of its own, for trusted parts' JetStream; connected at its first use. Never
    /// subscribe with it to what nodes publish: see [`Fabric::events`].
    pub fn nats(&self) -> &async_nats::Client {
        self.inner.nats.get_or_init(|| jetstream_client(&self.inner.config))
    }

    /// Whether it is connected now.
    pub fn is_up(&self) -> bool {
        self.wire().is_up()
    }

    /// Why the gateway does not let this node in; none where it does, or cannot be reached.
    pub fn refusal(&self) -> Option<Box<Problem>> {
        self.wire().refusal()
    }

    pub(crate) fn wire(&self) -> &Wire {
        &self.inner.shared.wire
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// Exchanges that are live now, at both of this process's ends: a figure for metrics and tests.
    pub fn live_exchanges(&self) -> usize {
        self.inner.shared.table.len()
    }

    /// Sends a request and waits for the answer's head. Dropping the future cancels.
    pub async fn call(
        &self,
        to: Target,
        request: http::Request<Body>,
        options: CallOptions,
    ) -> Result<Reply, CallError> {
        let (call, end) = self.start(to, request, options);
        let (response, peer) = call.await?;
        Ok(Reply { response, peer, end })
    }

    /// As `call`, with an end that outlives the call: it resolves also when the call has failed or was dropped.
    pub fn start(
        &self,
        to: Target,
        request: http::Request<Body>,
        options: CallOptions,
    ) -> (impl Future<Output = Result<(http::Response<Body>, Peer), CallError>> + Send + 'static, EndFuture) {
        self.start_with(to, request, options, || {})
    }

    /// As `start`; `accepted` is called once the peer says that it has accepted. A peer that responds at once does not
    /// say so before.
    pub fn start_with<F: FnOnce() + Send>(
        &self,
        to: Target,
        request: http::Request<Body>,
        options: CallOptions,
        accepted: F,
    ) -> (impl Future<Output = Result<(http::Response<Body>, Peer), CallError>> + Send + use<F>, EndFuture) {
        let fabric = self.clone();
        let (sender, receiver) = oneshot::channel();
        let call = async move {
            let for_nodes = !matches!(to, Target::Core(_));
            fabric.listen(for_nodes);
            let shared = fabric.inner.shared.clone();
            let call = Call { shared, identity: fabric.inner.identity.clone(), to, options, end: sender };
            call.run(request, accepted).await
        };
        (profile::around(Part::Fabric, call), EndFuture(receiver))
    }

    /// Mounts a service. Its error type is infallible: a failure is a response.
    pub async fn serve<S>(&self, at: Mount, service: S, options: ServeOptions) -> Result<Serving, FabricError>
    where
        S: tower::Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
    {
        let identity = self.inner.identity.clone();
        let own = match &identity {
            Identity::Core(_) => None,
            Identity::Node(node) => Some(*node),
        };
        let Some((subject, queued)) = subjects::mount(at, own) else {
            return Err(FabricError::Subscribe("only a node can mount on a node".to_owned()));
        };
        let on_disks = at == Mount::OnNode(NodeEndpoint::Store);
        if on_disks != (self.inner.way == Way::Store) {
            return Err(FabricError::Subscribe("a node's disks have a connection of their own".to_owned()));
        }
        self.listen(!matches!(at, Mount::Core(_)));
        let mounted = Mounted::new(options);
        let (shared, taking) = (self.inner.shared.clone(), mounted.clone());
        let service = parking_lot::Mutex::new(service);
        let handler: Handler = Arc::new(move |inbound: Inbound<'_>| {
            if let Some(opened) = opened(&shared, &identity, at, &inbound) {
                on_open(&shared, &taking, || service.lock().clone(), opened);
            }
        });
        let queue = queued.then_some(subjects::QUEUE);
        let subscription = self.inner.shared.wire.subscribe(&subject, queue, handler);
        *mounted.subscription.lock() = Some(subscription);
        // After this the server routes to us, so that a caller who is told of us finds us.
        self.inner
            .shared
            .wire
            .flush()
            .await
            .map_err(|_| FabricError::Subscribe("the connection is down".to_owned()))?;
        Ok(Serving { mounted, _fabric: self.clone() })
    }

    /// Ends the connection.
    pub async fn close(&self) {
        self.inner.shared.wire.close().await;
    }

    /// Subscribes to our own subjects, once for each kind of peer.
    fn listen(&self, for_nodes: bool) {
        let inner = &self.inner;
        let cell = if for_nodes { &inner.node_inbox } else { &inner.core_inbox };
        cell.get_or_init(|| {
            let subject = match (&inner.identity, for_nodes) {
                (Identity::Core(instance), false) => inbox::all_core(*instance),
                (Identity::Core(instance), true) => inbox::all_core_for_nodes(*instance),
                (Identity::Node(node), _) => inbox::all_node(*node, inner.way),
            };
            let (shared, identity) = (Arc::downgrade(&inner.shared), inner.identity.clone());
            let from_nodes = for_nodes && matches!(identity, Identity::Core(_));
            let handler: Handler = Arc::new(move |inbound: Inbound<'_>| {
                if let Some(shared) = shared.upgrade() {
                    on_inbox(&shared, &identity, from_nodes, &inbound);
                }
            });
            inner.shared.wire.subscribe(&subject, None, handler)
        });
    }
}

/// Connects in the background; what is asked of it meanwhile waits.
fn jetstream_client(config: &FabricConfig) -> async_nats::Client {
    let key = config.credentials.key.clone();
    let options = async_nats::ConnectOptions::with_jwt(config.credentials.jwt.clone(), move |nonce| {
        let key = key.clone();
        async move { key.sign(&nonce).await.map_err(async_nats::AuthError::new) }
    })
    .name(format!("{} (JetStream)", config.name))
    .ping_interval(Duration::from_secs(2))
    .retry_on_initial_connect()
    .reconnect_delay_callback(|attempt| Duration::from_millis(if attempt == 0 { 0 } else { 100 }));
    let servers: Vec<String> = config.url.split(',').map(|url| url.trim().to_owned()).collect();
    match options.connect(servers).now_or_never() {
        Some(Ok(client)) => client,
        Some(Err(error)) => unreachable!("the URL was good enough for the fabric: {error}"),
        None => unreachable!("the first connection is made in the background"),
    }
}

/// A message on one of our own subjects: a frame of a live exchange, or it is dropped.
fn on_inbox(shared: &Arc<Shared>, identity: &Identity, from_nodes: bool, inbound: &Inbound<'_>) {
    let peer = if from_nodes { subjects::node_of(inbound.subject) } else { None };
    // Where it comes from a node, what is dropped is counted.
    let dropped = |what: Dropped, why: &dyn std::fmt::Display| {
        if let Some(node) = peer {
            shared.drops.note(node, what, why, Instant::now());
        }
    };
    if from_nodes && peer.is_none() {
        return;
    }
    if peer.is_some_and(|node| shared.shut_out.has(node)) {
        return dropped(Dropped::Frame, &shut_out::WHY);
    }
    let Some(id) = inbox::exchange_of(inbound.subject) else {
        return dropped(Dropped::Frame, &"its subject names no exchange");
    };
    let node = node_key(peer);
    if inbound.no_responders {
        if let Some(link) = shared.table.get(&Key { caller: true, node, id }) {
            link.on_no_responders();
        }
        return;
    }
    let mut payload = None;
    if seal::is_sealed(inbound.payload) {
        let caller = Key { caller: true, node, id };
        let link = shared.table.get(&caller).or_else(|| shared.table.get(&Key { caller: false, ..caller }));
        payload = match (identity, link) {
            (Identity::Node(_), _) => seal::open(&shared.boot, inbound.payload),
            (Identity::Core(_), Some(link)) => link.seal().and_then(|key| seal::open(key, inbound.payload)),
            (Identity::Core(_), None) => return dropped(Dropped::Stray, &"there is no such exchange"),
        };
        if payload.is_none() {
            return dropped(Dropped::Frame, &"it is sealed with another key");
        }
    }
    let sealed = payload.is_some();
    let Some((exchange, from_caller)) = frame::peek(payload.as_deref().unwrap_or(inbound.payload)) else {
        return dropped(Dropped::Frame, &"it is no frame");
    };
    let key = Key { caller: !from_caller, node, id };
    if exchange != id {
        return dropped(Dropped::Frame, &"it is of another exchange than its subject says");
    }
    // Looked up before anything is copied, so that a flood of strays is cheap.
    let link = shared.table.get(&key);
    if link.is_none() && (key.caller || !matches!(identity, Identity::Node(_))) {
        return dropped(Dropped::Stray, &"there is no such exchange");
    }
    if from_nodes && !sealed && link.as_ref().is_some_and(|link| link.key.caller && link.seal().is_some()) {
        return dropped(Dropped::Frame, &"it is not sealed by the node that was called");
    }
    match (link, Message::decode(payload.unwrap_or_else(|| inbound.bytes()))) {
        (Some(link), Ok(message)) => {
            link.heard();
            if key.caller { link.on_callee_frame(identity, message) } else { link.on_caller_frame(message) }
        }
        // Only the exchange's own peer can have sent it, in a version that we do not speak or none.
        (Some(link), Err(error)) => {
            let reason = error.to_string();
            dropped(Dropped::Frame, &reason);
            link.hint(Frame::Abort { reason: reason.clone() });
            link.fail(Failure::Aborted(reason));
        }
        (None, Ok(message)) => on_stray(shared, &key, &message),
        (None, Err(_)) => {}
    }
}

/// A frame without an exchange, at a node: it remembers what it must not start. That it has not started is confirmed
/// only when the open comes: the exchange may also be over.
fn on_stray(shared: &Shared, key: &Key, message: &Message) {
    if matches!(message.frame, Frame::Revoke | Frame::Cancel { .. }) {
        shared.table.remember_revoked(*key);
    }
}

/// An open on a service's subject, with what the subject proves about its sender.
fn opened(shared: &Arc<Shared>, identity: &Identity, at: Mount, inbound: &Inbound<'_>) -> Option<Opened> {
    let dropped = |why: &str| {
        if let (Mount::ForNodes(_), Some(node)) = (at, subjects::node_of(inbound.subject)) {
            shared.drops.note(node, Dropped::Frame, why, Instant::now());
        }
        None
    };
    let sealed = seal::is_sealed(inbound.payload);
    let bytes = match (sealed, identity) {
        (false, _) => inbound.bytes(),
        // For another start of this node: it is not ours to answer.
        (true, Identity::Node(_)) => seal::open(&shared.boot, inbound.payload)?,
        (true, Identity::Core(_)) => return dropped("nobody seals what opens an exchange with the core"),
    };
    let message = match Message::decode(bytes) {
        Ok(message) => message,
        Err(FrameError::Version { version, exchange, .. }) => {
            refuse_version(shared, at, inbound, version, exchange);
            return dropped("it is of a version that is not spoken");
        }
        Err(FrameError::Garbage) => return dropped("it is no frame"),
    };
    let Frame::Open { from, .. } = &message.frame else { return dropped("it opens no exchange") };
    let (id, asker) = (message.exchange, *from);
    let (peer, node, reply_to) = match at {
        Mount::ForNodes(_) => {
            let node = subjects::node_of(inbound.subject)?;
            (Peer::Node(node), Some(node), inbox::node(node, Way::Runs, id))
        }
        Mount::Core(_) => {
            let instance = InstanceId::from_uuid(*from);
            (Peer::Core(instance), None, inbox::core(instance, id))
        }
        Mount::OnNode(_) => {
            let Identity::Node(own) = identity else { return None };
            let instance = InstanceId::from_uuid(*from);
            (Peer::Core(instance), None, inbox::core_for_node(instance, *own, id))
        }
    };
    let from = match identity {
        Identity::Core(instance) => instance.uuid(),
        Identity::Node(node) => node.uuid(),
    };
    let key = Key { caller: false, node: node_key(node), id };
    let seal = match node {
        None => sealed.then(|| shared.boot.clone()),
        Some(node) => shared.boots.key(node).filter(|key| seal::boot_id(key) == asker),
    };
    Some(Opened { message, peer, reply_to, key, from, seal })
}

/// Says which versions are spoken. A node is answered only where it itself listens.
fn refuse_version(shared: &Arc<Shared>, at: Mount, inbound: &Inbound<'_>, version: u8, exchange: u128) {
    let to: Option<String> = match at {
        Mount::ForNodes(_) => {
            subjects::node_of(inbound.subject).map(|node: NodeId| inbox::node(node, Way::Runs, exchange))
        }
        Mount::Core(_) | Mount::OnNode(_) => inbound.reply.map(str::to_owned),
    };
    if let Some(to) = to {
        let frame = Frame::Abort { reason: version_refused(version) };
        let message = Message { exchange, from_caller: false, sequence: 0, frame };
        shared.wire.try_publish(&to, &message.encode().parts());
    }
}

fn version_refused(version: u8) -> String {
    FrameError::Version { version, exchange: 0, from_caller: false }.to_string()
}
