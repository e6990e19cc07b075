//! The office of settlement. Its leader alone mounts what takes batches and checkpoints, so that both halves of a run meet in
//! the memory of one process.
//!
//! ```text
//! follow --lease is free--> lead: mount, make cuts, renew --+
//!    ^                                                      |
//!    +--- lease lost, or something failed: unmounted at once, and what waits is forgotten
//! ```
//! Whoever has sent something keeps it until it is acknowledged, and sends it to the next leader. A leader that was paused
//! finds in the transaction of its next cut that its epoch has passed, and changes nothing. After a death nobody takes
//! anything until the lease (`--lease`) has ended, and [`LOOK_EVERY`] more at most; a leader that stops gives it back.
//!
//! However much there is to settle, the office is kept. A renewal is one statement on a connection that is for leases, and
//! waits for no cut: a cut locks the leader's row for its commit alone ([`Lease::seal`]). On SQLite, which has one writer,
//! it waits for the cut that is being made, whose end renews the lease as well. A renewal that fails is tried again until
//! the lease has ended, and then once more, because a process that was stalled may have lost it to nobody. Whoever cannot
//! hear what is sent, because NATS is out of reach, does not lead.

use std::sync::Arc;
use std::time::Duration;

use fabric::{FabricError, Serving};
use sea_orm::DbErr;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cut;
use crate::App;
use crate::leader::{self, Lease, Office};

/// Between two looks at another one's lease.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Renewals in the time of a lease.
const RENEWALS: u32 = 4;
/// A cut that is being made when it is stopped may end within so long. Else it is given up: its transaction is rolled back,
/// and whoever has sent something has it still.
const CUT_ENDS_WITHIN: Duration = Duration::from_millis(300);

/// Why a term has ended.
#[derive(Debug, thiserror::Error)]
enum TermError {
    #[error("another control plane leads")]
    NotLeading,
    #[error("the lease has ended before it could be renewed")]
    NotRenewed,
    #[error("NATS has been out of reach for longer than a lease")]
    OutOfReach,
    #[error(transparent)]
    Database(#[from] DbErr),
    #[error(transparent)]
    Mount(#[from] FabricError),
    #[error("the task of cuts broke: {0}")]
    Broke(JoinError),
}

/// Leads while it can, until it is stopped. `tried` is dropped once the endpoints are mounted, or cannot be yet.
pub(crate) async fn run<M, F>(app: App, mount: M, tried: oneshot::Sender<()>, stop: CancellationToken)
where
    M: Fn() -> F + Send + Sync,
    F: Future<Output = Result<Vec<Serving>, FabricError>> + Send,
{
    let length = app.config.lease.duration();
    let mut tried = Some(tried);
    while !stop.is_cancelled() {
        // Nobody can send anything here; whoever else is there may lead.
        let lease = match is_in_reach(&app) {
            true => Lease::take(&app.db, Office::Settlement, app.instance, length).await,
            false => Ok(None),
        };
        match lease {
            Ok(Some(lease)) => {
                let term = Term { app: &app, lease: Arc::new(lease) };
                let epoch = term.lease.epoch();
                let ended = Box::pin(term.run(&mount, &mut tried, &stop)).await;
                if let Err(error) = ended {
                    tracing::warn!(%error, epoch, "settlement is not led any more; retrying");
                    if matches!(error, TermError::OutOfReach) {
                        resign(&app).await;
                    }
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "leader election of settlement failed"),
        }
        drop(tried.take());
        stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await;
    }
    resign(&app).await;
}

async fn resign(app: &App) {
    if let Err(error) = leader::resign(&app.db, Office::Settlement, app.instance).await {
        tracing::warn!(%error, "release of settlement's lease failed");
    }
}

/// Whether gateways and nodes can be heard.
fn is_in_reach(app: &App) -> bool {
    app.fabrics.as_ref().is_none_or(|fabrics| fabrics.core.is_up() && fabrics.nodes.is_up())
}

/// One term as the leader.
struct Term<'a> {
    app: &'a App,
    lease: Arc<Lease>,
}

impl Term<'_> {
    /// Until it is stopped, or something fails; then nothing is mounted any more.
    async fn run<M, F>(
        self,
        mount: &M,
        tried: &mut Option<oneshot::Sender<()>>,
        stop: &CancellationToken,
    ) -> Result<(), TermError>
    where
        M: Fn() -> F + Send + Sync,
        F: Future<Output = Result<Vec<Serving>, FabricError>> + Send,
    {
        let mut cuts = JoinSet::new();
        cuts.spawn(cut::begin(self.app, Arc::clone(&self.lease), stop.clone()));
        // Beside the renewal: without a connection it may take longer to mount than the lease lasts.
        let lead = async {
            let served = mount().await?;
            drop(tried.take());
            tracing::info!(epoch = self.lease.epoch(), "settlement is led here");
            stop.cancelled().await;
            Ok::<_, FabricError>(served)
        };
        let served = tokio::select! {
            // Before the cuts, which end where it is stopped.
            biased;
            served = lead => served?,
            () = stop.cancelled() => return Ok(()),
            ended = cuts.join_next() => {
                return Err(ended.and_then(Result::err).map_or(TermError::NotLeading, TermError::Broke));
            }
            error = self.keep() => return Err(error),
            () = self.out_of_reach() => return Err(TermError::OutOfReach),
        };
        if tokio::time::timeout(CUT_ENDS_WITHIN, cuts.join_next()).await.is_err() {
            tracing::warn!("settlement stopped in the middle of a cut; its halves come again");
            cuts.shutdown().await;
        }
        // What was on its way is answered by now: as committed, or as refused.
        futures::future::join_all(served.into_iter().map(|serving| serving.drain(crate::DRAIN_MAX))).await;
        Ok(())
    }

    /// Keeps the office until somebody else has it, or the lease has ended and cannot be renewed.
    async fn keep(&self) -> TermError {
        let db = &self.app.db;
        loop {
            tokio::select! {
                biased;
                () = self.renew() => return TermError::NotLeading,
                () = self.lease.ended(), if !db.has_one_writer() => {}
            }
            match tokio::time::timeout(self.lease.length() / RENEWALS, self.lease.renew(db)).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return TermError::NotLeading,
                Ok(Err(error)) => return error.into(),
                Err(_) => return TermError::NotRenewed,
            }
        }
    }

