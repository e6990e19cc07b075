//! Runs and preparations over the fabric.

use std::time::{Duration, Instant};

use fabric::{CallError, EndKind, NodeEndpoint, Peer, subjects};
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use protocol::node::{NodeReport, Prepared};
use protocol::placement::Warmth;
use protocol::receipt::Outcome;
use protocol::ticket::{Purpose, Ticket};
use protocol::{Code, Kind, NodeId, Problem, Timestamp, headers};

use super::ground::{Ground, limits, read};
use crate::testing::{MachineLateness, http_guest, wat_guest};

async fn prepare(ground: &Ground, of: &Ticket) -> (u16, Vec<u8>) {
    let ticket = Ticket { purpose: Purpose::Prepare, ..of.clone() };
    let request = http::Request::post("/prepare");
    let reply = ground.call(NodeEndpoint::Control, &ticket, request, "").await.unwrap();
    let status = reply.response.status().as_u16();
    (status, reply.response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_prepared_run_and_accounted_for() {
    let ground = Ground::start().await;
    let agent = ground.agent(ground.config()).await;
    let ticket = ground.deploy(http_guest());

    let (status, body) = prepare(&ground, &ticket).await;
    let prepared: Prepared = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, prepared.kind), (200, Kind::Http));
    assert_eq!(prepared.format, "component (wasi:http@0.2)");

    let reply = ground.run(&ticket, "/echo", "round and round").await.unwrap();
    assert_eq!(reply.response.headers().get(headers::NODE_PROBLEM), None);
    let (status, body, end) = read(reply).await;
    assert_eq!((status, body.as_str()), (200, "round and round"));
    assert_eq!((end.outcome, end.code, end.warm), (Outcome::Succeeded, None, true));
    assert_eq!((end.usage.bytes_in.0, end.usage.bytes_out.0), (15, 15));
    assert!(end.usage.cpu_us > 0 && end.usage.memory_peak.0 > 0 && end.usage.wall_us >= end.usage.cpu_us);

    let (_, colour, _) = read(ground.run(&ticket, "/env?COLOUR", "").await.unwrap()).await;
    assert_eq!(colour, "green");
    read(ground.run(&ticket, "/print?lines=2", "").await.unwrap()).await;
    ground.until("the log arrives", |core| core.lines.len() == 3).await;
    ground.until("receipts arrive", |core| core.checkpoints.iter().map(|c| c.receipts.len()).sum::<usize>() == 3).await;
    assert_eq!(ground.receipts()[0].end, end);
    assert_eq!(ground.core.lock().fetches.len(), 2, "one spec and one artifact for all");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_may_come_before_its_artifact_and_many_at_once_fetch_it_once() {
    let ground = Ground::start().await;
    let agent = ground.agent(ground.config()).await;
    let ticket = ground.deploy(wat_guest("cat"));
    let runs = (0..6).map(|round| {
        let (ground, ticket) = (&ground, &ticket);
        async move { read(ground.run(ticket, "/", format!("round {round}")).await.unwrap()).await }
    });
    for (round, (status, body, end)) in futures::future::join_all(runs).await.into_iter().enumerate() {
        assert_eq!((status, body), (200, format!("round {round}")));
        assert_eq!(end.warmth(), Warmth::Cold);
    }
    assert_eq!(ground.core.lock().fetches.len(), 2);
    agent.stop().await;

    // The next start finds the code on disk, and says so before anybody asks.
    let mut reports = ground.fabric.nats().subscribe(subjects::REPORTS).await.unwrap();
    // The first report alone lists it: the server must know by then who listens.
    ground.fabric.nats().flush().await.unwrap();
    let agent = ground.agent(ground.config()).await;
    let report: NodeReport = serde_json::from_slice(&reports.next().await.unwrap().payload).unwrap();
    assert_eq!((report.warm, report.cached), (vec![], vec![ticket.artifact]));
    let mut found = Vec::new();
    for _ in 0..2 {
        let (.., end) = read(ground.run(&ticket, "/", "again").await.unwrap()).await;
        found.push(end.warmth());
    }
    assert_eq!(found, [Warmth::Cached, Warmth::Warm]);
    let fetches = ground.core.lock().fetches.clone();
    assert_eq!(fetches.iter().filter(|path| path.starts_with("/artifacts/")).count(), 1, "{fetches:?}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_artifacts_are_named() {
    let ground = Ground::start().await;
    let mut config = ground.config();
    config.artifact_max = protocol::ByteSize::kib(1);
    let agent = ground.agent(config).await;
    let wat = |text: &str| wat::parse_str(text).unwrap();
    let cases = [
        (b"not wasm".to_vec(), Code::NotWasm),
        (b"\0asm\x01\0\0\0\xff".to_vec(), Code::InvalidWasm),
        (wat("(module)"), Code::NoEntryPoint),
        (wat("(module (func (export \"_start\") (param i32)))"), Code::NoEntryPoint),
        (wat("(component (instance $i) (export \"wasi:cli/run@0.2.0\" (instance $i)))"), Code::NoEntryPoint),
        (wat("(component (instance $i) (export \"a:b/c\" (instance $i)))"), Code::WrongWorld),
        (wat("(module (import \"env\" \"abort\" (func)) (func (export \"_start\")))"), Code::UnknownImport),
        (vec![0; 2000], Code::ArtifactTooLarge),
    ];
    for (wasm, code) in cases {
        let ticket = ground.deploy(wasm);
        let (status, body) = prepare(&ground, &ticket).await;
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!((problem.code, status), (code, code.status()));
    }
    ground.core.lock().damaged = true;
    let ticket = ground.deploy(wat_guest("cat"));
    let (_, body) = prepare(&ground, &ticket).await;
    let problem: Problem = serde_json::from_slice(&body).unwrap();
    assert!(problem.code == Code::NodeFailed && problem.detail.contains("damaged"), "{problem:?}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_ticket_nothing_runs() {
    let ground = Ground::start().await;
    let agent = ground.agent(ground.config()).await;
    let good = ground.deploy(wat_guest("cat"));
    let refused =
        async |ticket: &Ticket| match ground.call(NodeEndpoint::Run, ticket, http::Request::get("/"), "").await {
            Err(CallError::Busy(reason)) => reason,
            Err(error) => panic!("{error:?}"),
            Ok(_) => panic!("it ran"),
        };
    assert!(refused(&Ticket { node: NodeId::new(), ..good.clone() }).await.contains("another node"));
    assert!(refused(&Ticket { purpose: Purpose::Prepare, ..good.clone() }).await.contains("something else"));
    let (issued, expires) = (Timestamp(good.issued.0 - 2000), Timestamp(good.issued.0 - 1000));
    assert!(refused(&Ticket { issued, expires, ..good.clone() }).await.contains("expired"));
    read(ground.call(NodeEndpoint::Run, &good, http::Request::get("/"), "").await.unwrap()).await;
    assert!(refused(&good).await.contains("used before"));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_and_memory_are_bounds() {
    let ground = Ground::start().await;
    let agent = ground.agent(ground.config()).await;
    let mut ticket = ground.deploy(http_guest());
    read(ground.run(&ticket, "/count", "").await.unwrap()).await;

    limits(&mut ticket, 600, 5000);
    let first = ground.run(&ticket, "/late-loop", "").await.unwrap();
    let Err(CallError::Busy(reason)) = ground.run(&ticket, "/count", "").await else { panic!("it fits") };
    assert!(reason.contains("memory"), "{reason}");
    drop(first);
    limits(&mut ticket, 10, 5000);
    let mut held = Vec::new();
    let reason = loop {
        match ground.run(&ticket, "/late-loop", "").await {
            Ok(reply) => held.push(reply),
            Err(CallError::Busy(reason)) => break reason,
            Err(error) => panic!("{error:?}"),
        }
        assert!(held.len() <= 8);
    };
    assert!(reason.contains("slot"), "{reason}");
    drop(held);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_have_their_code_and_header() {
    let ground = Ground::start().await;
    let agent = ground.agent(ground.config()).await;
    let mut ticket = ground.deploy(http_guest());
    limits(&mut ticket, 64, 800);
    let cases = [
        ("/trap", Code::Trap, Outcome::Failed),
        ("/nothing", Code::NoResponse, Outcome::Failed),
        ("/eat", Code::OutOfMemory, Outcome::Failed),
        ("/recurse", Code::StackOverflow, Outcome::Failed),
        ("/loop", Code::TimedOut, Outcome::TimedOut),
    ];
    read(ground.run(&ticket, "/count", "").await.unwrap()).await;
    for (path, code, outcome) in cases {
        let (start, lateness) = (Instant::now(), MachineLateness::measure());
        let reply = ground.run(&ticket, path, "").await.unwrap();
        let after = start.elapsed();
        assert_eq!(reply.response.headers()[headers::NODE_PROBLEM], code.as_str());
        let (status, body, end) = read(reply).await;
        let problem: Problem = serde_json::from_str(&body).unwrap();
        assert_eq!((status, problem.code), (code.status(), code));
        assert_eq!((end.outcome, end.code), (outcome, Some(code)));
        if code == Code::TimedOut {
            let allowed = Duration::from_millis(900) + lateness.worst();
            assert!(after >= Duration::from_millis(800) && after < allowed, "{after:?}, {allowed:?} is allowed");
        }
    }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_is_stopped_and_still_accounted_for() {
    let ground = Ground::start().await;
    let agent = ground.agent(ground.config()).await;
    let ticket = ground.deploy(http_guest());
    let mut reply = ground.run(&ticket, "/forever", "").await.unwrap();
    assert!(matches!(reply.peer, Peer::Node(node) if node == ground.node));
    reply.response.body_mut().frame().await.unwrap().unwrap();
    drop(reply.response);
    let end = reply.end.await;
    assert_eq!(end.how, EndKind::Cancelled);
    let end: protocol::receipt::RunEnd = serde_json::from_slice(&end.payload.unwrap()).unwrap();
    assert_eq!(end.outcome, Outcome::Cancelled);
    ground.until("the receipt arrives", |core| core.checkpoints.len() == 1).await;
    agent.stop().await;
}
