//! Connections: accepted up to a limit, served by hyper with limits on heads and time, drained at the end.
//!
//! ```text
//! accept --shutdown--> unready --> no accept, finish --grace over--> cut: 503 --> closed
//! ```

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fabric::profile::{self, Part};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::{Code, Problem};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clients::Held;
use crate::config::Config;
use crate::half_close::Watched;
use crate::handle::{Ends, handle};
use crate::proxies::is_trusted;
use crate::response::last_words;
use crate::stall::StallGuard;
use crate::state::Gateway;
use crate::unreadable::{FirstWords, HeadLimits, Served};

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
                    let client = peer.ip().to_canonical();
                    let most = match is_trusted(client, &config.trusted_proxies) {
                        true => usize::MAX,
                        false => config.client_connections_max,
                    };
                    let Some(held) = gateway.connections.hold(client, most) else {
                        gateway.meters.turned_away.increment(1);
                        connections.spawn(turn_away(stream, most, place));
                        continue;
                    };
                    let (gateway, finish) = (Arc::clone(&gateway), finish.clone());
                    let serving = connection(gateway, http.clone(), stream, client, finish, (held, place));
                    connections.spawn(profile::around(Part::Http, serving));
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

/// Says why to a client that has too many connections, and closes. It gets a moment to read that.
async fn turn_away(mut stream: TcpStream, most: usize, place: OwnedSemaphorePermit) {
    let connections = protocol::words::count(most, "connection");
    let problem = Problem::new(Code::RateLimited, format!("this client has {connections} already"));
    let farewell = async {
        stream.write_all(&last_words(&problem)).await?;
        stream.shutdown().await?;
        // Unread bytes would make the close a reset, and the answer would be lost.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    if !matches!(tokio::time::timeout(FAREWELL, farewell).await, Ok(Ok(()))) {
        tracing::debug!("a client that was turned away did not wait for the reason");
    }
    drop(place);
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
        // Whether a caller has gone, `half_close.rs` says.
        .half_close(true);
    http
}

async fn connection(
    gateway: Arc<Gateway>,
    http: http1::Builder,
    stream: TcpStream,
    peer: IpAddr,
    finish: CancellationToken,
    _held: (Held, OwnedSemaphorePermit),
) {
    // Short answers must not wait for more.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    gateway.meters.connections.increment(1.0);
    let of = Arc::clone(&gateway);
    // A listener on all addresses does not know which one this is.
    let local = stream.local_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |local| local.ip());
    let ends = Ends { peer, local };
    let served = Served::default();
    let noted = served.clone();
    let service = service_fn(move |request| {
        noted.note();
        let gateway = Arc::clone(&of);
        async move { Ok::<_, Infallible>(handle(gateway, ends, request).await) }
    });
    let (stream, watch) = Watched::new(stream);
    let gone = watch.gone(gateway.config.half_closed.duration());
    let mut gone = std::pin::pin!(gone);
    let stream = StallGuard::new(stream, gateway.config.write_idle.duration());
    let limits = HeadLimits { headers_max: gateway.config.headers_max, size_max: gateway.config.head_max };
    let counting = Arc::clone(&gateway);
    let stream = FirstWords::new(stream, served, limits, move |code| counting.meters.answered(Some(code)));
    let connection = http.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let cut = gateway.cut.clone();
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = gone.as_mut() => Ok(()),
        () = finish.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                () = gone.as_mut() => Ok(()),
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
