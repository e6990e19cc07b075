//! Connections: accepted up to a limit, served by hyper with limits on heads and time, drained at the end.
//!
//! ```text
//! accept --shutdown--> unready --> no accept, finish --grace over--> cut: 503 --> closed
//! ```

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::handle::handle;
use crate::stall::StallGuard;
use crate::state::Gateway;

/// Answers to what was cut get so long to leave.
const FAREWELL: Duration = Duration::from_millis(300);
/// After an error of `accept` (no descriptors left): try again after so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `shutdown`, then drains.
pub(crate) async fn serve(gateway: Arc<Gateway>, listener: TcpListener, shutdown: CancellationToken) {
    let config = &gateway.config;
    let http = server(config);
    let room = Arc::new(Semaphore::new(config.connections_max));
    let connections = TaskTracker::new();
    let finish = CancellationToken::new();
    let accepting = async {
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let connection =
                        connection(Arc::clone(&gateway), http.clone(), stream, peer, finish.clone(), place);
                    connections.spawn(connection);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = async {
            shutdown.cancelled().await;
            gateway.draining.store(true, Ordering::Relaxed);
            tokio::time::sleep(config.unready.duration()).await;
        } => {}
    }
    drop(listener);
    finish.cancel();
    connections.close();
    if tokio::time::timeout(config.grace.duration(), connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "the grace is over; requests are cut");
        gateway.cut.cancel();
        if tokio::time::timeout(FAREWELL, connections.wait()).await.is_err() {
            tracing::warn!(open = connections.len(), "connections are closed in the middle of an answer");
        }
    }
}

fn server(config: &Config) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout.duration())
        .max_headers(config.headers_max)
        // Somewhat larger heads are refused in our own words, see `handle::check`.
        .max_header_size(config.head_max.as_usize() * 4)
        .max_buf_size((config.head_max.as_usize() * 4).max(64 << 10))
        .keep_alive(true)
        .half_close(false);
    http
}

async fn connection(
    gateway: Arc<Gateway>,
    http: http1::Builder,
    stream: TcpStream,
    peer: SocketAddr,
    finish: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    // Short answers must not wait for more.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    gateway.meters.connections.increment(1.0);
    let of = Arc::clone(&gateway);
    let service = service_fn(move |request| {
        let gateway = Arc::clone(&of);
        async move { Ok::<_, Infallible>(handle(gateway, peer.ip().to_canonical(), request).await) }
    });
    let stream = StallGuard::new(stream, gateway.config.write_idle.duration());
    let connection = http.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let cut = gateway.cut.clone();
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = finish.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                // What still streams is ended by whoever waits for us.
                () = async { cut.cancelled().await; tokio::time::sleep(FAREWELL).await } => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection ended early");
    }
    gateway.meters.connections.decrement(1.0);
}
