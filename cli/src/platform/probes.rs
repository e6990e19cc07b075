//! What each service process answers on a loopback address of its own: whether it lives, whether it can be used, and
//! its figures. A gateway answers the same on its public address; several gateways share that one.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::failure::{Exit, Failure};

/// Histograms give back what is older than they show this often.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// What the process knows of itself.
#[derive(Clone)]
struct Known {
    ready: watch::Receiver<bool>,
    stop: CancellationToken,
}

/// Begins to answer at `address`, until `stop`; nowhere where there is none. Figures are recorded from here on.
pub(super) async fn serve(
    address: Option<SocketAddr>,
    ready: watch::Receiver<bool>,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let Some(address) = address else { return Ok(()) };
    let listener = TcpListener::bind(address).await.map_err(|why| {
        Failure::new(Exit::Conflict, "port", format!("{address} cannot be listened on"))
            .why(why)
            .help("choose another address for figures: --metrics-listen 127.0.0.1:9100")
    })?;
    if let Some(recorder) = gateway::recorder() {
        let stop = stop.clone();
        tokio::spawn(async move {
            while stop.run_until_cancelled(tokio::time::sleep(UPKEEP_EVERY)).await.is_some() {
                recorder.run_upkeep();
            }
        });
    }
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(figures))
        .with_state(Known { ready, stop });
    // Until the process ends: also while it drains.
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "figures are no longer served");
        }
    });
    Ok(())
}

async fn readiness(State(known): State<Known>) -> impl IntoResponse {
    match (*known.ready.borrow(), known.stop.is_cancelled()) {
        (true, false) => (StatusCode::OK, "ready\n"),
        (_, true) => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
    }
}

async fn figures() -> impl IntoResponse {
    let text = gateway::recorder().map(|recorder| recorder.render()).unwrap_or_default();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}
