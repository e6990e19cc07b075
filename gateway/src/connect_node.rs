//! `GET /fabric`: nodes come in here, and here alone. The request is signed with the node's key, over a challenge that the
//! gateway has given it; then the connection is carried to the WebSocket listener of NATS, where the node logs in.
//!
//! ```text
//! GET /fabric --> 401, a challenge --> GET /fabric, signed, Upgrade: websocket --> 101, spliced
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use protocol::node::{Connection, NodeRecord, Signature};
use protocol::{Code, NodeId, Problem, headers, wire};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use crate::core_client::CoreError;
use crate::node_connections::{Known, NotAdmitted};
use crate::response::{Response, ResponseBody, refuse};
use crate::splice::{Limits, splice};
use crate::state::Gateway;

/// Where nodes connect.
pub(crate) const PATH: &str = "/fabric";
/// The text of a connection is no longer.
const TEXT_LENGTH_MAX: usize = 1024;
/// NATS takes the connection within so long.
const NATS_WITHIN: Duration = Duration::from_secs(2);
/// The node goes on within so long after the gateway has agreed.
const UPGRADED_WITHIN: Duration = Duration::from_secs(10);

/// Answers a node that wants to be connected.
pub(crate) async fn connect_node(gateway: &Arc<Gateway>, mut head: Parts) -> Result<Response, Problem> {
    let Some(nats) = &gateway.config.nats_websocket else {
        return Err(Problem::new(
            Code::NotFound,
            "Nodes cannot connect here: this gateway was not told where NATS takes \
                                                 WebSockets (--nats-websocket).",
        ));
    };
    if head.method != Method::GET {
        return Err(Problem::new(Code::MethodNotAllowed, "only GET"));
    }
    if gateway.draining.load(Ordering::Relaxed) {
        return Err(Code::Draining.into());
    }
    let Some((text, signature)) = signed(&head.headers)? else { return Ok(challenged(gateway)) };
    let asked: Connection = wire::read(text.as_bytes())
        .map_err(|error| Problem::of(error.code(), headers::CONNECTION, format!("the connection: {error}")))?;
    if !gateway.node_connections.challenges.is_good(&asked.challenge, Instant::now()) {
        return Ok(challenged(gateway));
    }
    let known = known(gateway, asked.node).await?;
    if !known.key.has_signed::<Connection>(text, &signature) {
        let detail = "The node's receipt key has not signed this.";
        return Err(Problem::of(Code::NodeKeysDiffer, headers::SIGNATURE, detail));
    }
    if !gateway.node_connections.challenges.spend(asked.challenge) {
        return Ok(challenged(gateway));
    }
    let key = websocket_key(&head.headers)?;
    let upgrade = head.extensions.remove::<OnUpgrade>();
    let upgrade = upgrade.ok_or_else(|| Problem::new(Code::InvalidRequest, "the connection cannot be upgraded"))?;
    let admitted = gateway.node_connections.admit(asked.node, known, asked.start).map_err(not_admitted)?;
    let (far, accept) = to_nats(nats, &key).await.map_err(|why| {
        tracing::warn!(why, "NATS takes no WebSocket");
        Problem::new(Code::ControlPlaneUnavailable, "NATS cannot be reached.")
    })?;

    let limits = Limits {
        bytes_per_s: gateway.config.node_bytes_max.0,
        frames_per_s: gateway.config.node_frames_max,
        idle: gateway.config.node_idle.duration(),
    };
    let (node, meters) = (asked.node, Arc::clone(&gateway.meters));
    gateway.node_connections.tasks.spawn(async move {
        let Ok(Ok(near)) = tokio::time::timeout(UPGRADED_WITHIN, upgrade).await else { return };
        meters.node_connections.increment(1.0);
        let ended = splice(TokioIo::new(near), TokioIo::new(far), limits, &admitted.cut).await;
        meters.node_connections.decrement(1.0);
        tracing::debug!(%node, ?ended, "a node's connection is over");
        drop(admitted);
    });
    let mut response = http::Response::new(ResponseBody::Empty);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// What is signed, and the signature; none where neither is there.
fn signed(head: &HeaderMap) -> Result<Option<(&str, Signature)>, Problem> {
    let malformed = |name: &'static str| Problem::of(Code::InvalidRequest, name, "the header cannot be understood");
    let text = |name: &'static str| {
        let value = head.get(name).map(HeaderValue::to_str).transpose().map_err(|_| malformed(name))?;
        Ok::<_, Problem>(value.filter(|value| value.len() <= TEXT_LENGTH_MAX))
    };
    let (Some(connection), Some(signature)) = (text(headers::CONNECTION)?, text(headers::SIGNATURE)?) else {
        return Ok(None);
    };
    Ok(Some((connection, signature.parse().map_err(|_| malformed(headers::SIGNATURE))?)))
}

