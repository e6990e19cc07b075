//! Nodes that are busy, lost, slow or wrong, and callers that go away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fabric::{Busy, Exchange, ServeOptions};
use protocol::receipt::Outcome;
use protocol::route::Route;
use protocol::{Code, Millis, PlacementClass};

use crate::client::{Client, request};
use crate::node::{claim, echo, problem, text};
use crate::platform::Platform;

#[tokio::test]
async fn a_busy_node_is_passed_over() {
    let platform = Platform::start().await;
    platform.deploy("echo", |_| {}).await;
    let refuse = ServeOptions {
        admit: Some(Arc::new(|_, _| Err(Busy { reason: "full".to_owned() }))),
        ..ServeOptions::default()
    };
    let busy = platform.node_with(refuse, echo).await;
    let free = platform.node(echo).await;
    for number in 0..10 {
        let body = format!("body {number}");
        let answer = platform.fetch("POST", "/f/ada/echo/", &[], body.as_bytes()).await;
        assert_eq!((answer.status, answer.text()), (200, body), "a body is sent again to the next node");
        assert_eq!(answer.header("x-crowdcloud-node"), free.id.to_string());
    }
    assert_eq!((busy.called(), free.called()), (0, 10));
}

#[tokio::test]
async fn without_a_free_node_it_says_so() {
    let platform = Platform::start_with(|config| config.place_within = Millis(300)).await;
    platform.deploy("echo", |_| {}).await;
    let answer = platform.get("/f/ada/echo/").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "no_node"));
    assert!(!answer.header("retry-after").is_empty());
    let seen = platform.observation(&answer).await;
    assert_eq!((seen.outcome, seen.node), (Outcome::PlatformFailed, None));

    let refuse = ServeOptions {
        admit: Some(Arc::new(|_, _| Err(Busy { reason: "full".to_owned() }))),
        ..ServeOptions::default()
    };
    let _busy = platform.node_with(refuse, echo).await;
    let answer = platform.fetch("POST", "/f/ada/echo/", &[], b"x").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"));
}

#[tokio::test]
async fn a_version_for_own_nodes_says_that_none_is_online_also_where_its_own_time_ends() {
    let platform = Platform::start_with(|config| config.place_within = Millis(300)).await;
    let foreign = platform.node(echo).await;
    for (name, timeout) in [("patient", Millis::seconds(10)), ("hasty", Millis(150))] {
        let own = |route: &mut Route| {
            let version = route.versions.get_mut(&1).unwrap();
            (version.placement, version.limits.timeout) = (PlacementClass::Own, timeout);
        };
        platform.deploy(name, own).await;
        let answer = platform.get(&format!("/f/ada/{name}/")).await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "no_node"), "{}", answer.text());
        let said = answer.text();
        assert!(said.contains("no own node is online: the account has none"), "{said}");
    }
    assert_eq!(foreign.called(), 0);
}

#[tokio::test]
async fn room_that_comes_soon_is_waited_for() {
    let platform = Platform::start().await;
    platform.deploy("echo", |_| {}).await;
    let full = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&full);
    let admit = ServeOptions {
        admit: Some(Arc::new(move |_, _| match asked.load(Ordering::Relaxed) {
            true => Err(Busy { reason: "full".to_owned() }),
            false => Ok(fabric::Permit(Arc::new(()))),
        })),
        ..ServeOptions::default()
    };
    let _node = platform.node_with(admit, echo).await;
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(400)).await;
        full.store(false, Ordering::Relaxed);
    });
    assert_eq!(platform.fetch("POST", "/f/ada/echo/", &[], b"x").await.status, 200);
}

#[tokio::test]
async fn a_lost_node_fails_what_may_not_be_repeated_and_only_that() {
    let platform = Platform::start().await;
    platform.deploy("echo", |_| {}).await;
    let first = platform
        .node(|_| {
            Box::pin(async {
                tokio::time::sleep(Duration::from_secs(60)).await;
                text("too late")
            })
        })
        .await;
    let port = platform.port;
    let post = tokio::spawn(async move { crate::client::fetch(port, "POST", "/f/ada/echo/", &[], b"x").await });
    let get = tokio::spawn(async move { crate::client::fetch(port, "GET", "/f/ada/echo/", &[], b"").await });
    while first.called() < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let second = platform.node(echo).await;
    // As by SIGKILL: no unmount, no last word.
    first.reports.abort();
    first.fabric.close().await;
    let lost = post.await.unwrap();
    assert_eq!((lost.status, lost.code().as_str()), (502, "node_lost"));
    assert!(lost.took < Duration::from_secs(9), "{:?}", lost.took);
    assert_eq!(platform.observation(&lost).await.outcome, Outcome::PlatformFailed);
    let repeated = get.await.unwrap();
    assert_eq!((repeated.status, repeated.header("x-crowdcloud-node")), (200, second.id.to_string().as_str()));
    // Nobody listens there any more: the next is asked at once.
    for _ in 0..5 {
        let answer = platform.fetch("POST", "/f/ada/echo/", &[], b"x").await;
        assert_eq!(answer.status, 200);
        assert!(answer.took < Duration::from_secs(3), "{:?}", answer.took);
    }
}

