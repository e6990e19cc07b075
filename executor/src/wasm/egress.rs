//! The way out of a function: HTTP to the hosts that its version names, at public addresses, and nothing else.
//! The address is checked after the name is resolved, and that very address is connected to.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use wasm_host::Sent as Outgoing;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// Longer waits end with the run's own deadline anyway.
const PHASE_MAX: Duration = Duration::from_secs(600);
/// One write of a body takes at most this much.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// Which hosts a version may call: `api.example.com`, `*.example.com`, each with `:port` or without.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct EgressRules {
    rules: Vec<Rule>,
    /// Only for tests, whose servers are on this machine.
    pub(crate) private_addresses: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Rule {
    /// With a leading dot for a wildcard.
    host: String,
    port: Option<u16>,
}

impl EgressRules {
    pub(crate) fn parse(hosts: &[String]) -> Self {
        let rules = hosts.iter().map(|text| {
            let (host, port) = match text.rsplit_once(':') {
                Some((host, digits)) if !host.ends_with(':') && digits.bytes().all(|b| b.is_ascii_digit()) => {
                    (host, digits.parse().ok())
                }
                _ => (text.as_str(), None),
            };
            Rule { host: host.strip_prefix('*').unwrap_or(host).to_ascii_lowercase(), port }
        });
        Self { rules: rules.collect(), private_addresses: false }
    }

    fn allow(&self, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        self.rules.iter().any(|rule| {
            let same_host = if rule.host.starts_with('.') { host.ends_with(&rule.host) } else { host == rule.host };
            same_host && rule.port.is_none_or(|only| only == port)
        })
    }
}

/// Whether an address is one of the public internet's.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let benchmarks = a == 198 && (b == 18 || b == 19);
            let protocols = a == 192 && b == 0 && c == 0;
            let relay = a == 192 && b == 88 && c == 99;
            !(a == 0
                || a >= 240
                || v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_documentation()
                || shared
                || benchmarks
                || protocols
                || relay)
        }
        IpAddr::V6(v6) => {
            // Addresses that carry an IPv4 address are judged by it.
            let [s0, s1, s2, s3, s4, s5, s6, s7] = v6.segments();
            let embedded = |high: u16, low: u16| {
                let [a, b] = high.to_be_bytes();
                let [c, d] = low.to_be_bytes();
                is_public(IpAddr::from([a, b, c, d]))
            };
            match (s0, s1) {
                (0, 0) if (s2, s3, s4, s5) == (0, 0, 0, 0xffff) => embedded(s6, s7),
                (0x64, 0xff9b) if (s2, s3, s4, s5) == (0, 0, 0, 0) => embedded(s6, s7),
                (0x2002, high) => embedded(high, s2),
                (0x2001, 0xdb8 | 0..=0x1ff) => false,
                // 2000::/3 is all that is global unicast.
                _ => (0x2000..0x4000).contains(&s0),
            }
        }
    }
}

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
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    if !rules.allow(&host, port) {
        return Err(Error::HttpRequestDenied);
    }
    let connecting = connect(rules, &host, port, secure);
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
    let unknown = |_| Error::DnsError { rcode: None, info_code: None };
    let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await.map_err(unknown)?.collect();
    let allowed = found.iter().filter(|address| rules.private_addresses || is_public(address.ip()));
    let mut last = Error::DestinationIpProhibited;
    let mut stream = None;
    for address in allowed.take(4) {
        match TcpStream::connect(address).await {
            Ok(connected) => {
                stream = Some(connected);
                break;
            }
            Err(error) => last = Error::Connect(error),
        }
    }
    let Some(stream) = stream else { return Err(last) };
    if !secure {
        return Ok(Box::new(stream));
    }
    let name = tokio_rustls::rustls::pki_types::ServerName::try_from(host.to_owned())
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

#[cfg(test)]
mod tests;
