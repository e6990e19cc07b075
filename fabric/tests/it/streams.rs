//! Bodies of any size, in any pieces, with any headers, broken off anywhere: they arrive intact or fail cleanly.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fabric::{Body, BodyError, EndKind, Mount, NodeEndpoint, ServeOptions};
use http_body_util::{BodyExt as _, StreamBody};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use protocol::NodeId;

use crate::harness::{Ground, echo, options, post, run_on, serve};

const CASES: u32 = 96;
/// What one body may make an end hold: the window, and what is on its way.
const HELD_MAX_BYTES: usize = 2 * 1024 * 1024;

const RUN: Mount = Mount::OnNode(NodeEndpoint::Run);

/// A body in these pieces; broken off at its end if asked.
fn body_of(pieces: &[usize], seed: u8, broken: bool) -> Body {
    let mut at = usize::from(seed);
    let mut frames: Vec<Result<http_body::Frame<Bytes>, BodyError>> = Vec::new();
    for size in pieces {
        frames.push(Ok(http_body::Frame::data(pattern(at, *size))));
        at += size;
    }
    if broken {
        frames.push(Err(BodyError::Source(Box::new(std::io::Error::other("as asked")))));
    }
    let frames = futures::stream::unfold(frames.into_iter(), |mut frames| async move {
        let frame = frames.next()?;
        tokio::task::yield_now().await;
        Some((frame, frames))
    });
    StreamBody::new(Box::pin(frames)).boxed_unsync()
}

fn pattern(at: usize, size: usize) -> Bytes {
    (at..at + size).map(|i| (i % 251).to_le_bytes()[0]).collect::<Vec<u8>>().into()
}

#[derive(Debug, Clone)]
struct Case {
    up: Vec<usize>,
    down: Vec<usize>,
    header: Vec<u8>,
    break_up: bool,
    break_down: bool,
    drop_after: Option<usize>,
}

fn cases() -> impl Strategy<Value = Case> {
    let piece = prop_oneof![4 => 0..3000usize, 2 => 250_000..270_000usize, 1 => 500_000..1_500_000usize];
    let pieces = prop::collection::vec(piece, 0..6);
    let header = prop::collection::vec(prop_oneof![33..=126u8, 128..=255u8], 0..60);
    let sometimes = prop::bool::weighted(0.2);
    let dropped = prop::option::weighted(0.2, 0..2_000_000usize);
    (pieces.clone(), pieces, header, sometimes, sometimes, dropped).prop_map(
        |(up, down, header, break_up, break_down, drop_after)| Case {
            up,
            down,
            header,
            break_up,
            break_down,
            drop_after,
        },
    )
}

/// What the service saw of the request's body, with the case's number.
type Seen = (String, Result<(usize, bool), String>);

#[test]
fn any_bodies_arrive_intact_or_fail_cleanly() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (ground, core, node, id) = runtime.block_on(async {
        let ground = Ground::start().await;
        let id = NodeId::new();
        let (core, node) = (ground.core().await, ground.node(id).await);
        (ground, core, node, id)
    });
    let plan: Arc<parking_lot::Mutex<Option<Case>>> = Arc::default();
    let (seen_sender, seen) = std::sync::mpsc::channel::<Seen>();
    let planned = plan.clone();
    let _serving = runtime.block_on(serve(&node, RUN, ServeOptions::default(), move |request| {
        let case = planned.lock().clone().unwrap();
        let seen = seen_sender.clone();
        async move {
            assert_eq!(request.headers()["x-any"].as_bytes(), case.header);
            let header = request.headers()["x-any"].clone();
            let number = request.uri().path().to_owned();
            let read = request.into_body().collect().await;
            let seen_now = match read {
                Ok(read) => {
                    let bytes = read.to_bytes();
                    Ok((bytes.len(), bytes == pattern(3, bytes.len())))
                }
                Err(error) => Err(error.to_string()),
            };
            drop(seen.send((number, seen_now)));
            let mut response = http::Response::new(body_of(&case.down, 5, case.break_down));
            response.headers_mut().append("x-any", header);
            response
        }
    }));
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&cases(), |case| {
        *plan.lock() = Some(case.clone());
        runtime.block_on(one_case(&core, id, &case, &seen));
        Ok(())
    });
    outcome.unwrap();
    runtime.block_on(async {
        tokio::time::sleep(Duration::from_millis(2_600)).await;
        assert_eq!((core.live_exchanges(), node.live_exchanges()), (0, 0));
        ground.server.stop().await;
    });
}

