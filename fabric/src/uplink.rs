//! The way of a lender's node to NATS: a WebSocket through a gateway's public port, by HTTPS, through the proxy that the
//! environment names (`HTTPS_PROXY`). The gateway gives a challenge, the node signs it, and NATS is behind it.
//!
//! ```text
//! TCP, or CONNECT at a proxy --> TLS, with the certificate that is trusted --> GET /fabric: challenge
//!   --> GET /fabric, signed, Upgrade --> 101 --> NATS over WebSocket
//! ```

mod hop;
mod trust;
mod websocket;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use protocol::node::Nonce;
use protocol::signed::Signed;
use protocol::{Problem, headers};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::task::AbortOnDropHandle;

pub use self::hop::{FirstHop, HttpProxy};
pub use self::trust::{Seen, Trust, Trusted};
pub(crate) use self::websocket::WebSocket;
use crate::FabricError;
use crate::wire::Attempt;

const PATH: &str = "/fabric";
/// The longest problem document that is read.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;
/// What follows a client's key in its digest (RFC 6455, 1.3).
const WEBSOCKET_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A stream of any kind.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(crate) type Boxed = Box<dyn Stream>;

/// Signs a gateway's challenge: a `protocol::node::Connection`. It may block.
pub type Sign = Arc<dyn Fn(Nonce) -> Result<Signed, FabricError> + Send + Sync>;

/// The way through a gateway.
pub struct Uplink {
    origin: Origin,
    hop: FirstHop,
    /// None: plain HTTP.
    trust: Option<Arc<Trust>>,
    sign: Sign,
}

/// Where a gateway is.
struct Origin {
    url: Uri,
    host: String,
    port: u16,
    is_secure: bool,
}

/// The gateway, or a proxy before it, has said no, and why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) Box<Problem>);

impl Origin {
    fn parse(origin: &str) -> Result<Self, FabricError> {
        let refused = |reason: &str| FabricError::Connect { url: origin.to_owned(), reason: reason.to_owned() };
        let url: Uri = origin.parse().map_err(|_| refused("that is no URL"))?;
        let (is_secure, default) = match url.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            _ => return Err(refused("it begins neither with https:// nor with http://")),
        };
        let host = url.host().ok_or_else(|| refused("it names no host"))?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let port = url.port_u16().unwrap_or(default);
        Ok(Self { host, port, is_secure, url })
    }
}

impl Uplink {
    /// Through the gateway at this origin (`https://host:port`, `http://host:port`).
    ///
    /// # Errors
    /// It is no origin.
    pub fn new(origin: &str, hop: FirstHop, trust: Arc<Trust>, sign: Sign) -> Result<Self, FabricError> {
        let origin = Origin::parse(origin)?;
        let trust = origin.is_secure.then_some(trust);
        Ok(Self { origin, hop, trust, sign })
    }

