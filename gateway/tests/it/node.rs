//! A node's stand-in, and what it answers.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_nats::jetstream;
use bytes::Bytes;
use fabric::{
    Body, Exchange, Fabric, FabricConfig, Identity, Mount, NodeEndpoint, ServeOptions, Serving, UserKey, subjects,
};
use futures::future::BoxFuture;
use http::{Request, Response};
use protocol::node::{NodeRecord, NodeReport};
use protocol::receipt::{Outcome, RunEnd, Usage};
use protocol::{AccountId, ByteSize, Code, Lane, NodeId, PlacementClass, Problem};
use tokio::task::JoinHandle;

use crate::platform::Platform;

impl Platform {
    /// A node that answers with `answer`; it reports before this returns.
    pub(crate) async fn node<F>(&self, answer: F) -> Node
    where
        F: Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Clone + Send + Sync + 'static,
    {
        self.node_with(ServeOptions::default(), answer).await
    }

    pub(crate) async fn node_with<F>(&self, options: ServeOptions, answer: F) -> Node
    where
        F: Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Clone + Send + Sync + 'static,
    {
        let id = NodeId::new();
        let fabric = Fabric::connect(FabricConfig {
            url: self.server.url(),
            credentials: UserKey::generate().of_node(self.authority.registrar(), id).unwrap(),
            identity: Identity::Node(id),
            name: id.to_string(),
        })
        .await
        .unwrap();
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let service = tower::service_fn(move |request: Request<Body>| {
            counted.fetch_add(1, Ordering::Relaxed);
            let answered = answer(request);
            async move { Ok::<_, Infallible>(answered.await) }
        });
        let serving = fabric.serve(Mount::OnNode(NodeEndpoint::Run), service, options).await.unwrap();
        let record = NodeRecord {
            node: id,
            account: AccountId::new(),
            name: "node".to_owned(),
            class: PlacementClass::Operator,
            arch: "x86_64".to_owned(),
            protocol: 1,
            trust: None,
            key: None,
            disks: Vec::new(),
        };
        let bucket = jetstream::new(self.core.nats().clone()).get_key_value(subjects::NODES_BUCKET).await.unwrap();
        bucket.put(id.to_string(), serde_json::to_vec(&record).unwrap().into()).await.unwrap();
        let reporter = fabric.clone();
        let reports = tokio::spawn(async move {
            for sequence in 0.. {
                // It names its start: so all that gateways send it is sealed.
                let report = NodeReport { boot: Some(reporter.boot().clone()), ..report(id, sequence) };
                drop(reporter.publish(&subjects::report(id), serde_json::to_vec(&report).unwrap()).await);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        Node { id, fabric, calls, _serving: serving, reports }
    }
}

/// A node's stand-in.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) fabric: Fabric,
    pub(crate) calls: Arc<AtomicU32>,
    _serving: Serving,
    pub(crate) reports: JoinHandle<()>,
}

impl Node {
    pub(crate) fn called(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.reports.abort();
    }
}

fn report(node: NodeId, sequence: u64) -> NodeReport {
    NodeReport {
        v: NodeReport::VERSION,
        node,
        sequence,
        cores: 4,
        load: 0.1,
        memory_total: ByteSize::mib(8192),
        memory_free: ByteSize::mib(8192),
        slots: 64,
        running: 0,
        lanes: vec![Lane::Wasm],
        arch: "x86_64".to_owned(),
        warm: Vec::new(),
        cached: Vec::new(),
        draining: false,
        vm: None,
        boot: None,
        lending: None,
        confinement: None,
        lists: None,
    }
}

/// Answers with what came: the head as JSON in a header, the body as it is.
pub(crate) fn echo(request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
    Box::pin(async move {
        claim(&request, Outcome::Succeeded);
        let (head, body) = request.into_parts();
        let seen: Vec<String> = head
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        Response::builder()
            .header("seen-line", format!("{} {}", head.method, head.uri))
            .header("seen-headers", seen.join(" | "))
            .body(body)
            .unwrap()
    })
}

/// Sends a run's end, as an executor does.
pub(crate) fn claim(request: &Request<Body>, outcome: Outcome) {
    claim_usage(request, outcome, Usage { cpu_us: 42, ..Usage::default() });
}

/// The same, with these figures.
pub(crate) fn claim_usage(request: &Request<Body>, outcome: Outcome, usage: Usage) {
    let exchange = request.extensions().get::<Exchange>().unwrap();
    let end = RunEnd { outcome, code: None, detail: None, usage, warm: true, cached: false, running: 0 };
    exchange.claim_end().unwrap().send(serde_json::to_vec(&end).unwrap().into());
}

pub(crate) fn text(body: impl Into<Bytes>) -> Response<Body> {
    Response::new(fabric::full(body))
}

pub(crate) fn problem(code: Code) -> Response<Body> {
    Response::builder()
        .status(code.status())
        .header("content-type", Problem::MEDIA_TYPE)
        .header("x-crowdcloud-problem", code.as_str())
        .body(fabric::full(Problem::new(code, "as the test wants it").to_json()))
        .unwrap()
}
