//! The control plane: accounts, functions, routes and settlement. It owns the database; gateways and nodes reach it
//! only over the fabric, and all that it keeps in JetStream can be rebuilt from the database.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod api;
mod app;
mod audit;
mod config;
mod db;
mod erasure;
mod error;
mod etag;
pub mod finite;
mod functions;
mod idempotency;
mod identity;
mod jobs;
mod keep;
mod leader;
mod logs;
mod nodes;
mod objects;
mod openapi;
mod operator;
mod paging;
mod queues;
mod routes_outbox;
mod settlement;
mod tickets;
mod training;
mod triggers;
mod usage;
mod words;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use fabric::{CoreService, Fabric, FabricError, Mount, NodeService, ServeOptions, Serving};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

pub use app::{App, ControlFabrics};
pub use config::{Config, JobsPolicy, LocalJoin, LocalNode, MailOptions, SmtpUrl};
pub use db::is_migrating;
pub use error::StartError as Error;
pub use objects::{BareSweep, KeyError, KeyExport, KeyFindings, KeyFolder, KeyImport, KeyNumber, Stores, SweepError};

/// How long requests may finish after the stop.
const DRAIN_MAX: Duration = Duration::from_secs(3);
/// How long tasks may go on after that. They end by themselves, whatever there is to do; one that does not is given up, which
/// loses no more than a death of the process would: nothing.
const TASKS_END_WITHIN: Duration = Duration::from_secs(2);
/// How long the store's epochs may take to be closed. One that is not ends with its lease.
const EPOCHS_CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// How long what is left on the database's connections may take.
const DATABASE_CLOSES_WITHIN: Duration = Duration::from_secs(2);

/// The public API and the core's own calls, as a service of its own.
pub fn router(app: App) -> Router {
    api::router(app)
}

/// Serves until `shutdown`, then drains. `ready` is told when everything is mounted.
///
/// # Errors
/// When it cannot start: a database that cannot be opened or is newer than this program, a bad key file, no fabric.
pub async fn serve(
    config: Config,
    fabric: ControlFabrics,
    stores: impl Into<Stores>,
    ready: oneshot::Sender<()>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let app = Box::pin(App::open(config, stores, Some(fabric.clone()))).await?;
    run(app, &fabric, ready, shutdown).await
}

