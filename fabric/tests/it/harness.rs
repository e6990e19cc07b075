//! A real server, the core and a node on it, and short words for what the tests do with them.

use std::convert::Infallible;
use std::path::PathBuf;

use bytes::Bytes;
use fabric::{
    Authority, Body, CallOptions, CoreService, Fabric, FabricConfig, Identity, Mount, NatsServer, NatsServerConfig,
    NodeEndpoint, Reply, ServeOptions, Serving, Target,
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
    pub(crate) folder: tempfile::TempDir,
}

impl Ground {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(&folder.path().join("keys")).unwrap();
        let server = NatsServer::start(Self::config(folder.path()), &authority).await.unwrap();
        Self { server, authority, folder }
    }

    pub(crate) fn config(folder: &std::path::Path) -> NatsServerConfig {
        NatsServerConfig { binary: binary(), folder: folder.join("nats"), listen: "127.0.0.1:0".parse().unwrap() }
    }

    pub(crate) async fn core(&self) -> Fabric {
        Fabric::connect(FabricConfig {
            url: self.server.url(),
            credentials: self.authority.core_user("core").unwrap(),
            identity: Identity::Core(InstanceId::new()),
            name: "core".to_owned(),
        })
        .await
        .unwrap()
    }

    pub(crate) async fn node(&self, node: NodeId) -> Fabric {
        Fabric::connect(FabricConfig {
            url: self.server.url(),
            credentials: self.authority.node_user(node).unwrap(),
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

pub(crate) fn options() -> CallOptions {
    CallOptions::default()
}

pub(crate) async fn bytes(reply: Reply) -> Bytes {
    reply.response.into_body().collect().await.unwrap().to_bytes()
}
