//! What handlers and tasks share.

use std::sync::Arc;
use std::time::Instant;

use fabric::Fabric;
use fabric::metric_names::LearningNames;
use placing::{Learning, Placing};
use protocol::{InstanceId, NodeId, Problem};
use store::Store;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::db::{Committed, Db};
use crate::error::StartError;
use crate::finite::Bounds;
use crate::functions::prepare::Prepares;
use crate::identity::codes::Codes;
use crate::identity::devices::Devices;
use crate::identity::passwords::Passwords;
use crate::identity::resets::Resets;
use crate::identity::standing::Standings;
use crate::identity::tries::Tries;
use crate::jobs::Jobs;
use crate::logs::Logs;
use crate::nodes::calibration::Means;
use crate::nodes::{Calibration, Joining, Nodes, standing};
use crate::objects::keys::{self, Keyring};
use crate::objects::{self, Epochs, Objects, Stores};
use crate::operator::Operator;
use crate::routes_outbox::Routes;
use crate::settlement::{Cuts, History};
use crate::tickets::Tickets;

/// The two connections of the control plane: the core's own traffic, and the nodes'.
#[derive(Clone)]
pub struct ControlFabrics {
    /// For the core: API, JetStream, pulses.
    pub core: Fabric,
    /// For nodes: their services, prepares, reports.
    pub nodes: Fabric,
}

/// The control plane's state. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<State>);

impl std::ops::Deref for App {
    type Target = State;
    fn deref(&self) -> &State {
        &self.0
    }
}

/// See [`App`].
pub struct State {
    /// Which control plane this is.
    pub(crate) instance: InstanceId,
    /// Its configuration.
    pub(crate) config: Config,
    /// The database.
    pub(crate) db: Db,
    /// Artifacts, blocks and other objects.
    pub(crate) store: Store,
    /// What their index needs.
    pub(crate) objects: Arc<Objects>,
    /// Under which epochs this process puts them.
    pub(crate) epochs: Epochs,
    /// One check of all bytes at once.
    pub(crate) checks: Arc<Semaphore>,
    /// The accounts' runs.
    pub(crate) history: History,
    /// None: only the API runs (in tests).
    pub(crate) fabrics: Option<ControlFabrics>,
    /// The platform's root secret, and tickets.
    pub(crate) tickets: Arc<Tickets>,
    /// Hashing.
    pub(crate) passwords: Passwords,
    /// How often strangers may try.
    pub(crate) tries: Tries,
    /// Devices that have logged in before.
    pub(crate) devices: Devices,
    /// Codes of second factors.
    pub(crate) codes: Codes,
    /// Links for new passwords, and codes for signing up.
    pub(crate) resets: Resets,
    /// The one-time token.
    pub(crate) operator: Operator,
    /// How machines join.
    pub(crate) joining: Joining,
    /// Latest node reports.
    pub(crate) nodes: Nodes,
    /// What nodes are checked with.
    pub(crate) calibration: Calibration,
    /// What is finite, and who has how much of it.
    pub(crate) bounds: Bounds,
    /// Who may go on with streams and waits.
    pub(crate) standings: Standings,
    /// What is being prepared.
    pub(crate) prepares: Prepares,
    /// How far the routes have come.
    pub(crate) routes: Routes,
    /// Who reads logs.
    pub(crate) logs: Logs,
    /// Halves of runs that wait to be settled.
    pub(crate) cuts: Cuts,
    /// Where jobs may go, and who watches them.
    pub(crate) jobs: Jobs,
    /// What brings jobs to nodes.
    pub(crate) placing: Arc<Placing>,
}

