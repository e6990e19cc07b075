//! The way out of an instance: its outgoing HTTP, by the rules of all lanes.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use wasm_host::Sent as Outgoing;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::egress::{self, EgressRules, PHASE_MAX, Refused};

/// One write of a body takes at most this much.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// The rules of a version, as a host takes them.
pub(crate) struct ByRules(pub(crate) Arc<EgressRules>);

impl wasm_host::Egress for ByRules {
    fn hooks(&self) -> Box<dyn WasiHttpHooks> {
        Box::new(Egress(Arc::clone(&self.0)))
    }
}

/// The hooks of one instance.
struct Egress(Arc<EgressRules>);

impl WasiHttpHooks for Egress {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _sent: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Outgoing, Error>> + Send> {
        let rules = Arc::clone(&self.0);
        Box::new(async move { send(&rules, request, options.unwrap_or_default()).await })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES_MAX
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        3
    }
}

async fn send(
    rules: &EgressRules,
    mut request: http::Request<WasiBody>,
    options: RequestOptions,
) -> Result<Outgoing, Error> {
    let secure = request.uri().scheme() != Some(&http::uri::Scheme::HTTP);
    let authority = request.uri().authority().ok_or(Error::HttpRequestUriInvalid)?.clone();
    let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let connecting = connect(rules, authority.host(), port, secure);
    let stream = within(options.connect_timeout, connecting, Error::ConnectionTimeout).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    *request.uri_mut() = path.parse().map_err(|_| Error::HttpRequestUriInvalid)?;

    // The connection must be driven while the head is awaited, and after that by whoever takes the answer.
    let mut connection = Box::pin(connection);
    let mut ended = false;
    let first_byte = within(
        options.first_byte_timeout,
        async {
            let mut answer = pin!(sender.send_request(request));
            std::future::poll_fn(|cx| {
                if !ended && connection.as_mut().poll(cx).is_ready() {
                    ended = true;
                }
                answer.as_mut().poll(cx)
            })
            .await
            .map_err(Error::from)
        },
        Error::ConnectionReadTimeout,
    );
    let response = first_byte.await?.map(|body| body.map_err(Error::from).boxed_unsync());
    let rest = Box::new(async move { if ended { Ok(()) } else { connection.await.map_err(Error::from) } });
    Ok((response, rest))
}

async fn within<T>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, Error>>,
    late: Error,
) -> Result<T, Error> {
    tokio::time::timeout(limit.unwrap_or(PHASE_MAX).min(PHASE_MAX), work).await.unwrap_or(Err(late))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(rules: &EgressRules, host: &str, port: u16, secure: bool) -> Result<Box<dyn Stream>, Error> {
    let stream = egress::connect(rules, host, port).await.map_err(|refused| match refused {
        Refused::NotNamed => Error::HttpRequestDenied,
        Refused::Unknown(_) => Error::DnsError { rcode: None, info_code: None },
        Refused::NotPublic => Error::DestinationIpProhibited,
        Refused::Unreachable(error) => Error::Connect(error),
    })?;
    if !secure {
        return Ok(Box::new(stream));
    }
    let name = tokio_rustls::rustls::pki_types::ServerName::try_from(
        host.trim_start_matches('[').trim_end_matches(']').to_owned(),
    )
    .map_err(|_| Error::HttpRequestUriInvalid)?;
    let stream = tls().ok_or(Error::ConfigurationError)?.connect(name, stream).await.map_err(Error::Tls)?;
    Ok(Box::new(stream))
}

fn tls() -> Option<&'static tokio_rustls::TlsConnector> {
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring::default_provider};
    static TLS: OnceLock<Option<tokio_rustls::TlsConnector>> = OnceLock::new();
    TLS.get_or_init(|| {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .ok()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Some(tokio_rustls::TlsConnector::from(Arc::new(config)))
    })
    .as_ref()
}
