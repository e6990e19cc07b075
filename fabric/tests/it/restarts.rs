//! The NATS server dies or hangs in the middle: what runs ends cleanly, what comes later works.

use std::time::{Duration, Instant};

use fabric::{CallOptions, Mount, NodeEndpoint, ServeOptions};
use http_body_util::BodyExt as _;
use protocol::NodeId;
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Ground, bytes, echo, options, post, run_on, serve};

const RUN: Mount = Mount::OnNode(NodeEndpoint::Run);

fn signal(ground: &Ground, signal: Signal) {
    let pid = i32::try_from(ground.server.pid().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Calls until one succeeds.
async fn works_again(core: &fabric::Fabric, node: NodeId, within: Duration) {
    let begun = Instant::now();
    loop {
        match core.call(run_on(node), post("/", "again"), CallOptions::default()).await {
            Ok(reply) => return assert_eq!(bytes(reply).await, "again"),
            Err(error) => assert!(begun.elapsed() < within, "{error} after {:?}", begun.elapsed()),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_comes_back_and_so_do_the_calls() {
    let ground = Ground::start().await;
    let id = NodeId::new();
    let (core, node) = (ground.core().await, ground.node(id).await);
    let _serving = serve(&node, RUN, ServeOptions::default(), |request| async move {
        if request.uri().path() == "/slow" {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        echo(request).await
    })
    .await;
    let url = ground.server.url();
    for _ in 0..2 {
        // Its answer is ready only when the server is back; the connection's loss alone ends no exchange.
        let slow = tokio::spawn(core.start(run_on(id), post("/slow", "survives"), options()).0);
        // This one is cut in its middle: it ends, with everything or with an error.
        let big = tokio::spawn(core.start(run_on(id), post("/", vec![1; 30_000_000]), options()).0);
        tokio::time::sleep(Duration::from_millis(100)).await;
        signal(&ground, Signal::KILL);
        let begun = Instant::now();
        works_again(&core, id, Duration::from_secs(5)).await;
        let (response, _) = slow.await.unwrap().unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "survives");
        if let Ok((response, _)) = big.await.unwrap()
            && let Ok(body) = response.into_body().collect().await
        {
            assert_eq!(body.to_bytes().len(), 30_000_000);
        }
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        assert_eq!(ground.server.url(), url);
    }
    assert_eq!(ground.server.restarts(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_server_is_replaced() {
    let ground = Ground::start().await;
    let id = NodeId::new();
    let (core, node) = (ground.core().await, ground.node(id).await);
    let _serving = serve(&node, RUN, ServeOptions::default(), echo).await;
    let first = ground.server.pid();
    signal(&ground, Signal::STOP);
    // The signal reaches the threads one by one.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    let short = CallOptions { deadline: Duration::from_secs(1), ..options() };
    let error = core.call(run_on(id), post("/", ""), short).await.err().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3), "{error} after {:?}", begun.elapsed());
    works_again(&core, id, Duration::from_secs(8)).await;
    assert_ne!(ground.server.pid(), first);
}
