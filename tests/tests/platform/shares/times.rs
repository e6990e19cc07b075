//! How long each thing takes a tenant that does them one after the other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reqwest::{Method, Response};
use serde_json::json;

use super::Tenant;
use super::programs::program;

/// Of each operation, the middle one of several.
pub(super) type Times = BTreeMap<&'static str, Duration>;

/// What was measured, by operation.
#[derive(Default)]
struct Samples(BTreeMap<&'static str, Vec<Duration>>);

impl Samples {
    fn took(&mut self, what: &'static str, began: Instant) {
        self.0.entry(what).or_default().push(began.elapsed());
    }

    fn medians(self) -> Times {
        let middle = |mut all: Vec<Duration>| {
            all.sort();
            all[all.len() / 2]
        };
        self.0.into_iter().map(|(what, all)| (what, middle(all))).collect()
    }
}

/// Of what waits and passes things on. Each round uploads other bytes and logs other lines.
pub(super) async fn of_all(tenant: &Tenant, round: u32) -> Times {
    let mut samples = Samples::default();
    calls(tenant, &mut samples).await;
    for number in 0..5 {
        deploy(tenant, &mut samples, round * 100 + number).await;
        watch(tenant, &mut samples, 1000 + round * 10 + number).await;
    }
    for _ in 0..7 {
        let began = Instant::now();
        let id = tenant.submit().await;
        let job = tenant.read(Method::GET, &format!("/api/v1/jobs/{id}?wait=30s"), None).await;
        assert_eq!(job["state"], "succeeded", "{job}");
        samples.took("a job", began);
    }
    samples.medians()
}

/// Of what computes.
pub(super) async fn of_computing(tenant: &Tenant) -> Times {
    let mut samples = Samples::default();
    for _ in 0..7 {
        let began = Instant::now();
        tenant.ask(Method::GET, "/f/bob/sums/", None).await.error_for_status().unwrap();
        samples.took("a computation", began);
    }
    samples.medians()
}

async fn calls(tenant: &Tenant, samples: &mut Samples) {
    for _ in 0..31 {
        let began = Instant::now();
        tenant.ask(Method::GET, "/f/bob/probe/", None).await.error_for_status().unwrap();
        samples.took("a call", began);
    }
    for _ in 0..7 {
        let began = Instant::now();
        tenant.read(Method::GET, "/api/v1/me", None).await;
        samples.took("a look", began);
        let began = Instant::now();
        let message = json!({"messages": [{"body": {"text": "x"}}]});
        tenant.read(Method::POST, "/api/v1/queues/inbox/messages", Some(message)).await;
        samples.took("a message", began);
        let began = Instant::now();
        let login = tenant.log_in("bob@example.com", tests::browser::PASSWORD).await.unwrap();
        assert!(login.status().is_success(), "{}", login.status());
        samples.took("a log-in", began);
    }
}

async fn deploy(tenant: &Tenant, samples: &mut Samples, mark: u32) {
    let began = Instant::now();
    let digest = tenant.upload(program(1, 1, mark)).await.unwrap();
    samples.took("an upload", began);
    let began = Instant::now();
    let version = json!({"artifact": digest});
    let version = tenant.read(Method::POST, "/api/v1/functions/small/versions", Some(version)).await;
    assert_eq!(version["state"], "ready", "{version}");
    samples.took("a deploy", began);
}

/// A job until it is seen in the stream of events, and a line until it is seen in the stream of logs.
async fn watch(tenant: &Tenant, samples: &mut Samples, mark: u32) {
    let began = Instant::now();
    let mut events = tenant.ask(Method::GET, "/api/v1/jobs/events", None).await.error_for_status().unwrap();
    let id = tenant.submit().await;
    until(&mut events, &id).await;
    samples.took("an event", began);

    let began = Instant::now();
    let logs = "/api/v1/functions/probe/logs?follow=true&since=1s";
    let mut logs = tenant.ask(Method::GET, logs, None).await.error_for_status().unwrap();
    let call = format!("/f/bob/probe/log?lines=1&bytes={mark}");
    tenant.ask(Method::GET, &call, None).await.error_for_status().unwrap();
    until(&mut logs, &"o".repeat(mark as usize)).await;
    samples.took("a log line", began);
}

/// Reads a stream until this comes.
async fn until(stream: &mut Response, wanted: &str) {
    let mut text = String::new();
    while !text.contains(wanted) {
        let piece = tokio::time::timeout(Duration::from_secs(30), stream.chunk()).await.expect("in time");
        text.push_str(&String::from_utf8_lossy(&piece.unwrap().expect("the stream goes on")));
    }
}

/// What is compared: an operation, and how long it took alone and beside the flood.
pub(super) struct Compared {
    pub(super) what: &'static str,
    pub(super) usual: Duration,
    pub(super) beside: Duration,
}

impl Compared {
    /// Whether it had what it may have: so many times as long, and so much for what else the machine does.
    pub(super) fn in_time(&self, times: u32, noise: Duration) -> bool {
        self.beside <= self.usual * times + noise
    }

    /// A line that can be quoted.
    pub(super) fn line(&self) -> String {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let (usual, beside) = (ms(self.usual), ms(self.beside));
        format!("{}: usual {usual:.1} ms, beside the flood {beside:.1} ms, ratio {:.2}", self.what, beside / usual)
    }
}

/// The best that rounds have shown of each operation: one that has to wait for another tenant is late in all of them.
#[derive(Default)]
pub(super) struct Best(Times);

impl Best {
    pub(super) fn add(&mut self, round: Times) {
        for (what, took) in round {
            let best = self.0.entry(what).or_insert(took);
            *best = took.min(*best);
        }
    }

    pub(super) fn beside(&self, usual: &Times) -> Vec<Compared> {
        let of = |(&what, &usual): (&&'static str, &Duration)| Compared { what, usual, beside: self.0[what] };
        usual.iter().map(of).collect()
    }
}
