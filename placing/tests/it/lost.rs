//! Runs that were begun and not done: lost, too slow, or wanted no more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric::BodyError;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use placing::{Fate, ResponseBody};
use protocol::receipt::Outcome;
use protocol::{ByteSize, Code, Lane, Limits};
use tokio::sync::Notify;

use crate::harness::{CPU_US, Ground, TIMEOUT, claim, conclude, echo, exchange, last_word, post, pour};

/// Goes on until it is cancelled, and then says its last word.
fn endless(request: http::Request<fabric::Body>) -> futures::future::BoxFuture<'static, Response<fabric::Body>> {
    Box::pin(async move {
        let exchange = exchange(&request);
        let end = exchange.claim_end().unwrap();
        exchange.cancelled.cancelled().await;
        end.send(last_word(Outcome::Cancelled, None));
        Response::new(fabric::empty())
    })
}

/// It takes as long as a lost peer is missed: some 4 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_dies_after_it_has_begun() {
    let ground = Ground::start().await;
    let node = ground.node(endless).await;
    let mut attempt = ground.attempt();
    let to = ground.placing.reserve(node.id, Lane::Wasm, &Limits::default());
    let (begun, deadline) = (Notify::new(), Instant::now() + TIMEOUT);
    let send = attempt.send(&ground.core, to, post(fabric::empty()), deadline, || begun.notify_one());
    let dies = async {
        begun.notified().await;
        // As by SIGKILL: no unmount, no last word.
        node.fabric.close().await;
    };
    let (sent, ()) = tokio::join!(send, dies);
    let lost = sent.unwrap_err();
    assert_eq!((lost.fate, lost.code), (Fate::Lost, Some(Code::NodeLost)));
    assert!(!lost.surely_not_started());
    assert!(ground.suspects(node.id));
    attempt.fail(lost);
    let seen = conclude(attempt).await.seen;
    assert_eq!((seen.outcome, seen.node, seen.end), (Outcome::PlatformFailed, Some(node.id), None));
    assert_eq!(ground.running(node.id), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_that_stands_still_may_have_begun() {
    let ground = Ground::start_with(|settings| settings.accept_within = Duration::from_millis(50)).await;
    let node = ground.node(echo).await;
    node.stalls();
    let mut attempt = ground.attempt();
    let lost = ground.send(&mut attempt, node.id).await.unwrap_err();
    assert_eq!((lost.fate, lost.code), (Fate::Lost, Some(Code::NodeLost)), "{lost:?}");
    assert!(ground.suspects(node.id));
    assert_eq!((ground.running(node.id), attempt.so_far().node), (1, Some(node.id)), "it may have it");
    // Its owner may do it elsewhere all the same; then this node is not waited for.
    attempt.next_node();
    assert_eq!((ground.running(node.id), attempt.so_far().node), (0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_passes_and_the_node_says_what_it_used() {
    let ground = Ground::start().await;
    let node = ground.node(endless).await;
    let mut attempt = ground.attempt();
    let begun = Instant::now();
    let late = ground.send_within(&mut attempt, node.id, Duration::from_millis(300)).await.unwrap_err();
    assert_eq!((late.fate, late.code), (Fate::TimedOut, Some(Code::TimedOut)));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(300) && took < TIMEOUT, "{took:?}");
    assert!(!late.suspect(), "the function is slow, not the node");
    attempt.fail(late);
    let seen = conclude(attempt).await.seen;
    assert_eq!((seen.outcome, seen.node), (Outcome::TimedOut, Some(node.id)));
    assert_eq!(seen.end.unwrap().usage.cpu_us, CPU_US);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_cancels_before_the_head_and_after_it() {
    let ground = Ground::start().await;
    let node = ground.node(endless).await;
    let mut attempt = ground.attempt();
    let to = ground.placing.reserve(node.id, Lane::Wasm, &Limits::default());
    let (begun, deadline) = (Notify::new(), Instant::now() + TIMEOUT);
    tokio::select! {
        sent = attempt.send(&ground.core, to, post(fabric::empty()), deadline, || begun.notify_one()) => {
            panic!("{sent:?}");
        }
        () = begun.notified() => {}
    }
    let concluded = conclude(attempt).await;
    assert_eq!((concluded.verdict.fate, concluded.seen.outcome), (Fate::Cancelled, Outcome::Cancelled));
    assert_eq!(concluded.seen.end.unwrap().usage.cpu_us, CPU_US, "the node was told, and has answered");
    assert_eq!(ground.running(node.id), 3, "as the node has said");

    // In the middle of a response.
    let stopped = Arc::new(Notify::new());
    let told = Arc::clone(&stopped);
    let node = ground
        .node(move |request| {
            let (told, exchange) = (Arc::clone(&told), exchange(&request));
            Box::pin(async move {
                tokio::spawn(async move {
                    exchange.cancelled.cancelled().await;
                    told.notify_one();
                });
                let first = futures::stream::iter([Ok::<_, BodyError>(Frame::data(Bytes::from_static(b"first")))]);
                let rest = futures::stream::pending();
                Response::new(StreamBody::new(futures::StreamExt::chain(first, rest)).boxed_unsync())
            })
        })
        .await;
    let mut attempt = ground.attempt();
    let response = ground.send(&mut attempt, node.id).await.unwrap();
    let mut body = ResponseBody::new(response.into_body(), VecDeque::new(), ByteSize::mib(1), attempt);
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
    let attempt = body.into_holder();
    stopped.notified().await;
    let seen = conclude(attempt).await.seen;
    assert_eq!((seen.outcome, seen.bytes_out, seen.status), (Outcome::Cancelled, ByteSize(5), 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_breaks_off() {
    let ground = Ground::start().await;
    let node = ground.node(breaking(None)).await;
    let mut attempt = ground.attempt();
    let response = ground.send(&mut attempt, node.id).await.unwrap();
    let (attempt, read) = pour(response, attempt).await;
    assert!(read.is_err());
    let concluded = conclude(attempt).await;
    assert_eq!((concluded.verdict.fate, concluded.seen.code), (Fate::Lost, Some(Code::NodeFailed)));
    assert_eq!((concluded.seen.bytes_out, concluded.seen.end), (ByteSize(5), None));
    assert!(ground.suspects(node.id), "nobody says that it is the function's fault");

    // The node says why: it is the function's own.
    let node = ground.node(breaking(Some(Code::Trap))).await;
    let mut attempt = ground.attempt();
    let response = ground.send(&mut attempt, node.id).await.unwrap();
    let (attempt, read) = pour(response, attempt).await;
    assert!(read.is_err());
    let concluded = conclude(attempt).await;
    assert_eq!((concluded.verdict.fate, concluded.seen.outcome), (Fate::Failed, Outcome::Failed));
    assert_eq!((concluded.seen.code, concluded.verdict.detail.as_str()), (Some(Code::Trap), "as the test wants it"));
    assert!(!ground.suspects(node.id));
}

type Answer = futures::future::BoxFuture<'static, Response<fabric::Body>>;

/// Answers with five bytes of a body that then fails.
fn breaking(code: Option<Code>) -> impl Fn(http::Request<fabric::Body>) -> Answer + Clone + Send + Sync + 'static {
    move |request| {
        Box::pin(async move {
            if code.is_some() {
                claim(&request, Outcome::Failed, code);
            }
            let pieces = futures::stream::unfold(0, |place| async move {
                let piece = match place {
                    0 => Ok(Frame::data(Bytes::from_static(b"first"))),
                    1 => {
                        // So that the head is out before it breaks.
                        tokio::time::sleep(Duration::from_millis(30)).await;
                        Err(BodyError::Source("the instance is gone".into()))
                    }
                    _ => return None,
                };
                Some((piece, place + 1))
            });
            Response::new(StreamBody::new(Box::pin(pieces)).boxed_unsync())
        })
    }
}