/// Asks for a signature.
fn challenged(gateway: &Gateway) -> Response {
    let detail = "Only nodes connect here: sign the challenge in the header.";
    let mut response = refuse(&Problem::new(Code::Unauthenticated, detail));
    let challenge = gateway.node_connections.challenges.make(Instant::now()).to_string();
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        response.headers_mut().insert(HeaderName::from_static(headers::CHALLENGE), challenge);
    }
    response
}

/// The node's key: on record here, or told by the control plane, which says why there is none.
async fn known(gateway: &Gateway, node: NodeId) -> Result<Known, Problem> {
    let connections = &gateway.node_connections;
    if let Some(known) = connections.key(node) {
        return Ok(known);
    }
    let _turn = connections.lookups.try_acquire().map_err(|_| Problem::from(Code::Overloaded))?;
    let gone = connections.gone_until_now();
    let path = format!("/internal/nodes/{node}");
    let record: NodeRecord = match gateway.core.get(&path, gateway.config.lookup_within.duration()).await {
        Ok(record) => record,
        Err(CoreError::Refused(problem)) => return Err(*problem),
        Err(CoreError::Unavailable(why)) => {
            tracing::debug!(why, "a node's record cannot be looked up");
            return Err(Code::ControlPlaneUnavailable.into());
        }
    };
    let key = record.key.ok_or_else(|| Problem::new(Code::NodeKeysDiffer, "The node has no key on record."))?;
    Ok(Known::told(key, gone))
}

fn not_admitted(why: NotAdmitted) -> Problem {
    match why {
        NotAdmitted::Copied => {
            Problem::new(Code::NodeCopied, "Another start of this node's software is connected. One of them is a copy.")
        }
        NotAdmitted::Full => Problem::new(Code::Overloaded, "This gateway has as many nodes as it takes."),
        NotAdmitted::Stale => Problem::new(Code::ControlPlaneUnavailable, "The node's record changes at this moment."),
    }
}

/// The key of a request for a WebSocket of the one version that there is.
fn websocket_key(head: &HeaderMap) -> Result<HeaderValue, Problem> {
    let is = |name: &HeaderName, value: &str| {
        head.get(name).is_some_and(|found| found.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
    };
    let key = head.get(header::SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
    match key {
        Some(key) if is(&header::UPGRADE, "websocket") && is(&header::SEC_WEBSOCKET_VERSION, "13") => Ok(key.clone()),
        _ => Err(Problem::of(Code::InvalidRequest, "Upgrade", "a WebSocket of version 13 is expected")),
    }
}

/// A WebSocket to NATS, opened with the node's key; and what NATS says of that key, which the node checks.
async fn to_nats(address: &str, key: &HeaderValue) -> Result<(Upgraded, HeaderValue), String> {
    let opened = tokio::time::timeout(NATS_WITHIN, open(address, key)).await;
    opened.map_err(|_| "no answer in time".to_owned())?.map_err(|error| error.to_string())
}

async fn open(address: &str, key: &HeaderValue) -> anyhow::Result<(Upgraded, HeaderValue)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(connection.with_upgrades()));
    let request = http::Request::get("/")
        .header(header::HOST, address)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, key)
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let accept = response.headers().get(header::SEC_WEBSOCKET_ACCEPT).cloned();
    let status = response.status();
    let accept = accept.filter(|_| status == StatusCode::SWITCHING_PROTOCOLS);
    let accept = accept.ok_or_else(|| anyhow::anyhow!("status {status}"))?;
    Ok((hyper::upgrade::on(response).await?, accept))
}