async fn one_case(core: &fabric::Fabric, id: NodeId, case: &Case, seen: &std::sync::mpsc::Receiver<Seen>) {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = format!("/{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let seen = || loop {
        let (of, seen) = seen.recv().unwrap();
        if of == number {
            return seen;
        }
    };
    let request = http::Request::post(format!("{number}?q=%ff"))
        .header("x-any", http::HeaderValue::from_bytes(&case.header).unwrap())
        .body(body_of(&case.up, 3, case.break_up))
        .unwrap();
    let (up, down): (usize, usize) = (case.up.iter().sum(), case.down.iter().sum());
    let reply = match core.call(run_on(id), request, options()).await {
        Err(error) => return assert!(case.break_up, "{error}"),
        Ok(reply) => reply,
    };
    if case.break_up {
        assert!(seen().is_err());
        return;
    }
    assert_eq!(seen(), Ok((up, true)));
    assert_eq!(reply.response.headers()["x-any"].as_bytes(), case.header);
    let mut body = reply.response.into_body();
    let mut got = 0;
    let failed = loop {
        if case.drop_after.is_some_and(|after| got >= after) {
            drop(body);
            let how = reply.end.await.how;
            assert!(matches!(how, EndKind::Cancelled | EndKind::Completed | EndKind::Aborted(_)), "{how:?}");
            return;
        }
        match body.frame().await {
            None => break false,
            Some(Err(error)) => {
                assert!(matches!(&error, BodyError::Aborted(reason) if reason == "as asked"), "{error}");
                break true;
            }
            Some(Ok(frame)) => {
                let piece = frame.into_data().unwrap();
                assert!(piece == pattern(5 + got, piece.len()), "wrong bytes after {got}");
                got += piece.len();
            }
        }
    };
    assert_eq!(got, down);
    assert_eq!(failed, case.break_down);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_bounds_what_is_held() {
    let ground = Ground::start().await;
    let id = NodeId::new();
    let (core, node) = (ground.core().await, ground.node(id).await);
    let made = Arc::new(AtomicUsize::new(0));
    let counter = made.clone();
    let _serving = serve(&node, RUN, ServeOptions::default(), move |request| {
        let counter = counter.clone();
        async move {
            if request.uri().path() == "/upload" {
                // Reads nothing of it for a while.
                tokio::time::sleep(Duration::from_millis(500)).await;
                return http::Response::new(fabric::empty());
            }
            http::Response::new(counted(&counter))
        }
    })
    .await;
    let reply = core.call(run_on(id), post("/", ""), options()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let ahead = made.load(Ordering::Relaxed);
    assert!(ahead <= HELD_MAX_BYTES, "{ahead} bytes were made for a reader that read none");
    // It reads a little: a little more is made.
    let mut body = reply.response.into_body();
    let mut read = 0;
    while read < 10 * 1024 * 1024 {
        read += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(made.load(Ordering::Relaxed) <= read + HELD_MAX_BYTES);
    drop(body);

    let sent = Arc::new(AtomicUsize::new(0));
    let request = http::Request::post("/upload").body(counted(&sent)).unwrap();
    let reply = core.call(run_on(id), request, options()).await.unwrap();
    assert!(sent.load(Ordering::Relaxed) <= HELD_MAX_BYTES);
    // The answer needed none of it: the exchange ends, and so does the upload.
    assert_eq!(reply.end.await.how, EndKind::Completed);
}

/// An endless body that counts what is taken of it.
fn counted(counter: &Arc<AtomicUsize>) -> Body {
    let counter = counter.clone();
    let pieces = futures::stream::repeat_with(move || {
        counter.fetch_add(64 * 1024, Ordering::Relaxed);
        Ok::<_, BodyError>(http_body::Frame::data(Bytes::from(vec![7; 64 * 1024])))
    });
    StreamBody::new(pieces).boxed_unsync()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_may_come_before_the_request_has_ended() {
    let ground = Ground::start().await;
    let id = NodeId::new();
    let (core, node) = (ground.core().await, ground.node(id).await);
    let _serving = serve(&node, RUN, ServeOptions::default(), echo).await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    let pieces = futures::stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((Ok::<_, BodyError>(http_body::Frame::data(piece)), receiver))
    });
    let request = http::Request::post("/").body(StreamBody::new(Box::pin(pieces)).boxed_unsync()).unwrap();
    sender.send("one".into()).await.unwrap();
    let reply = core.call(run_on(id), request, options()).await.unwrap();
    let mut body = reply.response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
    // A conversation, as long as a heartbeat is.
    for word in ["two", "three", "four"] {
        tokio::time::sleep(Duration::from_millis(700)).await;
        sender.send(word.into()).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), word);
    }
    drop(sender);
    assert!(body.frame().await.is_none());
    assert_eq!(reply.end.await.how, EndKind::Completed);
}