impl App {
    /// Opens the database and the keys.
    ///
    /// # Errors
    /// When they cannot be opened, or the data is of a newer version.
    pub async fn open(
        config: Config,
        stores: impl Into<Stores>,
        fabrics: Option<ControlFabrics>,
    ) -> Result<Self, StartError> {
        let Stores { store, legacy, copies } = stores.into();
        let instance = InstanceId::new();
        let db = Db::open(&config.database, config.database_connections_max).await?;
        let operator = Operator::open(&config.operator_token, &db).await?;
        let lost = |error: crate::error::Error| StartError::Lost(error.to_string());
        let tickets = Arc::new(Box::pin(root_secret(&config, &db)).await?);
        let keys = Box::pin(Keyring::open(config.store_keys(), tickets.master_key(), &db)).await?;
        if !objects::is_key(&db, &tickets.key_check()).await? {
            return Err(StartError::TicketKeyOfAnother(config.ticket_key));
        }
        Box::pin(objects::claim(&db, &store)).await?;
        Box::pin(objects::extent::start(&db, &store, copies)).await?;
        let joining = Joining::new(&config, &tickets)?;
        crate::nodes::records::ensure_local(&db, &joining, &config.local_nodes).await.map_err(lost)?;
        let learning = Learning::new(&LearningNames::CONTROL_PLANE);
        let placing = Placing::new(config.placing(), instance, learning, Arc::<Tickets>::clone(&tickets));
        let epochs = Epochs::new(db.clone(), instance, config.store_epoch_lease);
        Ok(Self(Arc::new(State {
            instance,
            history: History::new(&config),
            db,
            store,
            fabrics,
            devices: Devices::new(tickets.secret("devices")),
            resets: Resets::new(&config, tickets.secret("codes by mail"))?,
            codes: Codes::new(tickets.secret("second factors")),
            calibration: Calibration::new(&tickets),
            objects: Arc::new(Objects::new(keys, legacy)),
            epochs,
            checks: Arc::new(Semaphore::new(1)),
            tickets,
            passwords: Passwords::new(&config).map_err(lost)?,
            tries: Tries::new(&config),
            operator,
            joining,
            nodes: Nodes::default(),
            bounds: Bounds::new(&config),
            standings: Standings::default(),
            prepares: Prepares::default(),
            routes: Routes::default(),
            logs: Logs::default(),
            cuts: Cuts::default(),
            jobs: Jobs::new(&config, Arc::clone(&placing)),
            placing,
            config,
        })))
    }

    /// Checks nodes until it is stopped.
    pub(crate) async fn check_nodes(&self, stop: &CancellationToken) {
        let Some(fabrics) = &self.fabrics else { return stop.cancelled().await };
        let means = Means {
            instance: self.instance,
            config: &self.config,
            db: &self.db,
            nodes: &self.nodes,
            placing: &self.placing,
            routes: &self.routes,
            fabric: &fabrics.nodes,
        };
        Box::pin(self.calibration.run(means, stop)).await;
    }

    /// The platform speaks with a node no more: it is told why, and this process forgets it. Others hear of it by the outbox.
    pub(crate) async fn cut_off(&self, node: NodeId, why: &Problem) {
        self.nodes.forget(node);
        self.jobs.forget(node);
        if let Some(fabrics) = &self.fabrics {
            standing::tell(&fabrics.nodes, node, why).await;
        }
        self.shut_out(node);
    }

    /// A node has left, or was shut out: this process gives up what it has there, and hears nothing more of it.
    pub(crate) fn shut_out(&self, node: NodeId) {
        self.nodes.forget(node);
        self.jobs.forget(node);
        if let Some(fabrics) = &self.fabrics {
            fabrics.nodes.shut_out(node);
        }
    }

    /// A node is on record, whatever was before.
    pub(crate) fn let_in(&self, node: NodeId) {
        if let Some(fabrics) = &self.fabrics {
            fabrics.nodes.let_in(node);
        }
    }

    /// After a commit: the outbox is published, and a change of routes is waited for until all live gateways have
    /// it, a few seconds at most.
    pub(crate) async fn announce(&self, committed: Committed) {
        if !committed.events || self.fabrics.is_none() {
            return;
        }
        self.routes.wake();
        let wait = self.config.announce_wait_max.duration();
        let reached = self.routes.reached(committed.revision, self.config.silence_max.duration());
        let begun = Instant::now();
        if committed.routes && tokio::time::timeout(wait, reached).await.is_err() {
            let waited = begun.elapsed();
            tracing::warn!(revision = committed.revision, ?waited, "revision not yet applied by all gateways");
        }
    }
}

/// The root secret. One that is missing is made anew where somebody says that it is lost, and nothing that is kept needs it: a
/// platform may be restored from its database, its store and an export of its master keys.
async fn root_secret(config: &Config, db: &Db) -> Result<Tickets, StartError> {
    let is_known = objects::knows_key(db).await?;
    let is_lost = is_known
        && config.ticket_key_new
        && !config.ticket_key.exists()
        && !keys::need_root_secret(&config.store_keys(), db).await?;
    let tickets = Tickets::open(&config.ticket_key, is_known && !is_lost)?;
    if is_lost {
        tracing::error!(
            file = %config.ticket_key.display(),
            "the root secret was not there and has been made anew: second factors are to be set up again, and lenders' \
             machines are to join again"
        );
        objects::forget_key(db).await?;
    }
    Ok(tickets)
}
