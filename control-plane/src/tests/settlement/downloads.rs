//! Receipts as they are downloaded: blocks in a chain whose lines are the usage of their time.

use std::time::Duration;

use books::download::{Event, Period, Reader, Report};
use http::StatusCode;
use protocol::api::{Key, UsageReport};
use protocol::receipt::Observation;
use protocol::{Code, Field, Millis, Problem, Timestamp, headers};
use serde_json::json;

use super::super::harness::{Answer, Client, Ground, suite};
use super::blocks::{rows_of_blocks, segment, small};
use super::{Runs, Signer, later, observe};
use crate::Config;
use crate::settlement::{prune, sweep_once};

suite!(
    what_is_downloaded_is_the_usage,
    a_correction_counts_instead,
    bodies_that_are_gone_or_damaged,
    who_may_download,
    packing_for_downloads_has_a_pace,
    a06_downloads_have_a_share_of_their_own,
    a04_a_download_ends_with_its_caller,
);

async fn downloaded(client: &Client, query: &str) -> Answer {
    let answer = client.get(&format!("/receipts?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    answer
}

/// Read as the command line does.
fn read(answer: &Answer, period: Period) -> Report {
    let mut reader = Reader::new(period);
    for line in answer.body.split_inclusive(|byte| *byte == b'\n') {
        let whole = line.strip_suffix(b"\n");
        reader.line(whole.unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(line))));
    }
    let report = reader.end();
    let numbers = report.numbers.map_or_else(|| "none".to_owned(), |(first, last)| format!("{first}-{last}"));
    assert_eq!(answer.header(headers::BLOCKS), numbers);
    report
}

fn all() -> Period {
    Period::default()
}

/// Calls that were received so many seconds ago, settled.
async fn calls(ground: &Ground, runs: &Runs, node: &mut Signer, ages: &[i64]) -> Vec<Observation> {
    let mut all = Vec::new();
    for age in ages {
        let (receipt, mut seen) = runs.halves(ground, 3_000, 5_000);
        seen.received = later(-age);
        node.submit(vec![receipt]).await;
        all.push(seen);
    }
    observe(ground, &all).await;
    all
}

async fn what_is_downloaded_is_the_usage(ground: Ground) {
    let ground = small(&ground, 3).await;
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let none = read(&downloaded(&runs.client, "").await, all());
    assert_eq!((none.blocks, none.numbers, none.is_whole()), (0, None, true), "nothing has run yet");
    // Two hours, one hour and some minutes ago; the last ones are not packed yet.
    for age in [7_200, 3_600, 600] {
        calls(&ground, &runs, &mut node, &[age, age - 60, age - 120]).await;
        sweep_once(&ground.app, Timestamp::now(), age > 600).await.unwrap();
    }
    assert_eq!(rows_of_blocks(&ground).await.len(), 2);
    let minute = |age: i64| Timestamp((Timestamp::now().0 / 60_000 - age / 60) * 60_000);
    for (from, to, blocks) in [
        (None, None, 3),
        (Some(minute(7_140)), Some(minute(3_540)), 2),
        (Some(minute(3_600)), None, 2),
        (None, Some(minute(7_000)), 1),
        (Some(minute(120)), None, 0),
    ] {
        let fields = [("from", from), ("to", to)];
        let fields = fields.iter().filter_map(|(name, at)| Some(format!("{name}={}", (*at)?)));
        let query = fields.collect::<Vec<_>>().join("&");
        let report = read(&downloaded(&runs.client, &query).await, Period { from, to });
        assert!(report.is_whole() && report.blocks == blocks, "{query}: {report:?}");
        let usage: UsageReport = runs.client.get(&format!("/usage?{query}")).await.read();
        let (totals, usage) = (report.totals, usage.total);
        assert_eq!(
            (totals.runs, totals.succeeded, totals.flagged),
            (usage.runs, usage.succeeded, usage.flagged),
            "{query}"
        );
        assert_eq!((totals.wall_us, totals.cpu_us), (usage.wall_us, usage.cpu_us), "{query}");
        assert_eq!((totals.bytes_in, totals.bytes_out), (usage.bytes_in.0, usage.bytes_out.0), "{query}");
        assert_eq!(totals.memory_kib_ms, usage.memory_kib_ms, "{query}");
    }
    assert_eq!(rows_of_blocks(&ground).await.len(), 3, "what was not packed was packed for it, once");
    // What lies between belongs to the chain.
    let long = calls(&ground, &runs, &mut node, &[7_200]).await;
    let (from, to) = (Timestamp(long[0].received.0 - 30_000), Timestamp(long[0].received.0 + 30_000));
    let report = read(
        &downloaded(&runs.client, &format!("from={from}&to={to}")).await,
        Period { from: Some(from), to: Some(to) },
    );
    assert!(report.is_whole() && report.numbers == Some((1, 4)) && report.totals.runs == 2, "{report:?}");
    for (query, field) in
        [("from=yesterday", "from"), ("to=1", "to"), ("from=2027-01-02&to=2027-01-01", "from"), ("limit=3", "limit")]
    {
        let answer = runs.client.get(&format!("/receipts?{query}")).await;
        assert_eq!(answer.code(), Code::InvalidRequest, "{query}");
        assert_eq!(answer.read::<Problem>().field.as_ref().map(Field::as_str), Some(field), "{query}");
    }
}

