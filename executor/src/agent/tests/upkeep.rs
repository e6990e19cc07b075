//! What a node does beside runs: hello, reports, the journal over restarts, draining.

use std::time::{Duration, Instant};

use fabric::{NodeEndpoint, subjects};
use futures::StreamExt as _;
use protocol::node::NodeReport;
use protocol::receipt::Outcome;
use protocol::{Code, Problem};

use super::ground::{Ground, limits, read};
use crate::Error;
use crate::testing::{http_guest, wat_guest};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_hello_is_repeated() {
    let ground = Ground::start().await;
    ground.core.lock().hellos_refused = 3;
    let agent = ground.agent(ground.config()).await;
    let hello = ground.core.lock().hello.clone().unwrap();
    assert_eq!((hello.name.as_str(), hello.slots), ("test node", 8));
    let keys = crate::NodeKeys::open(&ground.config().data).unwrap().public();
    assert_eq!((hello.public_key, hello.keys), (keys.receipt.to_string(), Some(keys)));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_told_to_end_cuts_its_runs_and_says_why() {
    let ground = Ground::start().await;
    let agent = ground.agent(ground.config()).await;
    let ticket = ground.deploy(http_guest());
    let reply = ground.run(&ticket, "/late-loop", "").await.unwrap();
    let why = Problem::new(Code::NodeLeft, "It is no node any more: it was revoked.");
    let begun = Instant::now();
    let request = http::Request::post("/end");
    let told = ground.call(NodeEndpoint::Control, &ticket, request, serde_json::to_vec(&why).unwrap()).await;
    assert_eq!(told.unwrap().response.status(), http::StatusCode::OK);
    tokio::time::timeout(Duration::from_secs(1), reply.end).await.expect("the run is cut");
    let ended = tokio::time::timeout(Duration::from_secs(5), agent.task).await.unwrap().unwrap();
    let Err(Error::Refused(problem)) = ended else { panic!("{ended:?}") };
    assert_eq!(*problem, why);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_tell_what_is_warm_running_and_draining() {
    let ground = Ground::start().await;
    let mut reports = ground.fabric.nats().subscribe(subjects::REPORTS).await.unwrap();
    let mut next = async || -> NodeReport {
        let message = tokio::time::timeout(Duration::from_secs(5), reports.next()).await.unwrap().unwrap();
        assert_eq!(subjects::node_of(&message.subject), Some(ground.node));
        serde_json::from_slice(&message.payload).unwrap()
    };
    let agent = ground.agent(ground.config()).await;
    let first = next().await;
    assert_eq!((first.running, first.warm.len(), first.draining), (0, 0, false));
    let ticket = ground.deploy(http_guest());
    let reply = ground.run(&ticket, "/late-loop", "").await.unwrap();
    let busy = loop {
        let report = next().await;
        if report.running == 1 && !report.warm.is_empty() {
            break report;
        }
    };
    assert_eq!((busy.warm, busy.memory_total.0 - busy.memory_free.0), (vec![ticket.artifact], 128 << 20));
    drop(reply);
    agent.shutdown.cancel();
    while !next().await.draining {}
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_leaves_out_what_it_lists_until_somebody_asks() {
    let ground = Ground::start().await;
    let mut reports = ground.fabric.nats().subscribe(subjects::REPORTS).await.unwrap();
    let mut next = async || -> NodeReport {
        let message = tokio::time::timeout(Duration::from_secs(5), reports.next()).await.unwrap().unwrap();
        serde_json::from_slice(&message.payload).unwrap()
    };
    let agent = ground.agent(ground.config()).await;
    let ticket = ground.deploy(http_guest());
    read(ground.run(&ticket, "/count", "").await.unwrap()).await;
    while next().await.warm != [ticket.artifact] {}
    let idle = loop {
        let report = next().await;
        if report.lists.is_some() {
            break report;
        }
    };
    assert!(idle.warm.is_empty() && idle.cached.is_empty(), "{idle:?}");
    // Why it has no VM lane is a text of the machine's.
    let rest = NodeReport { vm: None, ..idle.clone() };
    assert!(serde_json::to_vec(&rest).unwrap().len() < 1024, "{idle:?}");
    let asked = ground.call(NodeEndpoint::Control, &ticket, http::Request::post("/report"), "").await;
    assert_eq!(asked.unwrap().response.status(), http::StatusCode::OK);
    // Sooner than it would list all by itself.
    let whole = loop {
        let report = next().await;
        assert!(report.sequence < idle.sequence + 4, "{report:?}");
        if report.lists.is_none() {
            break report;
        }
    };
    assert_eq!(whole.warm, [ticket.artifact]);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_an_agent_that_vanished_are_sent_by_the_next() {
    let ground = Ground::start().await;
    let ticket = ground.deploy(wat_guest("cat"));
    let agent = ground.agent(ground.config()).await;
    for _ in 0..5 {
        read(ground.run(&ticket, "/", "x").await.unwrap()).await;
    }
    // Before the segment is sealed: the task vanishes with all that it had in memory.
    tokio::time::sleep(Duration::from_millis(100)).await;
    agent.task.abort();
    drop(agent.task.await);
    let agent = ground.agent(ground.config()).await;
    // The server may not have heard yet that the one that vanished no longer listens.
    let mut status = 0;
    for _ in 0..100 {
        if let Ok(reply) = ground.run(&ticket, "/", "x").await {
            status = reply.response.status().as_u16();
            if status == 200 {
                read(reply).await;
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(status, 200);
    let count = |core: &super::ground::Core| core.checkpoints.iter().map(|c| c.receipts.len()).sum::<usize>();
    ground.until("all receipts arrive", |core| count(core) >= 6).await;
    agent.stop().await;
    let mut runs: Vec<_> = ground.receipts().iter().map(|receipt| receipt.run).collect();
    runs.sort();
    runs.dedup();
    assert_eq!((runs.len(), ground.receipts().len()), (6, 6), "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_reach_a_platform_that_was_restored_from_a_backup() {
    let ground = Ground::start().await;
    let ticket = ground.deploy(wat_guest("cat"));
    let agent = ground.agent(ground.config()).await;
    for count in 1..=3 {
        read(ground.run(&ticket, "/", "x").await.unwrap()).await;
        ground.until("a checkpoint", |core| core.checkpoints.len() == count).await;
    }
    ground.core.lock().checkpoints.truncate(1);
    let (_, _, end) = read(ground.run(&ticket, "/", "x").await.unwrap()).await;
    ground.until("the next receipt", |core| core.checkpoints.len() == 2).await;
    {
        let core = ground.core.lock();
        let (first, second) = (&core.checkpoints[0], &core.checkpoints[1]);
        assert_eq!((second.sequence, second.previous), (first.sequence + 1, first.digest), "the chain goes on");
        assert_eq!(second.receipts[0].end.usage, end.usage);
    }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_node_finishes_what_runs() {
    let ground = Ground::start().await;
    let agent = ground.agent(ground.config()).await;
    let mut ticket = ground.deploy(http_guest());
    limits(&mut ticket, 64, 5000);
    read(ground.run(&ticket, "/count", "").await.unwrap()).await;
    let running = ground.run(&ticket, "/sleep?ms=700", "");
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        agent.stop().await;
    };
    let (reply, ()) = tokio::join!(async { read(running.await.unwrap()).await }, stopping);
    assert_eq!((reply.0, reply.1.as_str(), reply.2.outcome), (200, "slept", Outcome::Succeeded));
    assert_eq!(ground.receipts().len(), 2, "the last receipt has arrived before the end");
    assert!(ground.run(&ticket, "/count", "").await.is_err());
}
