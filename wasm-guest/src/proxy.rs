//! The way out: the node's proxy, at a port of the machine's own. The node checks and connects; here is only what a
//! client of a proxy says (RFC 9110, 9.3.6), and what its refusals mean (RFC 9209).

use std::fmt::Display;
use std::net::Ipv4Addr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use wasm_host::{Connect, NoConnection};
use wasmtime_wasi_http::Error;

/// What a proxy says of a refusal is short.
const WHY_BYTES_MAX: usize = 1 << 10;

pub(crate) struct Proxy(pub(crate) u16);

impl Connect for Proxy {
    /// By the node, for all guests alike.
    const COUNTED: bool = false;

    type Stream = TokioIo<Upgraded>;

    async fn connect(&self, host: &str, port: u16) -> Result<Self::Stream, NoConnection> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.0)).await.map_err(broken)?;
        stream.set_nodelay(true).map_err(broken)?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // It is over with this, or has become the tunnel.
        let mut driving = JoinSet::new();
        driving.spawn(connection.with_upgrades());
        let target = format!("{host}:{port}");
        let request = Request::builder().method(Method::CONNECT).uri(&target).header(header::HOST, &target);
        let request = request.body(Empty::<Bytes>::new());
        let request = request.map_err(|error| NoConnection::new(Error::HttpRequestUriInvalid, error))?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        if answer.status().is_success() {
            return hyper::upgrade::on(answer).await.map(TokioIo::new).map_err(broken);
        }
        let (head, body) = answer.into_parts();
        Err(NoConnection::new(meaning(&head.headers), why(body).await))
    }
}

/// The proxy itself does not work.
fn broken(error: impl Display) -> NoConnection {
    NoConnection::new(Error::ConnectionTerminated, error)
}

async fn why(body: Incoming) -> String {
    let said = Limited::new(body, WHY_BYTES_MAX).collect().await.map(http_body_util::Collected::to_bytes);
    said.map_or_else(|error| error.to_string(), |said| String::from_utf8_lossy(&said).trim_end().to_owned())
}

/// An error of a proxy, as an error of the lane's own.
fn meaning(headers: &HeaderMap) -> Error {
    let status = headers.get("proxy-status").and_then(|value| value.to_str().ok()).unwrap_or_default();
    match status.rsplit_once("error=").map_or("", |(_, kind)| kind) {
        "http_request_denied" => Error::HttpRequestDenied,
        "destination_ip_prohibited" => Error::DestinationIpProhibited,
        "dns_error" => Error::DnsError { rcode: None, info_code: None },
        "connection_timeout" => Error::ConnectionTimeout,
        _ => Error::ConnectionRefused,
    }
}
