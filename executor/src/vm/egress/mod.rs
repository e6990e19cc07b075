//! The way out of a machine: an HTTP proxy on this node, to which the guest's agent carries the workload's connections.
//!
//! ```text
//! workload -> 127.0.0.1 in the guest -> agent ~~ link ~~ here: CONNECT, or http://… -> rules -> address -> counted -> host
//! ```
//! It lives as long as its machine. All that a connection uses here is in one task, which ends when the guest gives the
//! connection up, or the machine is over.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use microvm::{GuestStream, Run};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use wasm_host::{Counted, Meter};

use crate::egress::{self, Connection, EgressRules, PHASE_MAX, Refused};

/// To look a name up and to connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(30);
/// A request's head, and what comes with it.
const HEAD_BYTES_MAX: usize = 64 << 10;

type Answer = Response<Either<Incoming, Full<Bytes>>>;

/// Opens the way out of a run that has one.
pub(super) fn open(run: &mut Run, rules: &Arc<EgressRules>, meter: &Meter) {
    if let Some(streams) = run.egress.take() {
        tokio::spawn(serve(streams, Arc::clone(rules), meter.clone()));
    }
}

/// Serves a machine's connections until it is over; what is open then ends.
async fn serve(mut streams: mpsc::Receiver<GuestStream>, rules: Arc<EgressRules>, meter: Meter) {
    let mut open = JoinSet::new();
    while let Some(stream) = streams.recv().await {
        while open.try_join_next().is_some() {}
        let (over, rules, meter) = (stream.over(), Arc::clone(&rules), meter.clone());
        open.spawn(async move {
            tokio::select! {
                () = converse(stream, rules, meter) => {}
                () = over => {}
            }
        });
    }
}

/// One connection: requests, or a tunnel.
async fn converse(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, rules: Arc<EgressRules>, meter: Meter) {
    let proxy = Arc::new(Proxy { rules, meter, tunnel: Mutex::default(), upstream: Mutex::default() });
    let answering = Arc::clone(&proxy);
    let service = service_fn(move |request| {
        let proxy = Arc::clone(&answering);
        async move { Ok::<_, Infallible>(proxy.answer(request).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).max_buf_size(HEAD_BYTES_MAX);
    let served = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    let tunnel = proxy.tunnel.lock().take();
    let ended = async {
        served?;
        if let Some((upgrade, mut host)) = tunnel {
            let mut guest = TokioIo::new(upgrade.await?);
            // How a tunnel ends is its ends' own matter.
            drop(tokio::io::copy_bidirectional(&mut guest, &mut host).await);
        }
        Ok::<(), hyper::Error>(())
    };
    if let Err(error) = ended.await {
        tracing::debug!(%error, "a machine's connection to its proxy ended");
    }
}

/// What one connection of a guest has here.
struct Proxy {
    rules: Arc<EgressRules>,
    meter: Meter,
    /// What follows an answer to CONNECT.
    tunnel: Mutex<Option<(OnUpgrade, Counted<Connection>)>>,
    /// Connections to hosts; they end with this.
    upstream: Mutex<JoinSet<()>>,
}

impl Proxy {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let connect = request.method() == Method::CONNECT;
        let answered = if connect { self.connect(request).await } else { self.forward(request).await };
        answered.unwrap_or_else(|refusal| refusal.answer())
    }

    async fn connect(&self, mut request: Request<Incoming>) -> Result<Answer, Refusal> {
        let authority = request.uri().authority().ok_or(Refusal::NoTarget)?;
        let port = authority.port_u16().ok_or(Refusal::NoTarget)?;
        let host = self.reach(authority.host(), port).await?;
        *self.tunnel.lock() = Some((hyper::upgrade::on(&mut request), host));
        Ok(Response::new(Either::Right(Full::default())))
    }

    async fn forward(&self, mut request: Request<Incoming>) -> Result<Answer, Refusal> {
        match request.uri().scheme_str() {
            Some("http") => {}
            Some(_) => return Err(Refusal::Scheme),
            None => return Err(Refusal::NoTarget),
        }
        let authority = request.uri().authority().ok_or(Refusal::NoTarget)?.clone();
        let stream = self.reach(authority.host(), authority.port_u16().unwrap_or(80)).await?;
        let trailers = fabric::wants_trailers(request.headers());
        rewrite(&mut request, &authority)?;
        if trailers {
            request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
            request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        {
            let mut upstream = self.upstream.lock();
            while upstream.try_join_next().is_some() {}
            // Why it ended, the answer or its body says.
            upstream.spawn(async move { drop(connection.await) });
        }
        let answered = tokio::time::timeout(PHASE_MAX, sender.send_request(request));
        let mut response = answered.await.map_err(|_| Refusal::Late)??;
        fabric::strip_hop_by_hop(response.headers_mut());
        if !trailers {
            // They are not passed on, so nobody is told of them.
            response.headers_mut().remove(header::TRAILER);
        }
        Ok(response.map(Either::Left))
    }

    async fn reach(&self, host: &str, port: u16) -> Result<Counted<Connection>, Refusal> {
        let connecting = egress::connect(&self.rules, host, port);
        let connection = tokio::time::timeout(CONNECT_WITHIN, connecting).await.map_err(|_| Refusal::Late)??;
        Ok(Counted::new(connection, self.meter.clone()))
    }
}

/// As the host itself is to see it: a path, and the name that was checked.
fn rewrite(request: &mut Request<Incoming>, authority: &Authority) -> Result<(), Refusal> {
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    let (_, named) = authority.as_str().rsplit_once('@').unwrap_or(("", authority.as_str()));
    let named = HeaderValue::from_str(named).map_err(|_| Refusal::NoTarget)?;
    let headers = request.headers_mut();
    fabric::strip_hop_by_hop(headers);
    headers.insert(header::HOST, named);
    Ok(())
}

/// Why a request goes nowhere.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("this is a proxy: it takes CONNECT with a host and a port, or a whole address")]
    NoTarget,
    #[error("this proxy takes addresses with http:// alone; for all else it takes CONNECT")]
    Scheme,
    #[error("that host took too long")]
    Late,
    #[error("that host did not answer well: {0}")]
    Http(#[from] hyper::Error),
}

impl Refusal {
    /// The status, and the error type of RFC 9209 that comes nearest.
    fn meaning(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Refused(Refused::NotNamed | Refused::NotLent) => (StatusCode::FORBIDDEN, "http_request_denied"),
            Self::Refused(Refused::NotPublic) => (StatusCode::FORBIDDEN, "destination_ip_prohibited"),
            Self::Refused(Refused::Unknown(_)) => (StatusCode::BAD_GATEWAY, "dns_error"),
            Self::Refused(Refused::Unreachable(_)) => (StatusCode::BAD_GATEWAY, "destination_ip_unroutable"),
            Self::NoTarget | Self::Scheme => (StatusCode::BAD_REQUEST, "http_request_error"),
            Self::Refused(Refused::TooMany) => (StatusCode::TOO_MANY_REQUESTS, "connection_limit_reached"),
            Self::Late => (StatusCode::GATEWAY_TIMEOUT, "connection_timeout"),
            Self::Http(_) => (StatusCode::BAD_GATEWAY, "http_protocol_error"),
        }
    }

    fn answer(&self) -> Answer {
        let (status, kind) = self.meaning();
        let mut answer = Response::new(Either::Right(Full::from(format!("{self}\n"))));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if let Ok(value) = HeaderValue::from_str(&format!("crowdcloud; error={kind}")) {
            headers.insert(HeaderName::from_static("proxy-status"), value);
        }
        answer
    }
}

#[cfg(test)]
mod tests;
