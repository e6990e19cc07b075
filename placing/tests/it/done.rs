//! Runs that are done: small ones, streams, and what is kept of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric::BodyError;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use placing::{Fate, ResponseBody};
use protocol::receipt::Outcome;
use protocol::{ByteSize, Lane, Limits};
use tokio::sync::{Notify, mpsc};

use crate::harness::{CPU_US, Ground, TIMEOUT, claim, conclude, echo, post, pour, pour_up_to};

#[tokio::test(flavor = "multi_thread")]
async fn a_small_run_is_sent_answered_and_seen() {
    let ground = Ground::start().await;
    let node = ground.node(echo).await;
    let mut attempt = ground.attempt();
    let run = attempt.so_far().run;
    let response = ground.send(&mut attempt, node.id).await.unwrap();
    assert_eq!(ground.running(node.id), 1);
    let ticket = response.headers()["seen-ticket"].to_str().unwrap().to_owned();
    assert_eq!(ticket, format!("{run} on {}", node.id));

    let (mut attempt, read) = pour(response, attempt).await;
    assert_eq!(read.unwrap(), "hello");
    attempt.leave();
    // Mostly it has come with the response.
    attempt.last_word().await;
    assert!(attempt.has_last_word());
    let concluded = attempt.conclude();
    let seen = concluded.seen;
    assert_eq!(
        (concluded.verdict.fate, seen.outcome, seen.status, seen.code),
        (Fate::Answered, Outcome::Succeeded, 200, None)
    );
    assert_eq!((seen.run, seen.node, seen.lane, seen.version_number), (run, Some(node.id), Lane::Wasm, 3));
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/thumbs"));
    assert_eq!((seen.bytes_in, seen.bytes_out), (ByteSize(5), ByteSize(5)));
    assert!(seen.head_us > 0 && seen.wall_us >= seen.head_us, "{seen:?}");
    assert_eq!(seen.end.unwrap().usage.cpu_us, CPU_US);
    assert_eq!(ground.running(node.id), 3, "as the node has said at the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_waited_for_before_does_not_make_its_node_seem_far_away() {
    let ground = Ground::start().await;
    let node = ground.node(echo).await;
    let waited = Duration::from_secs(20);
    let mut attempt = ground.attempt_since(Instant::now().checked_sub(waited).unwrap());
    let response = ground.send(&mut attempt, node.id).await.unwrap();
    let (attempt, read) = pour(response, attempt).await;
    assert_eq!(read.unwrap(), "hello");
    let seen = conclude(attempt).await.seen;
    assert!(seen.wall_us > 20_000_000, "{seen:?}");
    assert!(ground.distance(node.id) < waited);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_bodies_stream_at_once() {
    let ground = Ground::start().await;
    let node = ground.node(echo).await;
    let (pieces, body) = mpsc::channel::<Bytes>(1);
    let body = futures::stream::unfold(body, |mut body| async move {
        let piece = body.recv().await?;
        Some((Ok::<_, BodyError>(Frame::data(piece)), body))
    });
    let mut attempt = ground.attempt();
    let to = ground.placing.reserve(node.id, Lane::Wasm, &Limits::default());
    let request = post(StreamBody::new(Box::pin(body)).boxed_unsync());
    let response = attempt.send(&ground.core, to, request, Instant::now() + TIMEOUT, || {}).await.unwrap();
    let mut body = ResponseBody::new(response.into_body(), VecDeque::new(), ByteSize::mib(1), attempt);
    for number in 0..5 {
        let piece = Bytes::from(format!("piece {number}"));
        pieces.send(piece.clone()).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), piece);
    }
    drop(pieces);
    assert!(body.frame().await.is_none());
    assert_eq!(body.passed(), ByteSize(35));
    let concluded = conclude(body.into_holder()).await;
    assert_eq!((concluded.seen.outcome, concluded.seen.bytes_out), (Outcome::Succeeded, ByteSize(35)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_run_says_that_it_is_accepted() {
    let ground = Ground::start().await;
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let node = ground
        .node(move |request| {
            let wait = Arc::clone(&wait);
            Box::pin(async move {
                claim(&request, Outcome::Succeeded, None);
                wait.notified().await;
                Response::new(fabric::full("late"))
            })
        })
        .await;
    let mut attempt = ground.attempt();
    let to = ground.placing.reserve(node.id, Lane::Wasm, &Limits::default());
    // Only who has heard of the acceptance lets the node go on.
    let (heard, deadline) = (AtomicBool::new(false), Instant::now() + TIMEOUT);
    let accepted = || {
        heard.store(true, Ordering::Relaxed);
        go.notify_one();
    };
    let response = attempt.send(&ground.core, to, post(fabric::empty()), deadline, accepted).await.unwrap();
    assert!(heard.load(Ordering::Relaxed));
    let (attempt, read) = pour(response, attempt).await;
    assert_eq!(read.unwrap(), "late");
    let seen = conclude(attempt).await.seen;
    assert!(Duration::from_micros(seen.head_us) > Duration::from_millis(40), "a node says it after 50 ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_may_be_so_large() {
    let ground = Ground::start().await;
    let node = ground
        .node(|request| {
            Box::pin(async move {
                claim(&request, Outcome::Succeeded, None);
                Response::new(fabric::full(vec![7; 1000]))
            })
        })
        .await;
    for (size_max, fate) in [(1000, Fate::Answered), (999, Fate::Failed)] {
        let mut attempt = ground.attempt();
        let response = ground.send(&mut attempt, node.id).await.unwrap();
        let (attempt, read) = pour_up_to(response, attempt, ByteSize(size_max)).await;
        assert_eq!(read.is_ok(), fate == Fate::Answered);
        let concluded = conclude(attempt).await;
        assert_eq!(concluded.verdict.fate, fate);
        assert_eq!(concluded.seen.code.is_some(), fate == Fate::Failed);
    }
}
