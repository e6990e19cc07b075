//! What nodes say: problems instead of responses, and last words, in time and late.

use std::time::Duration;

use http::Response;
use placing::{Fate, Verdict};
use protocol::receipt::Outcome;
use protocol::{ByteSize, Code, headers};

use crate::harness::{CPU_US, Ground, claim, conclude, echo, exchange, last_word, pour, problem};

#[tokio::test(flavor = "multi_thread")]
async fn a_problem_of_the_node_is_the_function_s_or_the_platform_s() {
    let ground = Ground::start_with(|settings| settings.problem_max = ByteSize(1000)).await;
    let cases = [
        (Code::Trap, Fate::Failed, Outcome::Failed),
        (Code::TimedOut, Fate::TimedOut, Outcome::TimedOut),
        (Code::StorageUnavailable, Fate::Lost, Outcome::PlatformFailed),
    ];
    for (code, fate, outcome) in cases {
        let node = ground
            .node(move |request| {
                Box::pin(async move {
                    claim(&request, outcome, None);
                    problem(code)
                })
            })
            .await;
        let mut attempt = ground.attempt();
        let said = ground.send(&mut attempt, node.id).await.unwrap_err();
        assert_eq!((said.fate, said.code), (fate, Some(code)));
        assert_eq!((said.detail.as_str(), said.help.as_deref()), ("as the test wants it", Some("Ask the test.")));
        attempt.fail(said);
        let seen = conclude(attempt).await.seen;
        assert_eq!((seen.outcome, seen.code, seen.node), (outcome, Some(code), Some(node.id)));
        assert_eq!(seen.end.unwrap().usage.cpu_us, CPU_US, "its end comes after the document");
    }
    // One that cannot be read, is too large, or is about something else: its code counts.
    let large = format!("{{\"detail\":\"{}\"}}", "x".repeat(2000));
    let other = String::from_utf8(protocol::Problem::new(Code::NoNode, "another").to_json()).unwrap();
    for document in [String::new(), large, other] {
        let node = ground
            .node(move |_| {
                let document = document.clone();
                Box::pin(async move {
                    let response = Response::builder().header(headers::NODE_PROBLEM, Code::Trap.as_str());
                    response.body(fabric::full(document)).unwrap()
                })
            })
            .await;
        let said = ground.send(&mut ground.attempt(), node.id).await.unwrap_err();
        assert_eq!((said.code, said.detail.as_str()), (Some(Code::Trap), ""));
    }
    // A code of a later release.
    let node = ground
        .node(|_| {
            Box::pin(async {
                let response = Response::builder().header(headers::NODE_PROBLEM, "struck_by_lightning");
                response.body(fabric::empty()).unwrap()
            })
        })
        .await;
    let said = ground.send(&mut ground.attempt(), node.id).await.unwrap_err();
    assert_eq!((said.fate, said.code), (Fate::Lost, Some(Code::NodeFailed)));
}

/// A response that is whole, and a last word so much later.
async fn late(ground: &Ground, by: Duration) -> crate::harness::Node {
    ground
        .node(move |request| {
            Box::pin(async move {
                let end = exchange(&request).claim_end().unwrap();
                tokio::spawn(async move {
                    tokio::time::sleep(by).await;
                    end.send(last_word(Outcome::Failed, Some(Code::Trap)));
                });
                Response::new(fabric::full("whole"))
            })
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_word_may_come_later_and_says_why() {
    let ground = Ground::start().await;
    let node = late(&ground, Duration::from_millis(200)).await;
    let mut attempt = ground.attempt();
    let response = ground.send(&mut attempt, node.id).await.unwrap();
    let (mut attempt, read) = pour(response, attempt).await;
    assert_eq!(read.unwrap(), "whole");
    let (_, whole) = attempt.leave();
    assert!(!attempt.has_last_word());
    let concluded = conclude(attempt).await;
    assert_eq!((concluded.verdict.fate, concluded.seen.code), (Fate::Failed, Some(Code::Trap)));
    assert_eq!(concluded.verdict.detail, "as the test wants it");
    assert_eq!(u128::from(concluded.seen.wall_us), whole.as_micros(), "the wait for it is nobody's time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_word_that_does_not_come_is_not_waited_for_for_ever() {
    let ground = Ground::start_with(|settings| settings.last_word_within = Duration::from_millis(100)).await;
    let node = late(&ground, Duration::from_millis(1500)).await;
    let mut attempt = ground.attempt();
    let response = ground.send(&mut attempt, node.id).await.unwrap();
    let (attempt, _) = pour(response, attempt).await;
    let concluded = conclude(attempt).await;
    assert_eq!((concluded.verdict.fate, concluded.seen.end), (Fate::Answered, None));
    assert_eq!(ground.running(node.id), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_cause_counts_and_a_whole_response_is_none() {
    let ground = Ground::start().await;
    let node = ground.node(echo).await;
    let mut attempt = ground.attempt();
    let response = ground.send(&mut attempt, node.id).await.unwrap();
    let (mut attempt, read) = pour(response, attempt).await;
    assert_eq!(read.unwrap(), "hello");
    // Its owner cannot keep what it got.
    attempt.fail(Verdict::lost(Code::StorageUnavailable, "the disk is full"));
    attempt.fail(Verdict::CANCELLED);
    attempt.completed();
    let concluded = conclude(attempt).await;
    assert_eq!((concluded.verdict.fate, concluded.seen.code), (Fate::Lost, Some(Code::StorageUnavailable)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_nobody_concludes_gives_its_room_back() {
    let ground = Ground::start().await;
    let node = ground.node(echo).await;
    let mut attempt = ground.attempt();
    let _response = ground.send(&mut attempt, node.id).await.unwrap();
    assert_eq!(ground.running(node.id), 1);
    drop(attempt);
    assert_eq!(ground.running(node.id), 0);
}
