//! Very many exchanges, a third of them broken off: nothing is left behind.

use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric::{BodyError, CallOptions, Fabric, Mount, NodeEndpoint, ServeOptions};
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use protocol::NodeId;

use crate::harness::{Ground, bytes, options, post, run_on, serve};

/// In a round; `CROWDCLOUD_EXCHANGES` says more.
const EXCHANGES: usize = 40_000;
const WARM_UP: usize = 20_000;
const ROUNDS_MAX: usize = 3;
const CALLERS: usize = 64;
/// Of the memory in use after the warm-up, in percent.
const DRIFT_MAX_PERCENT: usize = 5;
/// For the last ends of what was broken off.
const SETTLE: Duration = Duration::from_millis(3_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_behind() {
    let ground = Ground::start().await;
    let id = NodeId::new();
    let (core, node) = (ground.core().await, ground.node(id).await);
    let _serving = serve(&node, Mount::OnNode(NodeEndpoint::Run), ServeOptions::default(), |request| async move {
        match request.uri().path() {
            "/abort" => {
                let pieces = futures::stream::iter([
                    Ok(http_body::Frame::data(Bytes::from_static(b"some"))),
                    Err(BodyError::Source("as asked".into())),
                ]);
                http::Response::new(StreamBody::new(pieces).boxed_unsync())
            }
            "/endless" => {
                let pieces = futures::stream::unfold((), |()| async {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    Some((Ok(http_body::Frame::data(Bytes::from_static(&[7; 1024]))), ()))
                });
                http::Response::new(StreamBody::new(pieces.boxed()).boxed_unsync())
            }
            "/silent" => std::future::pending().await,
            _ => http::Response::new(request.into_body()),
        }
    })
    .await;
    let exchanges = std::env::var("CROWDCLOUD_EXCHANGES").ok().and_then(|text| text.parse().ok()).unwrap_or(EXCHANGES);
    churn(&core, id, WARM_UP).await;
    tokio::time::sleep(SETTLE).await;
    // A table's capacity may still double once; a leak grows every time.
    for _ in 0..ROUNDS_MAX {
        let before = Figures::now(&ground).await;
        let begun = Instant::now();
        churn(&core, id, exchanges).await;
        let took = begun.elapsed();
        tokio::time::sleep(SETTLE).await;
        let after = Figures::now(&ground).await;
        println!("{exchanges} exchanges in {took:?}; {before:?}, then {after:?}");
        assert_eq!((core.live_exchanges(), node.live_exchanges()), (0, 0));
        assert_eq!(after.subscriptions, before.subscriptions);
        assert_eq!(after.tasks, before.tasks);
        let drift_percent = after.in_use.saturating_sub(before.in_use) * 100 / before.in_use;
        if drift_percent < DRIFT_MAX_PERCENT {
            return;
        }
    }
    panic!("memory in use grows by {DRIFT_MAX_PERCENT} % or more with every {exchanges} exchanges");
}

/// A busy machine may take its time.
fn patient() -> CallOptions {
    CallOptions { accept_within: Duration::from_secs(10), ..options() }
}

async fn churn(core: &Fabric, id: NodeId, exchanges: usize) {
    let callers = (0..CALLERS).map(|caller| {
        let core = core.clone();
        tokio::spawn(async move {
            for round in 0..exchanges / CALLERS {
                exchange(&core, id, caller + round).await;
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}

/// Two of three end well, the third is broken off: by the service, by dropping the body, by dropping the call.
async fn exchange(core: &Fabric, id: NodeId, number: usize) {
    match number % 9 {
        0 => {
            let reply = core.call(run_on(id), post("/abort", ""), patient()).await.unwrap();
            assert!(reply.response.into_body().collect().await.is_err());
        }
        3 => {
            let reply = core.call(run_on(id), post("/endless", ""), patient()).await.unwrap();
            drop(reply.response.into_body().frame().await);
        }
        6 => {
            let call = core.call(run_on(id), post("/silent", ""), patient());
            assert!(tokio::time::timeout(Duration::from_millis(1), call).await.is_err());
        }
        1 if number.is_multiple_of(5) => {
            let reply = core.call(run_on(id), post("/", vec![1; 300_000]), patient()).await.unwrap();
            assert_eq!(bytes(reply).await.len(), 300_000);
        }
        _ => {
            let reply = core.call(run_on(id), post("/", "small"), patient()).await.unwrap();
            assert_eq!(bytes(reply).await, "small");
        }
    }
}

#[derive(Debug)]
struct Figures {
    subscriptions: u64,
    tasks: usize,
    /// Bytes that are allocated and not freed: resident memory also holds what the allocator keeps for later.
    in_use: usize,
}

impl Figures {
    async fn now(ground: &Ground) -> Self {
        Self {
            subscriptions: subscriptions(ground).await,
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            in_use: in_use(),
        }
    }
}

/// What the server itself counts, asked as the system account.
async fn subscriptions(ground: &Ground) -> u64 {
    let system = ground.authority.system_user("test").unwrap();
    let pair = std::sync::Arc::new(nkeys::KeyPair::from_seed(system.seed().unwrap()).unwrap());
    let client = async_nats::ConnectOptions::with_jwt(system.jwt, move |nonce| {
        let pair = pair.clone();
        async move { pair.sign(&nonce).map_err(async_nats::AuthError::new) }
    })
    .connect(ground.server.url())
    .await
    .unwrap();
    let answer = client.request("$SYS.REQ.SERVER.PING.VARZ", Bytes::new()).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
    let subscriptions = answer["data"]["subscriptions"].as_u64().unwrap();
    client.drain().await.unwrap();
    // The connection's own tasks are to be gone before tasks are counted.
    tokio::time::sleep(Duration::from_millis(200)).await;
    subscriptions
}

fn in_use() -> usize {
    #[allow(unsafe_code, reason = "glibc's own count has no safe form; it takes no argument and keeps nothing")]
    let counted = unsafe { libc::mallinfo2() };
    counted.uordblks + counted.hblkhd
}
