//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fabric::Fabric;
use placing::Placing;
use protocol::InstanceId;
use store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clients::ClientCounts;
use crate::config::Config;
use crate::core_client::CoreClient;
use crate::epochs::Epochs;
use crate::finite::Bounds;
use crate::hosts::Hosts;
use crate::install::Installer;
use crate::issuer::Issuer;
use crate::keys::Keys;
use crate::meters::Meters;
use crate::node_connections::NodeConnections;
use crate::refusals::Refusals;
use crate::routes::Routes;
use crate::spool::Spool;
use crate::tls::Tls;

/// The gateway's two connections: node traffic has one of its own.
#[derive(Clone)]
pub struct Fabrics {
    /// To the control plane.
    pub core: Fabric,
    /// To the nodes.
    pub nodes: Fabric,
}

/// One running gateway.
pub(crate) struct Gateway {
    pub(crate) config: Config,
    /// Where it listens.
    pub(crate) port: u16,
    /// The hosts that it answers for.
    pub(crate) hosts: Hosts,
    /// What each client has open: connections, and bodies that come before we know who sends them.
    pub(crate) connections: Arc<ClientCounts>,
    pub(crate) strangers: Arc<ClientCounts>,
    pub(crate) bounds: Bounds,
    /// None: plain HTTP alone.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) node_connections: Arc<NodeConnections>,
    pub(crate) installer: Installer,
    pub(crate) instance: InstanceId,
    pub(crate) fabrics: Fabrics,
    pub(crate) store: Store,
    /// Under which epochs it puts what it stores.
    pub(crate) epochs: Arc<Epochs>,
    pub(crate) core: CoreClient,
    pub(crate) keys: Arc<Keys>,
    /// Refusals of the API that are repeated for a moment.
    pub(crate) refusals: Refusals,
    pub(crate) routes: Arc<Routes>,
    pub(crate) placing: Arc<Placing>,
    pub(crate) spool: Spool,
    pub(crate) meters: Arc<Meters>,
    pub(crate) issuer: Arc<Issuer>,
    /// Routes have been read once, the keys of tickets are there, and the control plane has answered: it stays ready when
    /// that goes away.
    pub(crate) warmed_up: AtomicBool,
    /// It is going away: not ready any more.
    pub(crate) draining: Arc<AtomicBool>,
    /// The grace is over: what still waits for a node is answered now.
    pub(crate) cut: CancellationToken,
    /// Runs that wait for their node's last word after the caller has gone.
    pub(crate) concluding: TaskTracker,
    /// No longer.
    pub(crate) leaving: CancellationToken,
}
