//! A kept-alive HTTP connection, and JSON over it.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

/// A request that is sent again and again.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    /// The bearer's key.
    pub(crate) key: Option<String>,
    /// None: a POST where there is a body, else a GET.
    method: Option<Method>,
    body: Option<Bytes>,
    content_type: &'static str,
}

impl Target {
    pub(crate) fn new(address: SocketAddr, path: impl Into<String>) -> Self {
        Self { address, path: path.into(), key: None, method: None, body: None, content_type: "application/json" }
    }

    pub(crate) fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Another path below this one, and perhaps a body.
    pub(crate) fn below(&self, path: &str, body: &'static str) -> Self {
        let path = format!("{}{path}", self.path.trim_end_matches('/'));
        let body = (!body.is_empty()).then(|| Bytes::from_static(body.as_bytes()));
        Self { path, body, content_type: "application/octet-stream", ..self.clone() }
    }

    /// The same elsewhere.
    pub(crate) fn moved(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// Another path of the same function.
    pub(crate) fn at(&self, rest: &str) -> Self {
        Self { path: format!("{}{rest}", self.path), ..self.clone() }
    }

    /// Posts this document.
    pub(crate) fn with_json(mut self, document: &impl Serialize) -> anyhow::Result<Self> {
        self.body = Some(serde_json::to_vec(document)?.into());
        Ok(self)
    }

    /// Puts this document.
    pub(crate) fn putting(self, document: &impl Serialize) -> anyhow::Result<Self> {
        Ok(Self { method: Some(Method::PUT), ..self.with_json(document)? })
    }

    /// Posts these bytes.
    pub(crate) fn with_bytes(mut self, bytes: Bytes) -> Self {
        (self.body, self.content_type) = (Some(bytes), "application/octet-stream");
        self
    }

    fn request(&self) -> hyper::http::Result<Request<Full<Bytes>>> {
        let usual = if self.body.is_some() { Method::POST } else { Method::GET };
        let method = self.method.clone().unwrap_or(usual);
        let mut request = Request::builder().method(method).uri(&self.path).header("host", self.address.to_string());
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if self.body.is_some() {
            request = request.header("content-type", self.content_type);
        }
        request.body(self.body.clone().unwrap_or_default().into())
    }
}

/// One connection.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        Self::over(TcpStream::connect(address).await?).await
    }

    /// The one that this stream is.
    pub(crate) async fn over(stream: TcpStream) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Ends with the connection; its errors are the requests' errors.
        drop(tokio::spawn(connection));
        Ok(Self { sender })
    }

    /// Sends the request; the answer with how many bytes its body had. None is kept: as whoever counts what NATS brings.
    pub(crate) async fn count(&mut self, target: &Target) -> anyhow::Result<Response<usize>> {
        self.sender.ready().await?;
        let (head, mut body) = self.sender.send_request(target.request()?).await?.into_parts();
        let mut count = 0;
        while let Some(frame) = body.frame().await {
            count += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(Response::from_parts(head, count))
    }

    /// Sends the request; the answer with its whole body.
    pub(crate) async fn send(&mut self, target: &Target) -> anyhow::Result<Response<Bytes>> {
        self.sender.ready().await?;
        let (head, body) = self.sender.send_request(target.request()?).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }
}

/// One request on a connection of its own.
pub(crate) async fn get(target: &Target) -> anyhow::Result<Response<Bytes>> {
    Connection::open(target.address).await?.send(target).await
}

/// The JSON that the API answers.
pub(crate) async fn get_json<T: DeserializeOwned>(target: &Target) -> anyhow::Result<T> {
    let response = get(target).await?;
    let text = String::from_utf8_lossy(response.body());
    ensure!(response.status().is_success(), "{}: {} {text}", target.path, response.status());
    serde_json::from_slice(response.body()).with_context(|| format!("{}: {text}", target.path))
}