    /// Renews the lease until somebody else has the office.
    async fn renew(&self) {
        loop {
            tokio::time::sleep(self.lease.length() / RENEWALS).await;
            match self.lease.renew(&self.app.db).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => tracing::warn!(%error, "renewal of settlement's lease failed; retrying"),
            }
        }
    }

    /// Waits until NATS has been out of reach for longer than a lease.
    async fn out_of_reach(&self) {
        let length = self.lease.length();
        let mut heard = Instant::now();
        while heard.elapsed() <= length {
            tokio::time::sleep(length / RENEWALS).await;
            if is_in_reach(self.app) {
                heard = Instant::now();
            }
        }
    }
}

/// Leads from now on, whoever does: until this is dropped, another one begins anew, or it comes to the point of
/// `fabric::fault` of this name.
#[cfg(test)]
pub(crate) async fn begin_anew(app: &App, dies_at: &'static str) -> JoinSet<()> {
    let lease = usurp(app).await;
    let mut cuts = JoinSet::new();
    cuts.spawn(fabric::fault::die_at(dies_at, cut::begin(app, Arc::new(lease), CancellationToken::new())));
    cuts
}

/// Leads from now on, whoever does, until it is stopped.
#[cfg(test)]
pub(crate) async fn begin_until(app: &App, stop: CancellationToken) -> JoinSet<()> {
    let lease = usurp(app).await;
    let mut cuts = JoinSet::new();
    cuts.spawn(cut::begin(app, Arc::new(lease), stop));
    cuts
}

/// Takes the office, whoever has it.
#[cfg(test)]
pub(crate) async fn usurp(app: &App) -> Lease {
    let anybody = protocol::InstanceId::new();
    Lease::take(&app.db, Office::Settlement, anybody, Duration::ZERO).await.unwrap().unwrap()
}