async fn run(
    app: App,
    fabric: &ControlFabrics,
    ready: oneshot::Sender<()>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    // Tasks stop after the last request has been answered: it may wait for them.
    let stop = CancellationToken::new();
    let (tried, first_try) = oneshot::channel();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(routes_outbox::run(app.clone(), stop.clone()));
    tasks.spawn(routes_outbox::beat(app.clone(), stop.clone()));
    tasks.spawn(routes_outbox::listen(app.clone(), stop.clone()));
    tasks.spawn(nodes::registry::listen(app.clone(), stop.clone()));
    tasks.spawn(nodes::registry::note_seen(app.clone(), stop.clone()));
    tasks.spawn(placing::hear_boots(fabric.nodes.clone(), stop.clone()));
    let disks = store::NodeDisks::of(&app.store, &fabric.nodes);
    tasks.spawn(nodes::disks::follow(app.db.clone(), app.store.clone(), disks, stop.clone()));
    tasks.spawn(functions::prepare::retry(app.clone(), stop.clone()));
    tasks.spawn(jobs::dispatch(app.clone(), stop.clone()));
    tasks.spawn(jobs::tell_ends(app.clone(), stop.clone()));
    tasks.spawn(triggers::run(app.clone(), stop.clone()));
    tasks.spawn(erasure::run(app.clone(), stop.clone()));
    tasks.spawn(objects::keys::run(app.clone(), stop.clone()));
    tasks.spawn(objects::moving::run(app.clone(), stop.clone()));
    tasks.spawn(settlement::lead(app.clone(), settling(app.clone(), fabric.clone()), tried, shutdown.clone()));
    tasks.spawn({
        let (app, stop) = (app.clone(), stop.clone());
        async move { app.resets.run(&app.db, &stop).await }
    });
    tasks.spawn({
        let (app, stop) = (app.clone(), stop.clone());
        async move { app.check_nodes(&stop).await }
    });
    tasks.spawn(settlement::sweep(app.clone(), stop.clone()));
    tasks.spawn(logs::run(app.clone(), stop.clone()));
    tasks.spawn(objects::sweep(app.clone(), stop.clone()));
    tasks.spawn(objects::repair(objects::Care::new(&app), stop.clone()));
    tasks.spawn(objects::follow_engines(app.db.clone(), app.store.clone(), stop.clone()));
    tasks.spawn(objects::drains::follow(objects::Care::new(&app), stop.clone()));
    tasks.spawn({
        let (app, stop) = (app.clone(), stop.clone());
        async move { app.epochs.run(&stop).await }
    });
    tasks.spawn(training::run(app.clone(), stop.clone()));
    tasks.spawn(training::follow(app.clone(), stop.clone()));
    tasks.spawn(placing::learning::run(Arc::clone(&app.placing.learning), app.store.clone(), stop.clone()));
    let _stop_tasks = stop.clone().drop_guard();

    let served = mount(&app, fabric).await?;
    // Where nobody leads settlement, this one does by now. The sender is dropped, and sends nothing.
    shutdown.run_until_cancelled(first_try).await;
    // Nobody waits for it: the caller is not interested.
    let _ = ready.send(());
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        Some(ended) = tasks.join_next() => {
            return Err(Error::Lost(format!("a task of the control plane ended: {ended:?}")));
        }
    }
    futures::future::join_all(served.into_iter().map(|serving| serving.drain(DRAIN_MAX))).await;
    stop.cancel();
    let ended = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(TASKS_END_WITHIN, ended).await.is_err() {
        tracing::warn!(tasks = tasks.len(), "tasks of the control plane given up after the stop");
        tasks.shutdown().await;
    }
    // Else nothing is swept until its lease has ended.
    match tokio::time::timeout(EPOCHS_CLOSE_WITHIN, app.epochs.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the store's epochs could not be closed"),
        Err(_) => tracing::warn!("the store's epochs were not closed: the database does not answer"),
    }
    if tokio::time::timeout(DATABASE_CLOSES_WITHIN, app.db.close()).await.is_err() {
        tracing::warn!("the database was not closed: somebody still uses it");
    }
    Ok(())
}

async fn mount(app: &App, fabric: &ControlFabrics) -> Result<Vec<Serving>, Error> {
    Ok(vec![
        at(&fabric.core, Mount::Core(CoreService::ControlPlane), api::router(app.clone())).await?,
        at(&fabric.nodes, Mount::ForNodes(NodeService::Api), api::nodes::api(app.clone())).await?,
        at(&fabric.nodes, Mount::ForNodes(NodeService::Blob), api::nodes::blob(app.clone())).await?,
        at(&fabric.nodes, Mount::ForNodes(NodeService::Log), api::nodes::log(app.clone())).await?,
    ])
}

/// Mounts what the leader of settlement takes.
fn settling(
    app: App,
    fabric: ControlFabrics,
) -> impl Fn() -> BoxFuture<'static, Result<Vec<Serving>, FabricError>> + Send + Sync {
    move || {
        let (app, fabric) = (app.clone(), fabric.clone());
        let mounted = async move {
            Ok::<_, FabricError>(vec![
                at(&fabric.core, Mount::Core(CoreService::Settlement), api::settlement(app.clone())).await?,
                at(&fabric.nodes, Mount::ForNodes(NodeService::Receipt), api::nodes::receipt(app)).await?,
            ])
        };
        mounted.boxed()
    }
}

async fn at(fabric: &Fabric, mount: Mount, router: Router) -> Result<Serving, FabricError> {
    fabric.serve(mount, over_fabric(router), ServeOptions::default()).await
}

type Answer = Result<http::Response<fabric::Body>, std::convert::Infallible>;

/// An axum router as a service of the fabric: only the bodies' types differ.
fn over_fabric(
    router: Router,
) -> impl tower::Service<
    http::Request<fabric::Body>,
    Response = http::Response<fabric::Body>,
    Error = std::convert::Infallible,
    Future = impl Future<Output = Answer> + Send,
> + Clone
+ Send
+ 'static {
    tower::service_fn(move |request: http::Request<fabric::Body>| {
        let router = router.clone();
        async move {
            let response = router.oneshot(request.map(Body::new)).await?;
            Ok(response.map(|body| fabric::Body::new(body.map_err(|error| fabric::BodyError::Source(error.into())))))
        }
    })
}