#[tokio::test]
async fn the_deadline_holds() {
    let platform = Platform::start().await;
    platform.deploy("slow", |route| route.versions.get_mut(&1).unwrap().limits.timeout = Millis(500)).await;
    let _node = platform
        .node(|request| {
            Box::pin(async move {
                let exchange = request.extensions().get::<Exchange>().unwrap().clone();
                let _end = exchange.claim_end();
                tokio::time::sleep(Duration::from_secs(60)).await;
                text("too late")
            })
        })
        .await;
    let mut late = Duration::MAX;
    for _ in 0..3 {
        let started = Instant::now();
        let answer = platform.fetch("POST", "/f/ada/slow/", &[], b"x").await;
        assert_eq!((answer.status, answer.code().as_str()), (504, "timed_out"));
        assert!(started.elapsed() >= Duration::from_millis(500));
        late = late.min(started.elapsed().saturating_sub(Duration::from_millis(500)));
        assert_eq!(platform.observation(&answer).await.outcome, Outcome::TimedOut);
    }
    assert!(late <= Duration::from_millis(100), "{late:?} late");
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_the_run() {
    let platform = Platform::start().await;
    platform.deploy("slow", |_| {}).await;
    let cancelled = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&cancelled);
    let node = platform
        .node(move |request| {
            let seen = Arc::clone(&seen);
            Box::pin(async move {
                let exchange = request.extensions().get::<Exchange>().unwrap().clone();
                let end = exchange.claim_end();
                exchange.cancelled.cancelled().await;
                seen.store(true, Ordering::Relaxed);
                drop(end);
                text("nobody reads this")
            })
        })
        .await;
    let mut client = Client::connect(platform.port).await;
    client.send(request("GET", "/f/ada/slow/gone", &[], b"")).await;
    while node.called() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    client.reset();
    let started = Instant::now();
    while !cancelled.load(Ordering::Relaxed) {
        assert!(started.elapsed() < Duration::from_secs(10), "the node was not told");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let observation = platform.observed(|seen| seen.path == "/gone").await;
    assert_eq!((observation.outcome, observation.node), (Outcome::Cancelled, Some(node.id)));
}

#[tokio::test]
async fn a_nodes_problem_is_told_as_ours() {
    let platform = Platform::start().await;
    platform.deploy("bad", |_| {}).await;
    let _node = platform
        .node(|request| {
            Box::pin(async move {
                claim(&request, Outcome::Failed);
                problem(Code::Trap)
            })
        })
        .await;
    let answer = platform.get("/f/ada/bad/").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "trap"));
    assert_eq!(answer.json()["detail"], "as the test wants it");
    assert_eq!(answer.json()["instance"], answer.header("x-crowdcloud-run"));
    let seen = platform.observation(&answer).await;
    assert_eq!((seen.outcome, seen.code), (Outcome::Failed, Some(Code::Trap)));
    assert_eq!(seen.end.unwrap().usage.cpu_us, 42);
}

#[tokio::test]
async fn a_function_runs_so_often_at_once_and_no_more() {
    let platform = Platform::start().await;
    platform.deploy("two", |route| route.versions.get_mut(&1).unwrap().limits.concurrency = 2).await;
    let node = platform
        .node(|_| {
            Box::pin(async {
                tokio::time::sleep(Duration::from_millis(700)).await;
                text("done")
            })
        })
        .await;
    let answers = futures::future::join_all((0..5).map(|_| platform.get("/f/ada/two/"))).await;
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert_eq!((good, refused.len(), node.called()), (2, 3, 2));
    assert_eq!(refused[0].code(), "concurrency_limit");
    assert_eq!(platform.get("/f/ada/two/").await.status, 200, "the places are given back");
}

#[tokio::test]
async fn a_caller_that_does_not_read_gives_its_place_back() {
    let platform = Platform::start_with(|config| config.write_idle = Millis(500)).await;
    platform.deploy("flood", |_| {}).await;
    let _node = platform.node(|_| Box::pin(async { text(vec![b'x'; 24 << 20]) })).await;
    let mut client = Client::connect(platform.port).await;
    client.send(request("GET", "/f/ada/flood/unread", &[], b"")).await;
    let seen = platform.observed(|seen| seen.path == "/unread").await;
    assert_eq!(seen.outcome, Outcome::Cancelled);
    assert!(client.answer(false).await.broken);
}