async fn a_correction_counts_instead(ground: Ground) {
    let ground = small(&ground, 10).await;
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let (receipt, mut seen) = runs.halves(&ground, 5_000, 3_000);
    node.submit(vec![receipt]).await;
    sweep_once(&ground.app, later(61), true).await.unwrap();
    let first = read(&downloaded(&runs.client, "").await, all());
    assert_eq!((first.totals.runs, first.totals.wall_us, first.corrected), (1, 5_000, 0));
    // As its gateway says, it began earlier.
    seen.received = later(-600);
    observe(&ground, std::slice::from_ref(&seen)).await;
    let second = read(&downloaded(&runs.client, "").await, all());
    assert!(second.is_whole() && second.blocks == 2, "{second:?}");
    assert_eq!((second.totals.runs, second.totals.wall_us, second.corrected), (1, 3_000, 1));
    assert_eq!(runs.usage().await.wall_us, 3_000);
    // In the time where it was counted first there is none any more: the correction is needed to know.
    let from = later(-300);
    let report = read(&downloaded(&runs.client, &format!("from={from}")).await, Period { from: Some(from), to: None });
    assert_eq!((report.blocks, report.totals.runs, report.is_whole()), (2, 0, true), "{report:?}");
}

async fn bodies_that_are_gone_or_damaged(ground: Ground) {
    let ground = small(&ground, 2).await;
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    calls(&ground, &runs, &mut node, &[9, 8, 7, 6, 5, 4, 3, 2]).await;
    sweep_once(&ground.app, Timestamp::now(), true).await.unwrap();
    let config = Config { runs_max: 7, ..ground.app.config.clone() };
    prune(&ground.app.db, &config, later(100)).await.unwrap();
    let blocks = rows_of_blocks(&ground).await;
    assert_eq!(blocks.iter().map(|block| block.blob.is_some()).collect::<Vec<_>>(), [false, true, true, true]);
    let report = read(&downloaded(&runs.client, "").await, all());
    assert_eq!((report.blocks, report.gone, report.totals.runs), (4, 1, 6));
    assert_eq!(report.faults, []);
    // One that is missing, and one that is something else.
    std::fs::remove_file(segment(&ground, &blocks[1])).unwrap();
    std::fs::write(segment(&ground, &blocks[2]), b"something else").unwrap();
    let answer = downloaded(&runs.client, "").await;
    let report = read(&answer, all());
    assert_eq!((report.blocks, report.totals.runs, report.is_whole()), (4, 2, false), "the rest goes on");
    let faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    assert!(faults.iter().any(|fault| fault.contains("block 2 is not complete: its object is missing")), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.contains("block 3 is not complete: its object is damaged")), "{faults:?}");
    let mut reader = Reader::new(all());
    let mut faults = 0;
    reader.feed(&answer.body, |event| faults += usize::from(matches!(event, Event::Fault)));
    assert!(faults > 0);
}

async fn who_may_download(ground: Ground) {
    let ground = small(&ground, 2).await;
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    calls(&ground, &runs, &mut node, &[1, 1]).await;
    let eve = ground.user("eve@example.org", "eve").await;
    assert_eq!(read(&downloaded(&eve, "").await, all()).blocks, 0, "everybody sees their own");
    assert_eq!(runs.client.key(&["invoke"]).await.get("/receipts").await.code(), Code::Forbidden);
    assert_eq!(ground.anonymous().get("/receipts").await.code(), Code::Unauthenticated);
    assert_eq!(read(&downloaded(&runs.client.key(&["read"]).await, "").await, all()).totals.runs, 2);
}

/// Who downloads again and again does not have a block for each run.
async fn packing_for_downloads_has_a_pace(ground: Ground) {
    let change = |config: &mut Config| config.receipts_pause = Millis(400);
    let ground = Ground::on(ground.app.config.database.clone(), change).await;
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let begun = std::time::Instant::now();
    for nth in 1..=3 {
        calls(&ground, &runs, &mut node, &[1]).await;
        let report = read(&downloaded(&runs.client, "").await, all());
        assert_eq!((report.totals.runs, report.blocks), (nth, nth));
    }
    assert!(begun.elapsed() >= Duration::from_millis(700), "{:?}", begun.elapsed());
}

/// One who downloads all that they may still follows logs, and others download.
async fn a06_downloads_have_a_share_of_their_own(ground: Ground) {
    let change = |config: &mut Config| (config.receipt_downloads_max, config.log_follows_max) = (2, 2);
    let ground = Ground::on(ground.app.config.database.clone(), change).await;
    let runs = Runs::start(&ground).await;
    let eve = ground.user("eve@example.org", "eve").await;
    let follow = "/api/v1/functions/hello/logs?follow=true";
    let (download, logs) = (runs.client.stream("/api/v1/receipts").await, runs.client.stream(follow).await);
    assert_eq!(runs.client.get("/receipts").await.code(), Code::ShareExceeded);
    downloaded(&eve, "").await;
    drop(download);
    downloaded(&runs.client, "").await;
    drop(logs);
}

async fn a04_a_download_ends_with_its_caller(ground: Ground) {
    let ground = small(&ground, 3).await;
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    calls(&ground, &runs, &mut node, &[600, 540, 480]).await;
    sweep_once(&ground.app, Timestamp::now(), true).await.unwrap();
    let made: Key = runs.client.post("/keys", json!({"name": "k", "scopes": ["read"]})).await.read();
    let with_key = runs.client.with_key(&made.secret.unwrap());
    let whole = downloaded(&with_key, "").await.body.len();
    let body = with_key.stream("/api/v1/receipts").await;
    assert_eq!(runs.client.delete(&format!("/keys/{}", made.id)).await.status, StatusCode::NO_CONTENT);
    // It is checked again, also while nobody reads.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let read = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    assert!(read.len() < whole, "{} of {whole} bytes", read.len());
}
