//! Calls that go well: every direction, every size, both bodies streamed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use fabric::{EndKind, Exchange, Mount, NodeEndpoint, NodeService, Peer, ServeOptions, Target};
use http_body_util::BodyExt as _;
use protocol::NodeId;
use tokio::sync::Notify;

use crate::harness::{CONTROL_PLANE, Ground, bytes, echo, idle, options, post, run_on, serve};

#[tokio::test(flavor = "multi_thread")]
async fn all_three_directions() {
    let ground = Ground::start().await;
    let (a, b) = (ground.core().await, ground.core().await);
    let node_id = NodeId::new();
    let node = ground.node(node_id).await;
    let _one = serve(&a, Mount::Core(fabric::CoreService::ControlPlane), ServeOptions::default(), echo).await;
    let _two = serve(&node, Mount::OnNode(NodeEndpoint::Run), ServeOptions::default(), echo).await;
    let _three = serve(&a, Mount::ForNodes(NodeService::Api), ServeOptions::default(), |request| async move {
        let peer = *request.extensions().get::<Peer>().unwrap();
        http::Response::new(fabric::full(format!("{peer:?}")))
    })
    .await;

    let reply = b.call(CONTROL_PLANE, post("/x", "core"), options()).await.unwrap();
    assert_eq!(bytes(reply).await, "core");
    let reply = b.call(run_on(node_id), post("/x", "node"), options()).await.unwrap();
    assert_eq!(reply.peer, Peer::Node(node_id));
    assert_eq!(bytes(reply).await, "node");
    let reply = node.call(Target::FromNode(NodeService::Api), post("/x", "api"), options()).await.unwrap();
    assert_eq!(bytes(reply).await, format!("{:?}", Peer::Node(node_id)));
    for fabric in [&a, &b, &node] {
        idle(fabric, std::time::Duration::from_secs(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_stream_both_ways() {
    let ground = Ground::start().await;
    let core = ground.core().await;
    let node_id = NodeId::new();
    let node = ground.node(node_id).await;
    let _serving = serve(&node, Mount::OnNode(NodeEndpoint::Run), ServeOptions::default(), echo).await;
    let big: Bytes = (0..5_000_000u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[2]).collect::<Vec<u8>>().into();
    for size in [0, 1, 200_000, 262_000, 262_144, 300_000, 1_048_576, 5_000_000] {
        let reply = core.call(run_on(node_id), post("/", big.slice(..size)), options()).await.unwrap();
        let (end, body) = (reply.end, reply.response.into_body());
        let back = body.collect().await.unwrap().to_bytes();
        assert!(back == big.slice(..size), "size {size}: {} came back", back.len());
        assert_eq!(end.await.how, EndKind::Completed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_carries_a_payload() {
    let ground = Ground::start().await;
    let core = ground.core().await;
    let node_id = NodeId::new();
    let node = ground.node(node_id).await;
    let _serving = serve(&node, Mount::OnNode(NodeEndpoint::Run), ServeOptions::default(), |request| async move {
        let end = request.extensions().get::<Exchange>().unwrap().claim_end().unwrap();
        let late = request.uri().path() == "/late";
        tokio::spawn(async move {
            if late {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            end.send(Bytes::from_static(b"used 7"));
        });
        http::Response::new(fabric::full("done"))
    })
    .await;
    for path in ["/", "/late"] {
        let reply = core.call(run_on(node_id), post(path, ""), options()).await.unwrap();
        assert_eq!(reply.response.into_body().collect().await.unwrap().to_bytes(), "done");
        let end = reply.end.await;
        assert_eq!((end.payload, end.how), (Some(Bytes::from_static(b"used 7")), EndKind::Completed));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_call_is_two_messages() {
    let ground = Ground::start().await;
    let core = ground.core().await;
    let node_id = NodeId::new();
    let node = ground.node(node_id).await;
    let _serving = serve(&node, Mount::OnNode(NodeEndpoint::Run), ServeOptions::default(), echo).await;
    let mut tap = ground.core().await.events("cc.>").await.unwrap();
    for body in ["x".to_owned(), "y".repeat(200_000)] {
        bytes(core.call(run_on(node_id), post("/", body), options()).await.unwrap()).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let mut seen = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(std::time::Duration::from_millis(50), tap.next()).await {
        seen.push(event.subject);
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_targets_are_refused_here() {
    let ground = Ground::start().await;
    let core = ground.core().await;
    let node_id = NodeId::new();
    let node = ground.node(node_id).await;
    for (fabric, to) in [(&core, Target::FromNode(NodeService::Api)), (&node, CONTROL_PLANE), (&node, run_on(node_id))]
    {
        let error = fabric.call(to, post("/", ""), options()).await.err().unwrap();
        assert!(matches!(error, fabric::CallError::Unsendable(_)), "{error}");
    }
    let huge = http::Request::get("/").header("x", "v".repeat(200_000)).body(fabric::empty()).unwrap();
    let error = core.call(run_on(node_id), huge, options()).await.err().unwrap();
    assert!(matches!(error, fabric::CallError::Unsendable(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_caller_hears_when_it_is_accepted() {
    let ground = Ground::start().await;
    let core = ground.core().await;
    let node_id = NodeId::new();
    let node = ground.node(node_id).await;
    let release = Arc::new(Notify::new());
    let released = Arc::clone(&release);
    let _serving = serve(&node, Mount::OnNode(NodeEndpoint::Run), ServeOptions::default(), move |request| {
        let released = Arc::clone(&released);
        async move {
            if request.uri().path() == "/slow" {
                released.notified().await;
            }
            echo(request).await
        }
    })
    .await;
    // The response comes after the caller has heard of the acceptance, and never without it.
    let (call, _end) = core.start_with(run_on(node_id), post("/slow", "x"), options(), || release.notify_one());
    assert_eq!(call.await.unwrap().0.status(), 200);
    // Who responds at once need not say it before.
    let heard = AtomicBool::new(false);
    let (call, _end) =
        core.start_with(run_on(node_id), post("/", "x"), options(), || heard.store(true, Ordering::Relaxed));
    assert_eq!(call.await.unwrap().0.status(), 200);
    assert!(!heard.load(Ordering::Relaxed));
}
