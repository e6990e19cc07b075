//! Logs: kept once, bounded, read by run, followed by function within two seconds.

use std::time::Duration;

use futures::StreamExt as _;
use http::{Method, StatusCode};
use protocol::api::LogPage;
use protocol::node::{LogLine, LogStream, RunLog};
use protocol::{AccountId, Code, NodeId, RunId, Timestamp};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use super::harness::{Client, Ground, suite};
use super::settlement::Runs;
use crate::db::columns::Col;
use crate::db::entities::run_logs;

suite!(kept_once, followed, tails, a06_what_one_writes_does_not_push_out_anothers);

fn lines(run: RunId, texts: &[&str], at: Timestamp) -> Vec<LogLine> {
    let line = |(sequence, text): (u32, &&str)| LogLine {
        run,
        sequence,
        at,
        stream: LogStream::Stdout,
        text: (*text).to_owned(),
    };
    (0..).zip(texts).map(line).collect()
}

pub(super) async fn keep(ground: &Ground, node: NodeId, log: RunLog) -> StatusCode {
    let router = crate::api::nodes::log(ground.app.clone()).layer(axum::Extension(fabric::Peer::Node(node)));
    let body = serde_json::to_value([log]).unwrap();
    Client::new(router).send(Method::POST, "/logs", Some(body)).await.status
}

pub(super) fn log(ground: &Ground, runs: &Runs, texts: &[&str]) -> RunLog {
    let run = RunId::new();
    RunLog { run, ticket: runs.ticket(ground, run), lines: lines(run, texts, Timestamp::now()) }
}

async fn kept_once(ground: Ground) {
    let runs = Runs::start(&ground).await;
    let first = log(&ground, &runs, &["one", "tw\0o"]);
    let run = first.run;
    for _ in 0..2 {
        assert_eq!(keep(&ground, ground.node, first.clone()).await, StatusCode::NO_CONTENT);
    }
    // Another node cannot write to it.
    keep(&ground, NodeId::new(), RunLog { lines: lines(run, &["", "", "forged"], Timestamp::now()), ..first }).await;
    let read: LogPage = runs.client.get(&format!("/invocations/{run}/logs")).await.read();
    assert_eq!(read.items.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["one", "tw\u{fffd}o"]);
    let eve = ground.user("eve@example.org", "eve").await;
    assert_eq!(eve.get(&format!("/invocations/{run}/logs")).await.code(), Code::NotFound);

    let long = "x".repeat(100_000);
    let big = log(&ground, &runs, &[&long, &long, &long, &long]);
    let run = big.run;
    keep(&ground, ground.node, big).await;
    let read: LogPage = runs.client.get(&format!("/invocations/{run}/logs")).await.read();
    assert_eq!(read.items.len(), 2, "256 KiB are kept of a run");
}

async fn a06_what_one_writes_does_not_push_out_anothers(ground: Ground) {
    // No line has waited long enough to be packed.
    let ground = Ground::on(ground.app.config.database.clone(), |config| config.log_lines_max = 10).await;
    let runs = Runs::start(&ground).await;
    let first = log(&ground, &runs, &["1", "2", "3"]);
    let quiet = AccountId::new();
    let others = RunLog { ticket: runs.ticket_of(&ground, first.run, quiet), ..first.clone() };
    keep(&ground, ground.node, others).await;
    let many: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    let flood = log(&ground, &runs, &many.iter().map(String::as_str).collect::<Vec<_>>());
    keep(&ground, ground.node, flood.clone()).await;
    crate::logs::sweep(&ground.app, Timestamp::now()).await.unwrap();
    let read: LogPage = runs.client.get(&format!("/invocations/{}/logs", flood.run)).await.read();
    assert_eq!(read.items.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), many[23..]);
    assert!(read.since.unwrap() > flood.lines[0].at, "it says so");
    assert_eq!(rows_of(&ground, quiet).await, 3);
}

async fn rows_of(ground: &Ground, account: AccountId) -> usize {
    let rows = run_logs::Entity::find().filter(run_logs::Column::AccountId.eq(Col(account)));
    rows.all(ground.app.db.read()).await.unwrap().len()
}

async fn followed(ground: Ground) {
    let runs = Runs::start(&ground).await;
    keep(&ground, ground.node, log(&ground, &runs, &["before"])).await;
    let body = runs.client.stream("/api/v1/functions/hello/logs?since=1h&follow=true").await;
    let mut body = body.into_data_stream();
    let line = |piece: bytes::Bytes| serde_json::from_slice::<LogLine>(&piece).unwrap().text;
    assert_eq!(line(body.next().await.unwrap().unwrap()), "before");
    for text in ["after", "and after"] {
        keep(&ground, ground.node, log(&ground, &runs, &[text])).await;
        let piece = tokio::time::timeout(Duration::from_secs(10), body.next()).await.expect("it is followed");
        assert_eq!(line(piece.unwrap().unwrap()), text);
    }
}

async fn tails(ground: Ground) {
    let runs = Runs::start(&ground).await;
    let texts: Vec<String> = (0..250).map(|at| at.to_string()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    keep(&ground, ground.node, log(&ground, &runs, &texts)).await;
    let read = async |path: &str| {
        let answer = runs.client.get(path).await;
        assert_eq!(answer.header("content-type"), "application/x-ndjson");
        String::from_utf8(answer.body.to_vec()).unwrap().lines().count()
    };
    assert_eq!(read("/functions/hello/logs").await, 200, "the last ones");
    assert_eq!(read("/functions/hello/logs?since=5m").await, 250);
    let later = Timestamp(Timestamp::now().0 + 60_000);
    assert_eq!(read(&format!("/functions/hello/logs?since={later}")).await, 0);
    assert_eq!(runs.client.get("/functions/hello/logs?since=yesterday").await.code(), Code::InvalidRequest);
}
