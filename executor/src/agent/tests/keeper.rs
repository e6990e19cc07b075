//! What the owner keeps: told over the control socket or by signals, in force within a second.

use std::time::{Duration, Instant};

use fabric::{CallError, NodeEndpoint, subjects};
use futures::{SinkExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use lending::control::{Reply, Request, Status, socket};
use lending::{Source, Wish};
use protocol::node::{CapsWish, NodeReport, NodeStatus, NodeWish, PauseReason, RevisedWish, WishedPause};
use protocol::receipt::Outcome;
use protocol::ticket::Ticket;
use protocol::{ByteSize, Code, Timestamp, headers};
use rustix::process::{Signal, getpid, kill_process};
use tokio::net::UnixStream;
use tokio_util::codec::{Framed, LinesCodec};

use super::ground::{Ground, limits, read};
use crate::testing::{MachineLateness, http_guest};

/// What the node of this ground says to its owner.
async fn ask(ground: &Ground, request: Request) -> Reply {
    let path = socket(&ground.config().data);
    let stream = loop {
        match UnixStream::connect(&path).await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let mut lines = Framed::new(stream, LinesCodec::new());
    lines.send(serde_json::to_string(&request).unwrap()).await.unwrap();
    serde_json::from_str(&lines.next().await.unwrap().unwrap()).unwrap()
}

async fn status(ground: &Ground, request: Request) -> Status {
    match ask(ground, request).await {
        Reply::Status(status) => *status,
        Reply::Refused(why) => panic!("{why}"),
    }
}

/// Why a run is not taken; none where it ran.
async fn refused(ground: &Ground, ticket: &Ticket) -> Option<String> {
    match ground.run(ticket, "/count", "").await {
        Ok(reply) => {
            read(reply).await;
            None
        }
        Err(CallError::Busy(reason)) => Some(reason),
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_node_says_why_and_gives_back_what_runs() {
    let ground = Ground::start().await;
    let mut reports = ground.fabric.nats().subscribe(subjects::REPORTS).await.unwrap();
    let agent = ground.agent(ground.config()).await;
    let mut ticket = ground.deploy(http_guest());
    limits(&mut ticket, 64, 25_000);
    assert_eq!(refused(&ground, &ticket).await, None);

    let pausing = async {
        while status(&ground, Request::Status).await.runs.is_empty() {}
        let lateness = MachineLateness::measure();
        let paused = status(&ground, Request::Pause { lasts: None }).await;
        (paused, Instant::now(), lateness)
    };
    let running = async { read(ground.run(&ticket, "/sleep?ms=20000", "").await.unwrap()).await };
    let ((code, body, end), (paused, asked, lateness)) = tokio::join!(running, pausing);
    assert!(asked.elapsed() < Duration::from_secs(1) + lateness.worst());
    assert_eq!((code, end.outcome, end.code), (502, Outcome::PlatformFailed, Some(Code::NodePaused)), "{body}");
    assert!(body.contains("paused by its owner"), "{body}");
    let reason = paused.paused[0];
    assert_eq!((reason.paused.reason, reason.by), (PauseReason::ByOwner, Some(Source::Cli)));

    assert!(refused(&ground, &ticket).await.unwrap().contains("paused by its owner"));
    let told = async {
        loop {
            let message = reports.next().await.unwrap();
            let report: NodeReport = serde_json::from_slice(&message.payload).unwrap();
            if let Some(paused) = report.paused() {
                break paused.reason;
            }
        }
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), told).await.unwrap(), PauseReason::ByOwner);

    let resumed = status(&ground, Request::Resume).await;
    assert!(resumed.paused.is_empty() && resumed.runs.is_empty());
    assert_eq!((resumed.today.runs, resumed.today.given_back), (2, 1));
    assert_eq!(refused(&ground, &ticket).await, None);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_pause_and_resume_and_a_pause_outlives_a_restart() {
    let ground = Ground::start().await;
    let agent = ground.agent(ground.config()).await;
    let ticket = ground.deploy(http_guest());
    assert!(status(&ground, Request::Status).await.paused.is_empty());
    let until_paused = async |wanted: bool| {
        while status(&ground, Request::Status).await.paused.is_empty() == wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    kill_process(getpid(), Signal::USR1).unwrap();
    tokio::time::timeout(Duration::from_secs(5), until_paused(true)).await.unwrap();
    assert!(refused(&ground, &ticket).await.is_some());
    agent.stop().await;

    let agent = ground.agent(ground.config()).await;
    assert!(refused(&ground, &ticket).await.is_some(), "paused from its start on");
    until_paused(true).await;
    kill_process(getpid(), Signal::USR2).unwrap();
    tokio::time::timeout(Duration::from_secs(5), until_paused(false)).await.unwrap();
    assert_eq!(refused(&ground, &ticket).await, None);
    agent.stop().await;
}

/// So much memory, and all else as it was agreed.
fn memory(size: ByteSize) -> Wish {
    CapsWish { memory: Some(size), ..CapsWish::default() }.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn caps_are_lowered_and_never_raised_beyond_what_was_agreed() {
    let ground = Ground::start().await;
    let agent = ground.agent(ground.config()).await;
    let mut ticket = ground.deploy(http_guest());
    let wish = memory(ByteSize::mib(100));
    let lowered = status(&ground, Request::SetCaps { wish }).await;
    assert_eq!(lowered.caps.memory, ByteSize::mib(100));
    limits(&mut ticket, 128, 5000);
    assert!(refused(&ground, &ticket).await.unwrap().contains("memory"));
    let wish = memory(ByteSize::mib(2048));
    let Reply::Refused(why) = ask(&ground, Request::SetCaps { wish }).await else { panic!("it was raised") };
    assert!(why.starts_with("memory: 1GiB was agreed"), "{why}");
    let wish = memory(ByteSize::mib(1024));
    status(&ground, Request::SetCaps { wish }).await;
    assert_eq!(refused(&ground, &ticket).await, None);
    agent.stop().await;
}

/// What the node says to the platform.
async fn told(ground: &Ground, request: http::request::Builder, body: Vec<u8>) -> NodeStatus {
    let any = crate::tickets::tests::ticket(ground.node, protocol::ticket::Purpose::Run);
    let reply = ground.call(NodeEndpoint::Control, &any, request, body).await.unwrap();
    assert_eq!(reply.response.status(), http::StatusCode::OK);
    let body = reply.response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

async fn wish(ground: &Ground, wish: RevisedWish) -> NodeStatus {
    told(ground, http::Request::post("/wish"), serde_json::to_vec(&wish).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wanted_from_afar_is_in_force_at_once_and_after_a_restart() {
    let ground = Ground::start().await;
    let agent = ground.agent(ground.config()).await;
    let agreed = ground.core.lock().hello.as_ref().and_then(|hello| hello.agreed).unwrap();
    assert_eq!(agreed.memory, ByteSize::mib(1024));
    let mut ticket = ground.deploy(http_guest());
    limits(&mut ticket, 128, 5000);
    let caps = CapsWish { memory: Some(ByteSize::mib(100)), ..CapsWish::default() };
    let first = RevisedWish::default().followed_by(NodeWish { caps, pause: None }, Timestamp::now());
    assert_eq!(wish(&ground, first).await.caps.memory, ByteSize::mib(100));
    assert!(refused(&ground, &ticket).await.unwrap().contains("memory"));

    let paused = NodeWish { pause: Some(WishedPause::default()), ..NodeWish::default() };
    let second = first.followed_by(paused, Timestamp::now());
    let (asked, lateness) = (Instant::now(), MachineLateness::measure());
    let held = wish(&ground, second).await.paused;
    assert_eq!((held[0].reason, held[0].by), (PauseReason::ByOwner, Some(Source::Portal)));
    assert!(refused(&ground, &ticket).await.unwrap().contains("paused by its owner"));
    assert!(asked.elapsed() < Duration::from_secs(1) + lateness.worst());
    assert_eq!(wish(&ground, first).await.paused, held, "an earlier one comes late");
    agent.stop().await;

    let agent = ground.agent(ground.config()).await;
    assert!(refused(&ground, &ticket).await.is_some(), "paused from its start on");
    assert!(status(&ground, Request::Resume).await.paused.is_empty(), "the machine has the last word");
    assert_eq!(refused(&ground, &ticket).await, None);
    assert_eq!(told(&ground, http::Request::get("/status"), Vec::new()).await.caps, agreed);
    agent.stop().await;

    // What it did not hear it is told with its next hello; the pause that was ended here is part of it.
    ground.core.lock().wish = Some(second.followed_by(NodeWish { caps, ..second.wish }, Timestamp::now()));
    let agent = ground.agent(ground.config()).await;
    assert!(refused(&ground, &ticket).await.unwrap().contains("memory"));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_owner_s_session_raises_nothing() {
    let ground = Ground::start().await;
    let mut config = ground.config();
    config.no_egress = true;
    let agent = ground.agent(config).await;
    let agreed = told(&ground, http::Request::get("/status"), Vec::new()).await.caps;
    assert!(!agreed.egress);
    let lowered = memory(ByteSize::mib(512));
    status(&ground, Request::SetCaps { wish: lowered }).await;
    status(&ground, Request::Pause { lasts: None }).await;
    // A platform that checks nothing passes on what a thief asks for.
    let caps = CapsWish {
        cores: Some(u32::MAX),
        memory: Some(ByteSize::mib(1 << 20)),
        disk: Some(ByteSize::mib(1 << 20)),
        traffic: Some(ByteSize::mib(1 << 20)),
        egress: Some(true),
    };
    let stolen = RevisedWish::default().followed_by(NodeWish { caps, pause: None }, Timestamp::now());
    let heard = wish(&ground, stolen).await;
    let in_force = heard.caps;
    assert_eq!((in_force.cores, in_force.memory, in_force.disk), (agreed.cores, ByteSize::mib(512), agreed.disk));
    assert!(!in_force.egress && in_force.traffic >= agreed.traffic, "{in_force:?}");
    assert_eq!(heard.paused[0].by, Some(Source::Cli), "what was said on the machine stays");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_egress_is_lent_versions_with_egress_go_elsewhere() {
    let ground = Ground::start().await;
    let mut config = ground.config();
    config.no_egress = true;
    let agent = ground.agent(config).await;
    let ticket = ground.deploy(http_guest());
    let spec = ticket.version.to_string();
    ground.core.lock().specs.get_mut(&spec).unwrap().egress = vec!["example.com".to_owned()];
    let reply = ground.run(&ticket, "/count", "").await.unwrap();
    assert_eq!(reply.response.headers()[headers::NODE_PROBLEM], Code::Overloaded.as_str());
    let (_, body, end) = read(reply).await;
    assert!(end.code == Some(Code::Overloaded) && body.contains("no connections to other hosts"), "{body}");
    agent.stop().await;
}
