//! Training: the scheduler's model is made from the newest runs, in the background.
//!
//! ```text
//! newest runs (database) --> Snapshot::train, on a thread of its own --> store --> cc-models: which is the newest
//!                                                                                      |
//!                   gateways, and who places jobs, read it from the store and swap it <----+
//! ```
//!
//! Any control plane may train. Two that do so at once learn the same from the same runs, and the bucket's revision
//! lets one of them win. Nothing is lost with the bucket: the next turn makes a model again.

mod publish;
mod receipts;

#[cfg(test)]
pub(crate) use receipts::newest;

use std::collections::HashSet;
use std::time::Duration;

use async_nats::jetstream::kv::Store;
use fabric::metric_names;
use fabric::subjects::MODELS_BUCKET;
use protocol::model::ModelRecord;
use protocol::{NodeId, Timestamp};
use scheduler::{Snapshot, TrainError};
use sea_orm::DbErr;
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::db::loops;
use crate::routes_outbox::bucket::{self, BucketError};

/// So many turns come between two trainings, so that of several control planes one that stops is soon replaced.
const TURNS: u64 = 8;
const TURN_MIN: Duration = Duration::from_millis(200);
const FOLLOWED_EVERY: Duration = Duration::from_secs(5);
/// With fewer new runs the old model is as good.
const NEW_RUNS_MIN: u64 = 200;

/// Why there is no new model.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrainingError {
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error(transparent)]
    Database(#[from] DbErr),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Index(#[from] crate::error::Error),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error("the model cannot be written: {0}")]
    Form(String),
}

/// What a turn came to.
#[derive(Debug, PartialEq)]
pub(crate) enum Turn {
    /// A new model.
    Trained(ModelRecord),
    /// It is not time yet, or there is too little that is new.
    Rested,
    /// Another control plane was faster.
    Overtaken,
}

/// Trains until it is stopped.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    let every = app.config.train_every;
    let (Some(fabrics), true) = (&app.fabrics, every.0 > 0) else {
        stop.cancelled().await;
        return;
    };
    let context = bucket::context(fabrics.core.nats());
    let turns = async {
        loop {
            // Chance keeps control planes that started together apart.
            let pause = (every.duration() / u32::try_from(TURNS).unwrap_or(1)).max(TURN_MIN);
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.75..1.25))).await;
            let turn = async {
                let models = bucket::open(&context, MODELS_BUCKET, app.config.replicas).await?;
                once(&app, &models, Timestamp::now()).await
            };
            match turn.await {
                Ok(Turn::Trained(record)) => {
                    metrics::gauge!(metric_names::MODEL_ERROR).set(record.error);
                    tracing::info!(
                        version = record.version,
                        runs = record.runs,
                        error = record.error,
                        "new placement model"
                    );
                }
                Ok(turn) => tracing::debug!(?turn, "no model published"),
                Err(error) => tracing::warn!(%error, "model training failed"),
            }
        }
    };
    stop.run_until_cancelled(Box::pin(turns)).await;
}

/// Tells placements of jobs which model is the newest, until it is stopped.
pub(crate) async fn follow(app: App, stop: CancellationToken) {
    let Some(fabrics) = &app.fabrics else {
        stop.cancelled().await;
        return;
    };
    let context = bucket::context(fabrics.core.nats());
    let turns = async {
        loop {
            let newest = async {
                let models = bucket::open(&context, MODELS_BUCKET, app.config.replicas).await?;
                publish::newest(&models).await
            };
            match newest.await {
                Ok((Some(record), _)) => app.placing.learning.offer(record),
                Ok((None, _)) => {}
                Err(error) => tracing::debug!(%error, "lookup of the newest model failed"),
            }
            tokio::time::sleep(FOLLOWED_EVERY).await;
        }
    };
    stop.run_until_cancelled(Box::pin(turns)).await;
}

/// Trains, where it is time and there is something new.
pub(crate) async fn once(app: &App, models: &Store, now: Timestamp) -> Result<Turn, TrainingError> {
    let (newest, revision) = publish::newest(models).await?;
    let due = newest.as_ref().is_none_or(|newest| newest.trained.plus(app.config.train_every.duration()) <= now);
    let since = newest.as_ref().map_or(Timestamp(0), |newest| newest.trained);
    if !due || !receipts::are_since(app, since, NEW_RUNS_MIN).await? {
        return Ok(Turn::Rested);
    }
    let runs = receipts::newest(app, app.config.train_runs_max).await?;
    let at = Duration::from_millis(u64::try_from(now.0).unwrap_or(0));
    let rows = loops::nodes_all().all(app.db.read()).await?;
    let there: HashSet<NodeId> = rows.into_iter().filter(|row| row.state.is_member()).map(|row| row.id.0).collect();
    let train = move || Snapshot::train(&runs, at).map(|model| model.with_nodes(|node| there.contains(&node)));
    let snapshot = match apart(train).await? {
        Err(TrainError::TooFew { .. }) => return Ok(Turn::Rested),
        trained => trained?,
    };
    publish::publish(app, models, (newest, revision), &snapshot, now).await
}

/// On a thread of its own, which a stop does not wait for: training takes seconds.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, TrainingError> {
    let (answer, answered) = tokio::sync::oneshot::channel();
    let form = |error: &dyn std::fmt::Display| TrainingError::Form(error.to_string());
    let thread = std::thread::Builder::new().name("training".to_owned());
    // Nobody waits for it any more: its work is lost, and made again by whoever is there.
    thread.spawn(move || drop(answer.send(work()))).map_err(|error| form(&error))?;
    answered.await.map_err(|error| form(&error))
}
