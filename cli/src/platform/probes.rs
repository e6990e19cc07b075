//! What each service process answers on a loopback address of its own: whether it lives, whether it can be used, and
//! its figures. A gateway answers the same on its public address; several gateways share that one.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
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
    /// Whether only this machine can ask.
    loopback: bool,
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
        .with_state(Known { loopback: address.ip().is_loopback(), ready, stop });
    // Until the process ends: also while it drains.
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "metrics endpoint stopped");
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

async fn figures(State(known): State<Known>, headers: HeaderMap) -> Response {
    // A page of another site can make its own name mean this machine, and would read them.
    let host = headers.get(header::HOST).map_or(Some(""), |host| host.to_str().ok());
    if known.loopback && !host.is_some_and(is_this_machine) {
        return (StatusCode::MISDIRECTED_REQUEST, "ask for 127.0.0.1 or localhost\n").into_response();
    }
    let text = gateway::recorder().map(|recorder| recorder.render()).unwrap_or_default();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// Whether a `Host` is an address or `localhost`, and not somebody's name for one.
fn is_this_machine(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    host.is_empty()
        || host.parse::<SocketAddr>().is_ok()
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a18_figures_are_for_who_asks_this_machine() {
        for good in ["127.0.0.1:9100", "[::1]:9100", "::1", "127.0.0.1", "localhost", "LOCALHOST:9100", ""] {
            assert!(is_this_machine(good), "{good}");
        }
        for bad in ["evil.example", "evil.example:9100", "localhost.evil.example", "127.0.0.1.evil.example:1", "."] {
            assert!(!is_this_machine(bad), "{bad}");
        }
    }
}
