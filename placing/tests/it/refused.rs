//! Runs that no node has begun: another node may be asked, and nothing is lost.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fabric::{Permit, ServeOptions};
use http::Response;
use placing::{Fate, NotTaken};
use protocol::placement::Refusal;
use protocol::receipt::Outcome;
use protocol::{AccountId, Code, LaneChoice, NodeId};
use scheduler::RunRequest;
use tokio::sync::Notify;

use crate::harness::{Ground, conclude, echo, full, pour, problem, version};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fits_nowhere_is_explained() {
    let ground = Ground::start().await;
    let _node = ground.node(echo).await;
    let mut machine = version();
    machine.lane = LaneChoice::Vm;
    let placement = ground.placing.rank(&RunRequest::of(&machine, AccountId::new()), Instant::now());
    assert!(placement.ranked.is_empty() && !placement.only_full(), "{placement:?}");
    let mut attempt = ground.attempt();
    attempt.placed(placement.explain(Duration::from_millis(7)));
    attempt.refuse(Code::NoNode);
    let seen = conclude(attempt).await.seen;
    assert_eq!((seen.outcome, seen.code, seen.status), (Outcome::PlatformFailed, Some(Code::NoNode), 503));
    assert_eq!((seen.node, seen.end), (None, None));
    let why = seen.placement.unwrap();
    assert_eq!((why.refused[0].why, why.waited_ms), (Refusal::LaneMissing, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_node_gives_the_run_back() {
    let ground = Ground::start().await;
    let busy = ground.node_with(full("no slot"), echo).await;
    let shared = ground.node_with(full("share_exceeded: of slots"), echo).await;
    let free = ground.node(echo).await;
    let mut attempt = ground.attempt();
    let refused = ground.send(&mut attempt, busy.id).await.unwrap_err();
    assert_eq!((refused.fate, refused.code), (Fate::NotTaken(NotTaken::Busy), Some(Code::Overloaded)));
    let refused = ground.send(&mut attempt, shared.id).await.unwrap_err();
    assert_eq!((refused.fate, refused.detail.as_str()), (Fate::NotTaken(NotTaken::ShareExceeded), "of slots"));
    assert_eq!((ground.running(busy.id), ground.running(shared.id)), (0, 0), "no room is held there");
    assert!(!ground.suspects(busy.id) && !ground.suspects(shared.id), "they are well");
    assert!(attempt.has_last_word(), "there will be none");

    let response = ground.send(&mut attempt, free.id).await.unwrap();
    let (attempt, read) = pour(response, attempt).await;
    assert_eq!(read.unwrap(), "hello", "the next node has all of it");
    let seen = conclude(attempt).await.seen;
    assert_eq!((seen.outcome, seen.node), (Outcome::Succeeded, Some(free.id)));
    assert_eq!((busy.called(), shared.called(), free.called()), (0, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_gone_is_asked_last() {
    let ground = Ground::start().await;
    let gone = NodeId::new();
    ground.know(gone);
    let mut attempt = ground.attempt();
    let refused = ground.send(&mut attempt, gone).await.unwrap_err();
    assert_eq!(refused.fate, Fate::NotTaken(NotTaken::Absent));
    assert_eq!(ground.running(gone), 0);
    assert!(ground.suspects(gone));
    ground.know(gone);
    assert!(!ground.suspects(gone), "it has reported again");
}

/// What admission reserves; says when it is given back.
struct Given(Arc<Notify>);

impl Drop for Given {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_is_taken_back_before_it_begins() {
    let ground = Ground::start_with(|settings| settings.accept_within = Duration::from_millis(50)).await;
    let given_back = Arc::new(Notify::new());
    let given = Arc::clone(&given_back);
    let slow = ServeOptions {
        admit: Some(Arc::new(move |_, _| {
            // Timers of the same thread go on elsewhere.
            tokio::task::block_in_place(|| std::thread::sleep(Duration::from_millis(300)));
            Ok(Permit(Arc::new(Given(Arc::clone(&given)))))
        })),
        ..ServeOptions::default()
    };
    let node = ground.node_with(slow, echo).await;
    let mut attempt = ground.attempt();
    let refused = ground.send(&mut attempt, node.id).await.unwrap_err();
    assert_eq!(refused.fate, Fate::NotTaken(NotTaken::Absent), "it has confirmed that it never will: {refused:?}");
    assert_eq!(ground.running(node.id), 0);
    // It keeps its word.
    given_back.notified().await;
    assert_eq!(node.called(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_sent_back_may_go_elsewhere() {
    let ground = Ground::start().await;
    let node = ground.node(|_| Box::pin(async { problem(Code::Draining) })).await;
    let mut attempt = ground.attempt();
    let refused = ground.send(&mut attempt, node.id).await.unwrap_err();
    assert_eq!((refused.fate, refused.code), (Fate::NotTaken(NotTaken::Declined), Some(Code::Draining)));
    assert!(refused.surely_not_started() && !refused.suspect());
    assert_eq!((ground.running(node.id), attempt.so_far().node), (0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_ticket_nothing_is_sent() {
    let ground = Ground::start().await;
    let node = ground.node(|_| Box::pin(async { Response::new(fabric::empty()) })).await;
    ground.issuer.mute.store(true, Ordering::Relaxed);
    let mut attempt = ground.attempt();
    let refused = ground.send(&mut attempt, node.id).await.unwrap_err();
    assert_eq!(refused.fate, Fate::NotTaken(NotTaken::NoTicket));
    ground.issuer.mute.store(false, Ordering::Relaxed);
    assert!(ground.send(&mut attempt, node.id).await.is_ok());
    assert_eq!(node.called(), 1);
    // Its time is over before it is sent: the node hears nothing of it.
    let mut late = ground.attempt();
    let refused = ground.send_within(&mut late, node.id, Duration::ZERO).await.unwrap_err();
    assert_eq!((refused.fate, node.called()), (Fate::TimedOut, 1));
}
