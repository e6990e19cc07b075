//! One outgoing request over a connection of its own: connect, TLS where it is asked for, HTTP/1.1.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::{Connect, Counted, NoConnection, OfRun, Sent};
use crate::foreign::For;

/// Longer waits end with the run's own deadline anyway.
const PHASE_MAX: Duration = Duration::from_secs(600);
/// No name is longer.
const NAME_BYTES_MAX: usize = 253;

pub(super) async fn send(
    connect: &impl Connect,
    of: &OfRun,
    mut request: http::Request<WasiBody>,
    options: RequestOptions,
) -> Result<Sent, Error> {
    let secure = request.uri().scheme() != Some(&http::uri::Scheme::HTTP);
    let authority = request.uri().authority().ok_or(Error::HttpRequestUriInvalid)?.clone();
    let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let connecting = open(connect, of, authority.host(), port, secure);
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
    let log = of.log.clone();
    // An error here is told by the body; the engine would say it once more, in the platform's log.
    let rest = async move {
        if !ended && let Err(error) = connection.await {
            log.remark(&format!("a connection broke: {error}"));
        }
        Ok(())
    };
    let rest = Box::new(For { log: of.log.clone(), work: Box::pin(rest) });
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

async fn open<C: Connect>(
    connect: &C,
    of: &OfRun,
    host: &str,
    port: u16,
    secure: bool,
) -> Result<Box<dyn Stream>, Error> {
    let stream = connect.connect(host, port).await.map_err(|NoConnection { error, why }| {
        let host = host.get(..NAME_BYTES_MAX).unwrap_or(host);
        of.log.remark(&format!("no connection to {host}:{port}: {why}"));
        error
    })?;
    // What is encrypted is counted as it is carried.
    let stream: Box<dyn Stream> =
        if C::COUNTED { Box::new(Counted::new(stream, of.meter.clone())) } else { Box::new(stream) };
    if !secure {
        return Ok(stream);
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