    /// Connects, up to where NATS speaks.
    pub(crate) fn dial(&self) -> BoxFuture<'_, Attempt<WebSocket<Boxed>>> {
        Box::pin(async {
            let stream = self.reach().await?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // Ends when the stream is taken over.
            let _driver = AbortOnDropHandle::new(tokio::spawn(connection.with_upgrades()));
            let unsigned = sender.send_request(self.request(HeaderMap::new())?).await?;
            let (sign, challenge) = (Arc::clone(&self.sign), challenge(unsigned).await?);
            let signed = tokio::task::spawn_blocking(move || sign(challenge)).await??;
            sender.ready().await?;
            let key = STANDARD.encode(rand::random::<[u8; 16]>());
            let response = sender.send_request(self.request(asked(&signed, &key)?)?).await?;
            if response.headers().contains_key(headers::CHALLENGE) {
                // That one was made by another gateway behind the same address, or came too late: no refusal of this node.
                return Err("the gateway asks for another challenge".into());
            }
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                return Err(refusal(response).await);
            }
            let accepted = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
            if accepted.is_none_or(|accepted| accepted.as_bytes() != accept(&key).as_bytes()) {
                return Err("something between has answered the WebSocket's handshake".into());
            }
            let upgraded: Boxed = Box::new(TokioIo::new(hyper::upgrade::on(response).await?));
            Ok(WebSocket::new(upgraded))
        })
    }

    /// A connection to the gateway, secured where it is HTTPS.
    async fn reach(&self) -> Attempt<Boxed> {
        let Origin { host, port, .. } = &self.origin;
        let stream = self.hop.connect(host, *port).await?;
        let Some(trust) = &self.trust else { return Ok(stream) };
        let connector = TlsConnector::from(Arc::new(trust.client_config()?));
        Ok(Box::new(connector.connect(ServerName::try_from(host.clone())?, stream).await?))
    }

    fn request(&self, headers: HeaderMap) -> Attempt<Request<Empty<Bytes>>> {
        let Origin { url, host, .. } = &self.origin;
        let host = url.authority().map_or(host.as_str(), http::uri::Authority::as_str);
        let mut request = Request::get(PATH).header(header::HOST, host).body(Empty::new())?;
        request.headers_mut().extend(headers);
        Ok(request)
    }
}

/// What a signed request for a WebSocket says.
fn asked(signed: &Signed, key: &str) -> Attempt<HeaderMap> {
    let mut asked = HeaderMap::new();
    asked.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    asked.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    asked.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    asked.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::try_from(key)?);
    asked.insert(HeaderName::from_static(headers::CONNECTION), HeaderValue::try_from(signed.text.as_str())?);
    let signature = HeaderValue::try_from(signed.signature.to_string())?;
    asked.insert(HeaderName::from_static(headers::SIGNATURE), signature);
    Ok(asked)
}

/// What is to be signed. The rest of the response is read, so that the connection can be used again.
async fn challenge(response: Response<Incoming>) -> Attempt<Nonce> {
    let challenge = response.headers().get(headers::CHALLENGE).and_then(|value| value.to_str().ok()?.parse().ok());
    match challenge {
        Some(challenge) => {
            Limited::new(response.into_body(), PROBLEM_BYTES_MAX).collect().await?;
            Ok(challenge)
        }
        None => Err(refusal(response).await),
    }
}

/// Why the other side said no.
async fn refusal(response: Response<Incoming>) -> Box<dyn std::error::Error + Send + Sync> {
    let status = response.status();
    match Limited::new(response.into_body(), PROBLEM_BYTES_MAX).collect().await {
        Ok(body) => match serde_json::from_slice::<Problem>(&body.to_bytes()) {
            Ok(problem) => Refused(Box::new(problem)).into(),
            Err(_) => format!("status {status}").into(),
        },
        Err(error) => error,
    }
}

/// What a server says of this key.
fn accept(key: &str) -> String {
    // It proves nothing but that a WebSocket's server has answered.
    let digest = ring::digest::digest(
        &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
        [key.as_bytes(), WEBSOCKET_GUID.as_bytes()].concat().as_slice(),
    );
    STANDARD.encode(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_key_is_that_of_the_standard() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn an_origin_says_where_the_gateway_is() {
        let uplink = |origin: &str| {
            let sign: Sign = Arc::new(|_| Err(FabricError::Credentials("nobody signs".to_owned())));
            Uplink::new(origin, FirstHop::of(origin)?, Trust::new().unwrap(), sign)
        };
        let at = |origin: &str| {
            uplink(origin).map(|found| (found.origin.host, found.origin.port, found.trust.is_some())).ok()
        };
        assert_eq!(at("https://cloud.example.org"), Some(("cloud.example.org".to_owned(), 443, true)));
        assert_eq!(at("http://[::1]:8080"), Some(("::1".to_owned(), 8080, false)));
        assert_eq!((at("nats://a:1"), at("cloud.example.org"), at("")), (None, None, None));
    }
}
