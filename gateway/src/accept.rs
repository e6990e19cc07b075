//! Connections: accepted up to a limit, secured where there is a certificate, served by hyper with limits on heads and
//! time, drained at the end.
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
use protocol::{Code, Digest, Problem};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clients::Held;
use crate::config::Config;
use crate::half_close::{Watch, Watched};
use crate::handle::{Ends, handle};
use crate::proxies::is_trusted;
use crate::response::last_words;
use crate::stall::StallGuard;
use crate::state::Gateway;
use crate::tls;
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

/// Says why to a client that has too many connections.
async fn turn_away(stream: TcpStream, most: usize, place: OwnedSemaphorePermit) {
    let connections = protocol::words::count(most, "connection");
    farewell(stream, &Problem::new(Code::RateLimited, format!("this client has {connections} already"))).await;
    drop(place);
}

/// Says why, and closes. The client gets a moment to read that.
async fn farewell(mut stream: TcpStream, problem: &Problem) {
    let farewell = async {
        stream.write_all(&last_words(problem)).await?;
        stream.shutdown().await?;
        // Unread bytes would make the close a reset, and the answer would be lost.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    if !matches!(tokio::time::timeout(FAREWELL, farewell).await, Ok(Ok(()))) {
        tracing::debug!("a client that was turned away did not wait for the reason");
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
    // A listener on all addresses does not know which one this is.
    let local = stream.local_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |local| local.ip());
    let ends = Ends { peer, local, certificate: None };
    match secured(&gateway, stream, ends).await {
        Secured::Plain(stream) => {
            let (stream, watch) = Watched::new(stream);
            Box::pin(serve_http(&gateway, http, stream, watch, ends, finish)).await;
        }
        Secured::Tls(stream, watch, key) => {
            let ends = Ends { certificate: Some(key), ..ends };
            Box::pin(serve_http(&gateway, http, stream, watch, ends, finish)).await;
        }
        Secured::No => {}
    }
    gateway.meters.connections.decrement(1.0);
}

/// How a connection goes on.
enum Secured {
    Plain(TcpStream),
    Tls(Box<TlsStream<Watched>>, Watch, Digest),
    /// It is over.
    No,
}

/// Where there is a certificate: a handshake. This machine and trusted proxies may go without.
async fn secured(gateway: &Gateway, stream: TcpStream, ends: Ends) -> Secured {
    let Some(tls) = &gateway.tls else { return Secured::Plain(stream) };
    let within = gateway.config.handshake_within.duration();
    let mut first = [0];
    if !matches!(tokio::time::timeout(within, stream.peek(&mut first)).await, Ok(Ok(1..))) {
        return Secured::No;
    }
    if first != [tls::HANDSHAKE] {
        let near = ends.peer.is_loopback() || ends.peer == ends.local.to_canonical();
        if near || is_trusted(ends.peer, &gateway.config.trusted_proxies) {
            return Secured::Plain(stream);
        }
        farewell(stream, &Problem::new(Code::InvalidRequest, "This port speaks HTTPS: begin the URL with https://."))
            .await;
        return Secured::No;
    }
    let handshake = async {
        let _turn = gateway.bounds.handshake(ends.peer).await.ok()?;
        let key = tls.key();
        let (stream, watch) = Watched::new(stream);
        match tls.acceptor().accept(stream).await {
            Ok(stream) => Some(Secured::Tls(Box::new(stream), watch, key)),
            Err(error) => {
                tracing::debug!(peer = %ends.peer, %error, "a TLS handshake failed");
                None
            }
        }
    };
    tokio::time::timeout(within, handshake).await.ok().flatten().unwrap_or(Secured::No)
}

async fn serve_http<S>(
    gateway: &Arc<Gateway>,
    http: http1::Builder,
    stream: S,
    watch: Watch,
    ends: Ends,
    finish: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let of = Arc::clone(gateway);
    let served = Served::default();
    let noted = served.clone();
    let service = service_fn(move |request| {
        noted.note();
        let gateway = Arc::clone(&of);
        async move { Ok::<_, Infallible>(handle(gateway, ends, request).await) }
    });
    let gone = watch.gone(gateway.config.half_closed.duration());
    let mut gone = std::pin::pin!(gone);
    let stream = StallGuard::new(stream, gateway.config.write_idle.duration());
    let limits = HeadLimits { headers_max: gateway.config.headers_max, size_max: gateway.config.head_max };
    let counting = Arc::clone(gateway);
    let stream = FirstWords::new(stream, served, limits, move |code| counting.meters.answered(Some(code)));
    // Nodes alone get what they ask for (`connect_node.rs`).
    let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
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
        tracing::debug!(peer = %ends.peer, %error, "a connection ended early");
    }
}
