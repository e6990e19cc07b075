//! Where the way to a gateway begins: at the gateway itself, or at the proxy that the environment names (`HTTPS_PROXY`,
//! `HTTP_PROXY`, `ALL_PROXY`, but for what `NO_PROXY` names). A proxy is asked for a tunnel (`CONNECT`), and sees nothing
//! but bytes from then on.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::{Boxed, Origin};
use crate::FabricError;
use crate::wire::Attempt;

/// The first host on the way to a gateway.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstHop {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its addresses, for a process that may look up no names; none where the name is looked up each time.
    pub addresses: Vec<SocketAddr>,
    /// None where it is the gateway itself.
    pub proxy: Option<HttpProxy>,
}

/// What a proxy is told.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpProxy {
    /// Who asks: the value of `Proxy-Authorization`.
    pub authorization: Option<String>,
}

impl FirstHop {
    /// On the way to the gateway at this origin, as the environment says.
    ///
    /// # Errors
    /// It is no origin, or the proxy is of a kind that cannot be used.
    pub fn of(origin: &str) -> Result<Self, FabricError> {
        let Origin { url, host, port, .. } = Origin::parse(origin)?;
        let is_near = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        // A proxy of the environment knows nothing of this machine's own ports.
        let proxy = if is_near { None } else { Matcher::from_env().intercept(&url) };
        let Some(proxy) = proxy else {
            return Ok(Self { host, port, addresses: Vec::new(), proxy: None });
        };
        let at: &Uri = proxy.uri();
        let refused = |reason: String| FabricError::Connect { url: url.to_string(), reason };
        if at.scheme_str() != Some("http") {
            return Err(refused(format!("the proxy {at} cannot be used: only http:// ones can")));
        }
        let host = at.host().ok_or_else(|| refused("the environment names a proxy without a host".to_owned()))?;
        let authorization = proxy.basic_auth().and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: at.port_u16().unwrap_or(80),
            addresses: Vec::new(),
            proxy: Some(HttpProxy { authorization }),
        })
    }

    /// The same, with its addresses.
    ///
    /// # Errors
    /// When its name cannot be looked up.
    pub async fn looked_up(self) -> io::Result<Self> {
        let addresses = tokio::net::lookup_host((self.host.as_str(), self.port)).await?.collect();
        Ok(Self { addresses, ..self })
    }

    /// Where it is, as URLs have it.
    #[must_use]
    pub fn authority(&self) -> String {
        self.addresses.first().map_or_else(|| authority(&self.host, self.port), ToString::to_string)
    }

    /// A stream to this host and port.
    pub(super) async fn connect(&self, host: &str, port: u16) -> Attempt<Boxed> {
        let stream = self.dial().await;
        let Some(proxy) = &self.proxy else { return Ok(Box::new(stream?)) };
        let failed = |why: &(dyn fmt::Display + Sync)| format!("the proxy {}:{}: {why}", self.host, self.port);
        let stream = stream.map_err(|error| failed(&error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends when the stream is taken over.
        let _driver = AbortOnDropHandle::new(tokio::spawn(connection.with_upgrades()));
        let authority = authority(host, port);
        let mut request = Request::builder().method(Method::CONNECT).uri(&authority).header(header::HOST, &authority);
        if let Some(authorization) = &proxy.authorization {
            request = request.header(header::PROXY_AUTHORIZATION, HeaderValue::try_from(authorization.as_str())?);
        }
        let response = sender.send_request(request.body(Empty::<bytes::Bytes>::new())?).await;
        let response = response.map_err(|error| failed(&error))?;
        if response.status() != StatusCode::OK {
            return Err(failed(&format!("it opens no tunnel to {authority}: {}", response.status())).into());
        }
        Ok(Box::new(TokioIo::new(hyper::upgrade::on(response).await?)))
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        let stream = match self.addresses.as_slice() {
            [] => TcpStream::connect((self.host.as_str(), self.port)).await?,
            known => TcpStream::connect(known).await?,
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_tunnel_carries_bytes_and_a_refusal_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // Its name is not looked up where its address is known.
        let hop = FirstHop {
            host: "proxy.invalid".to_owned(),
            port: address.port(),
            addresses: vec![address],
            proxy: Some(HttpProxy { authorization: Some("Basic x".to_owned()) }),
        };
        let serving = tokio::spawn(async move {
            for answer in ["HTTP/1.1 200 OK\r\n\r\nhello", "HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n"] {
                let mut stream = listener.accept().await.unwrap().0;
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                assert!(head.starts_with("CONNECT cloud.example.org:443 HTTP/1.1\r\n"), "{head}");
                assert!(head.to_lowercase().contains("proxy-authorization: basic x\r\n"), "{head}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let mut tunnel = hop.connect("cloud.example.org", 443).await.unwrap();
        let mut hello = [0; 5];
        tunnel.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"hello");
        let refused = hop.connect("cloud.example.org", 443).await.err().unwrap().to_string();
        assert!(refused.contains("407"), "{refused}");
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn this_machine_is_reached_without_a_proxy() {
        let hop = FirstHop::of("http://127.0.0.1:8080").unwrap();
        assert!(hop.proxy.is_none() && hop.addresses.is_empty());
        let hop = hop.looked_up().await.unwrap();
        assert_eq!((hop.port, hop.addresses), (8080, vec!["127.0.0.1:8080".parse().unwrap()]));
    }
}
