//! How exchanges end when not all goes well: nobody there, busy, too late, cancelled, lost, failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric::{BodyError, Busy, CallError, CallOptions, EndKind, Exchange, Mount, NodeEndpoint, Permit, ServeOptions};
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use protocol::NodeId;
use tokio::sync::Notify;

use crate::harness::{Ground, bytes, echo, idle, options, post, run_on, serve};

struct Pair {
    ground: Ground,
    core: fabric::Fabric,
    node: fabric::Fabric,
    id: NodeId,
}

async fn pair() -> Pair {
    let ground = Ground::start().await;
    let id = NodeId::new();
    let (core, node) = (ground.core().await, ground.node(id).await);
    Pair { ground, core, node, id }
}

const RUN: Mount = Mount::OnNode(NodeEndpoint::Run);

/// A body that never ends, a piece each 10 ms.
fn endless() -> fabric::Body {
    let pieces = futures::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Some((Ok::<_, BodyError>(http_body::Frame::data(Bytes::from_static(b"tick"))), ()))
    });
    StreamBody::new(pieces.boxed()).boxed_unsync()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_known_at_once() {
    let pair = pair().await;
    let begun = Instant::now();
    let error = pair.core.call(run_on(NodeId::new()), post("/", ""), options()).await.err().unwrap();
    assert_eq!(error, CallError::NoResponder);
    assert!(begun.elapsed() < options().accept_within, "{:?}", begun.elapsed());
    assert!(error.surely_not_started());
    idle(&pair.core, Duration::from_millis(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn admission_says_busy_and_its_permit_is_given_back() {
    let pair = pair().await;
    let (taken, permits) = (Arc::new(AtomicUsize::new(0)), Arc::new(()));
    let (counter, permit) = (taken.clone(), permits.clone());
    let admit: fabric::Admit = Arc::new(move |parts, _| {
        counter.fetch_add(1, Ordering::Relaxed);
        if parts.uri.path() == "/no" {
            return Err(Busy { reason: "no slot".to_owned() });
        }
        Ok(Permit(permit.clone()))
    });
    let serve_options = ServeOptions { admit: Some(admit), concurrency: None };
    let _serving = serve(&pair.node, RUN, serve_options, |request| async move {
        assert!(request.extensions().get::<Permit>().is_some());
        echo(request).await
    })
    .await;
    let error = pair.core.call(run_on(pair.id), post("/no", ""), options()).await.err().unwrap();
    assert_eq!(error, CallError::Busy("no slot".to_owned()));
    let reply = pair.core.call(run_on(pair.id), post("/yes", "x"), options()).await.unwrap();
    assert_eq!(bytes(reply).await, "x");
    assert_eq!(taken.load(Ordering::Relaxed), 2);
    // Ours, and the one in the admission function.
    assert_eq!(Arc::strong_count(&permits), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_limit_is_busy() {
    let pair = pair().await;
    let serve_options = ServeOptions { admit: None, concurrency: Some(1) };
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, goes) = (Arc::clone(&begun), Arc::clone(&go));
    let _serving = serve(&pair.node, RUN, serve_options, move |_| {
        let (begins, goes) = (Arc::clone(&begins), Arc::clone(&goes));
        async move {
            begins.notify_one();
            goes.notified().await;
            http::Response::new(fabric::empty())
        }
    })
    .await;
    let first = pair.core.start(run_on(pair.id), post("/", ""), options()).0;
    let first = tokio::spawn(first);
    begun.notified().await;
    let error = pair.core.call(run_on(pair.id), post("/", ""), options()).await.err().unwrap();
    assert!(matches!(error, CallError::Busy(_)), "{error}");
    go.notify_one();
    assert!(first.await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_service_is_accepted_first() {
    let pair = pair().await;
    let _serving = serve(&pair.node, RUN, ServeOptions::default(), |_| async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        http::Response::new(fabric::full("late"))
    })
    .await;
    let reply = pair.core.call(run_on(pair.id), post("/", ""), options()).await.unwrap();
    assert_eq!(bytes(reply).await, "late");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_ends_it_on_both_sides() {
    let pair = pair().await;
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let _serving = serve(&pair.node, RUN, ServeOptions::default(), move |request| {
        let sender = sender.clone();
        async move {
            let exchange = request.extensions().get::<Exchange>().unwrap().clone();
            let end = exchange.claim_end().unwrap();
            tokio::spawn(async move {
                exchange.cancelled.cancelled().await;
                end.send("killed".into());
                sender.send(exchange.deadline).unwrap();
            });
            if request.uri().path() == "/body" {
                return http::Response::new(endless());
            }
            std::future::pending().await
        }
    })
    .await;
    let options = CallOptions { deadline: Duration::from_millis(400), ..CallOptions::default() };
    let begun = Instant::now();
    let (call, end) = pair.core.start(run_on(pair.id), post("/", ""), options.clone());
    assert_eq!(call.await.err().unwrap(), CallError::Deadline);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let end = end.await;
    assert_eq!((end.how, end.payload), (EndKind::Deadline, Some(Bytes::from_static(b"killed"))));
    assert!(told.recv().await.unwrap().is_some());

    let begun = Instant::now();
    let reply = pair.core.call(run_on(pair.id), post("/body", ""), options).await.unwrap();
    let error = reply.response.into_body().collect().await.err().unwrap();
    assert!(matches!(error, BodyError::Deadline), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(reply.end.await.how, EndKind::Deadline);
    idle(&pair.core, Duration::from_secs(1)).await;
    idle(&pair.node, Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_cancels_and_still_brings_the_end() {
    let pair = pair().await;
    let _serving = serve(&pair.node, RUN, ServeOptions::default(), |request| async move {
        let exchange = request.extensions().get::<Exchange>().unwrap().clone();
        let end = exchange.claim_end().unwrap();
        tokio::spawn(async move {
            exchange.cancelled.cancelled().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            end.send("cut".into());
        });
        if request.uri().path() == "/body" {
            return http::Response::new(endless());
        }
        std::future::pending().await
    })
    .await;

    // The body is dropped.
    let reply = pair.core.call(run_on(pair.id), post("/body", ""), options()).await.unwrap();
    let mut body = reply.response.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    drop(body);
    let end = reply.end.await;
    assert_eq!((end.how, end.payload), (EndKind::Cancelled, Some(Bytes::from_static(b"cut"))));

    // The call's future is dropped.
    let (call, end) = pair.core.start(run_on(pair.id), post("/", ""), options());
    assert!(tokio::time::timeout(Duration::from_millis(100), call).await.is_err());
    let end = end.await;
    assert_eq!((end.how, end.payload), (EndKind::Cancelled, Some(Bytes::from_static(b"cut"))));
    idle(&pair.core, Duration::from_secs(1)).await;
    idle(&pair.node, Duration::from_secs(1)).await;
}

/// Says what was used when it is dropped.
struct Held(Option<fabric::EndSender>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.take().unwrap().send("used".into());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_goes_with_the_body_is_not_waited_for() {
    let pair = pair().await;
    let _serving = serve(&pair.node, RUN, ServeOptions::default(), |request| async move {
        let end = request.extensions().get::<Exchange>().unwrap().claim_end().unwrap();
        // Released when the body is dropped, which comes to its end a moment after the head.
        let held = Held(Some(end));
        let pieces = futures::stream::unfold(0, |told| async move {
            tokio::task::yield_now().await;
            (told < 2).then(|| (Ok::<_, BodyError>(http_body::Frame::data(Bytes::from_static(b"x"))), told + 1))
        });
        let pieces = pieces.map(move |piece| {
            let _ = &held;
            piece
        });
        http::Response::new(StreamBody::new(pieces.boxed()).boxed_unsync())
    })
    .await;
    for _ in 0..50 {
        let begun = Instant::now();
        let reply = pair.core.call(run_on(pair.id), post("/", ""), options()).await.unwrap();
        assert_eq!(reply.response.into_body().collect().await.unwrap().to_bytes(), "xx");
        let end = reply.end.await;
        assert_eq!((end.how, end.payload), (EndKind::Completed, Some(Bytes::from_static(b"used"))));
        assert!(begun.elapsed() < Duration::from_millis(1_900), "it is not given up: {:?}", begun.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_never_comes_is_waited_for_two_seconds() {
    let pair = pair().await;
    let _serving = serve(&pair.node, RUN, ServeOptions::default(), |request| async move {
        let end = request.extensions().get::<Exchange>().unwrap().claim_end();
        std::mem::forget(end);
        http::Response::new(fabric::full("x"))
    })
    .await;
    let begun = Instant::now();
    let reply = pair.core.call(run_on(pair.id), post("/", ""), options()).await.unwrap();
    assert_eq!(reply.response.into_body().collect().await.unwrap().to_bytes(), "x");
    assert!(begun.elapsed() < Duration::from_millis(1_800), "the body does not wait for the end");
    assert_eq!(reply.end.await.how, EndKind::Completed);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    idle(&pair.node, Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_service_aborts() {
    let pair = pair().await;
    let _serving = serve(&pair.node, RUN, ServeOptions::default(), |request| async move {
        assert!(request.uri().path() != "/panic", "as asked");
        let source = Box::new(std::io::Error::other("trap"));
        let pieces = futures::stream::iter([
            Ok(http_body::Frame::data(Bytes::from_static(b"half"))),
            Err(BodyError::Source(source)),
        ]);
        let end = request.extensions().get::<Exchange>().unwrap().claim_end().unwrap();
        end.send("used".into());
        http::Response::new(StreamBody::new(pieces).boxed_unsync())
    })
    .await;
    let error = pair.core.call(run_on(pair.id), post("/panic", ""), options()).await.err().unwrap();
    assert_eq!(error, CallError::Aborted("the service failed".to_owned()));

    let reply = pair.core.call(run_on(pair.id), post("/", ""), options()).await.unwrap();
    let mut body = reply.response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
    let error = body.frame().await.unwrap().err().unwrap();
    assert!(matches!(&error, BodyError::Aborted(reason) if reason == "trap"), "{error}");
    let end = reply.end.await;
    assert_eq!((end.how, end.payload), (EndKind::Aborted("trap".to_owned()), Some(Bytes::from_static(b"used"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_peer_is_noticed() {
    let pair = pair().await;
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let serving = serve(&pair.node, RUN, ServeOptions::default(), move |request| {
        let sender = sender.clone();
        async move {
            let exchange = request.extensions().get::<Exchange>().unwrap().clone();
            tokio::spawn(async move {
                exchange.cancelled.cancelled().await;
                sender.send(()).unwrap();
            });
            std::future::pending().await
        }
    })
    .await;
    let call = tokio::spawn(pair.core.start(run_on(pair.id), post("/", ""), options()).0);
    tokio::time::sleep(Duration::from_millis(700)).await;
    let begun = Instant::now();
    // The node's connection ends without a word; its exchanges go on there until they notice.
    pair.node.close().await;
    assert_eq!(call.await.unwrap().err().unwrap(), CallError::Lost);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    told.recv().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    drop(serving);
    drop(pair.ground);
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_finishes_what_runs_and_refuses_the_rest() {
    let pair = pair().await;
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, goes) = (Arc::clone(&begun), Arc::clone(&go));
    let serving = serve(&pair.node, RUN, ServeOptions::default(), move |_| {
        let (begins, goes) = (Arc::clone(&begins), Arc::clone(&goes));
        async move {
            begins.notify_one();
            goes.notified().await;
            http::Response::new(fabric::full("done"))
        }
    })
    .await;
    let running = tokio::spawn(pair.core.start(run_on(pair.id), post("/", ""), options()).0);
    begun.notified().await;
    let drained = tokio::spawn(serving.drain(Duration::from_secs(20)));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let error = pair.core.call(run_on(pair.id), post("/", ""), options()).await.err().unwrap();
    assert!(error.surely_not_started(), "{error}");
    go.notify_one();
    assert!(running.await.unwrap().is_ok());
    drained.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_shut_out_is_lost_at_once_and_heard_no_more() {
    let Pair { core, node, id, .. } = &pair().await;
    let id = *id;
    let slow = async |_| {
        tokio::time::sleep(Duration::from_secs(30)).await;
        http::Response::new(fabric::empty())
    };
    let runs = serve(node, RUN, ServeOptions::default(), slow).await;
    let call = {
        let core = core.clone();
        tokio::spawn(async move { core.call(run_on(id), post("/", ""), options()).await.map(drop) })
    };
    while node.live_exchanges() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    core.shut_out(id);
    let lost = tokio::time::timeout(Duration::from_millis(500), call).await.expect("at once").unwrap();
    assert!(lost.is_err());
    drop(runs);
    let _echo = serve(node, RUN, ServeOptions::default(), echo).await;
    let short = CallOptions { deadline: Duration::from_millis(300), accept_within: Duration::from_millis(300) };
    assert!(core.call(run_on(id), post("/", "x"), short).await.is_err(), "what it says is dropped");
    // Others are heard, and so is it where it is let in again.
    core.let_in(id);
    let reply = core.call(run_on(id), post("/", "again"), options()).await.unwrap();
    assert_eq!(bytes(reply).await, "again");
}
