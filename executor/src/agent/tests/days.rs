//! The keys of tickets and the platform's clock, over days.

use std::time::Duration;

use fabric::CallError;
use http_body_util::BodyExt as _;
use protocol::Timestamp;
use protocol::receipt::Outcome;
use protocol::ticket::Ticket;

use super::ground::{Ground, limits, read, root};
use crate::testing::http_guest;

const DAY_MS: i64 = 86_400_000;

/// As it is issued so much later.
fn later(ticket: &Ticket, ms: i64) -> Ticket {
    let at = |time: Timestamp| Timestamp(time.0 + ms);
    Ticket { issued: at(ticket.issued), expires: at(ticket.expires), ..ticket.clone() }
}

/// Why a run of this ticket is refused.
async fn refusal(ground: &Ground, ticket: &Ticket) -> String {
    match ground.run(ticket, "/count", "").await {
        Err(CallError::Busy(reason)) => reason,
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it ran"),
    }
}

/// Runs it as soon as the node has heard what time it is: a ticket that it cannot take makes it ask.
async fn runs_soon(ground: &Ground, ticket: &Ticket) {
    for _ in 0..200 {
        match ground.run(ticket, "/count", "").await {
            Ok(reply) => return assert_eq!(read(reply).await.0, 200),
            Err(CallError::Busy(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("not within 10 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_ends_in_the_middle_of_a_run() {
    let ground = Ground::start().await;
    let agent = ground.agent(ground.config()).await;
    let mut ticket = ground.deploy(http_guest());
    limits(&mut ticket, 64, 20_000);
    let mut reply = ground.run(&ticket, "/forever", "").await.unwrap();
    reply.response.body_mut().frame().await.unwrap().unwrap();

    ground.core.lock().ahead_ms = 3 * DAY_MS;
    runs_soon(&ground, &later(&ticket, 3 * DAY_MS)).await;
    let reason = refusal(&ground, &ticket).await;
    assert!(reason.contains("a day that is not valid here"), "{reason}");

    // What began goes on, and its receipt comes with the ticket of its own day.
    reply.response.body_mut().frame().await.unwrap().unwrap();
    drop(reply.response);
    reply.end.await;
    ground
        .until("both receipts arrive", |core| core.checkpoints.iter().map(|c| c.receipts.len()).sum::<usize>() == 2)
        .await;
    let mut receipts = ground.receipts();
    receipts.retain(|receipt| receipt.end.outcome == Outcome::Cancelled);
    let cut = root().check(&receipts[0].ticket).unwrap();
    assert_eq!((receipts.len(), cut.issued), (1, ticket.issued));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nodes_own_clock_does_not_matter() {
    let ground = Ground::start().await;
    // The machine's clock is a day slow.
    ground.core.lock().ahead_ms = DAY_MS;
    let agent = ground.agent(ground.config()).await;
    let ticket = ground.deploy(http_guest());
    let reply = ground.run(&later(&ticket, DAY_MS), "/count", "").await.unwrap();
    assert_eq!(read(reply).await.0, 200);
    let reason = refusal(&ground, &ticket).await;
    assert!(reason.contains("expired") || reason.contains("a day that is not valid here"), "{reason}");
    // It is set back by an hour while the node runs.
    ground.core.lock().ahead_ms = DAY_MS + 3_600_000;
    runs_soon(&ground, &later(&ticket, DAY_MS + 3_600_000)).await;
    agent.stop().await;
}
