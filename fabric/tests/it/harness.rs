//! A real server, the core and a node on it, and short words for what the tests do with them.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric::{
    Authority, Body, CallOptions, CoreService, Credentials, Fabric, FabricConfig, Identity, Mount, NatsServer,
    NatsServerConfig, NodeEndpoint, Reply, ServeOptions, Serving, Target, UserKey,
};
use http_body_util::BodyExt as _;
use protocol::{InstanceId, NodeId};

/// The binary that xtask has fetched.
pub(crate) fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("CROWDCLOUD_NATS_SERVER") {
        return path.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"), PathBuf::from);
    cache.join("crowdcloud/bin/nats-server")
}

/// One platform: a server and its keys.
pub(crate) struct Ground {
    pub(crate) server: NatsServer,
    pub(crate) authority: Authority,
    _folder: tempfile::TempDir,
}

impl Ground {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(&folder.path().join("keys")).unwrap();
        let server = NatsServer::start(Self::config(folder.path()), &authority).await.unwrap();
        Self { server, authority, _folder: folder }
    }

    pub(crate) fn config(folder: &std::path::Path) -> NatsServerConfig {
        NatsServerConfig { binary: binary(), folder: folder.join("nats"), listen: "127.0.0.1:0".parse().unwrap() }
    }

    /// A part of the core where nodes are.
    pub(crate) async fn core(&self) -> Fabric {
        Fabric::connect(FabricConfig {
            url: self.server.url(),
            credentials: self.authority.lenders_user("core").unwrap(),
            identity: Identity::Core(InstanceId::new()),
            name: "core".to_owned(),
        })
        .await
        .unwrap()
    }

    /// A node's user with a new key.
    pub(crate) fn node_user(&self, node: NodeId) -> Credentials {
        UserKey::generate().of_node(self.authority.registrar(), node).unwrap()
    }

    pub(crate) async fn node(&self, node: NodeId) -> Fabric {
        Fabric::connect(FabricConfig {
            url: self.server.url(),
            credentials: self.node_user(node),
            identity: Identity::Node(node),
            name: node.to_string(),
        })
        .await
        .unwrap()
    }
}

pub(crate) const CONTROL_PLANE: Target = Target::Core(CoreService::ControlPlane);

pub(crate) fn run_on(node: NodeId) -> Target {
    Target::Node(node, NodeEndpoint::Run)
}

/// Mounts an async function.
pub(crate) async fn serve<F, Fut>(fabric: &Fabric, at: Mount, options: ServeOptions, answer: F) -> Serving
where
    F: Fn(http::Request<Body>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = http::Response<Body>> + Send + 'static,
{
    let service = tower::service_fn(move |request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    fabric.serve(at, service, options).await.unwrap()
}

/// Answers with the request's body.
pub(crate) async fn echo(request: http::Request<Body>) -> http::Response<Body> {
    http::Response::new(request.into_body())
}

pub(crate) fn post(path: &str, body: impl Into<Bytes>) -> http::Request<Body> {
    http::Request::post(path).body(fabric::full(body)).unwrap()
}

/// A busy machine may take its time.
pub(crate) fn options() -> CallOptions {
    CallOptions { accept_within: Duration::from_secs(2), ..CallOptions::default() }
}

pub(crate) async fn bytes(reply: Reply) -> Bytes {
    reply.response.into_body().collect().await.unwrap().to_bytes()
}

/// Waits until no exchange is left: an end forgets its exchange a moment after the other has the last word.
pub(crate) async fn idle(fabric: &Fabric, within: Duration) {
    let begun = Instant::now();
    while fabric.live_exchanges() > 0 {
        assert!(begun.elapsed() < within, "{} exchanges are left", fabric.live_exchanges());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A NATS client that says exactly what it is told to: for peers that do not keep the rules.
pub(crate) struct Raw {
    stream: tokio::io::BufReader<tokio::net::TcpStream>,
    /// Where the last message wants its answer.
    pub(crate) last_reply: String,
}

/// What [`Raw`] hears.
#[derive(Debug)]
pub(crate) enum Heard {
    Message { subject: String, payload: Vec<u8> },
    Error(String),
}

impl Raw {
    pub(crate) async fn connect(url: &str, credentials: &Credentials) -> Self {
        use base64::Engine as _;
        let stream = tokio::net::TcpStream::connect(url.strip_prefix("nats://").unwrap()).await.unwrap();
        let mut raw = Self { stream: tokio::io::BufReader::new(stream), last_reply: String::new() };
        let line = raw.line().await;
        let info: serde_json::Value = serde_json::from_str(line.strip_prefix("INFO ").unwrap()).unwrap();
        let pair = nkeys::KeyPair::from_seed(credentials.seed().unwrap()).unwrap();
        let signature = pair.sign(info["nonce"].as_str().unwrap().as_bytes()).unwrap();
        let connect = serde_json::json!({
            "verbose": false, "pedantic": false, "headers": true, "protocol": 1, "jwt": credentials.jwt,
            "sig": base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(signature),
        });
        raw.send(format!("CONNECT {connect}\r\nPING\r\n").as_bytes()).await;
        assert_eq!(raw.line().await, "PONG");
        raw
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        use tokio::io::AsyncWriteExt as _;
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn publish(&mut self, subject: &str, reply: &str, payload: &[u8]) {
        self.send(format!("PUB {subject} {reply} {}\r\n", payload.len()).as_bytes()).await;
        self.send(payload).await;
        self.send(b"\r\n").await;
    }

    /// With this header block, whatever it is.
    pub(crate) async fn publish_with_header(&mut self, subject: &str, header: &[u8], payload: &[u8]) {
        let total = header.len() + payload.len();
        self.send(format!("HPUB {subject} {} {total}\r\n", header.len()).as_bytes()).await;
        self.send(&[header, payload, b"\r\n"].concat()).await;
    }

    async fn line(&mut self) -> String {
        use tokio::io::AsyncBufReadExt as _;
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        line.trim_end().to_owned()
    }

    /// What the server says next. None: nothing for 300 ms.
    pub(crate) async fn next(&mut self) -> Option<Heard> {
        tokio::time::timeout(Duration::from_millis(300), self.hear()).await.ok()
    }

    async fn hear(&mut self) -> Heard {
        use tokio::io::AsyncReadExt as _;
        loop {
            let line = self.line().await;
            let words: Vec<&str> = line.split(' ').collect();
            match words[0] {
                "PING" => self.send(b"PONG\r\n").await,
                "MSG" | "HMSG" => {
                    // MSG subject sid [reply] bytes
                    self.last_reply = words.get(3).filter(|_| words.len() == 5).unwrap_or(&"").to_string();
                    let mut payload = vec![0; words.last().unwrap().parse::<usize>().unwrap() + 2];
                    self.stream.read_exact(&mut payload).await.unwrap();
                    payload.truncate(payload.len() - 2);
                    return Heard::Message { subject: words[1].to_owned(), payload };
                }
                "-ERR" => return Heard::Error(line),
                _ => {}
            }
        }
    }
}
