//! What a request asks for: which requests with one key are the same, and what a deferred call keeps of its head.

use std::time::Duration;

use http::{Method, StatusCode};
use protocol::job::{DeferredCall, HeaderBytes, Job};
use protocol::{AccountId, Blob, ByteSize, Code, FunctionId, headers};
use sea_orm::EntityTrait as _;
use serde_json::json;

use super::{ada, answered, finished, lead, place, record};
use crate::db::columns::Col;
use crate::db::entities::job_inputs;
use crate::jobs::attempt::Answer;
use crate::tests::harness::{Answer as Answered, Client, Ground};

/// A gateway that hands a call on.
struct Gateway {
    client: Client,
    account: AccountId,
    function: FunctionId,
}

impl Gateway {
    async fn of(ground: &Ground, ada: &Client) -> Self {
        let function: protocol::api::Function = ada.get("/functions/hello").await.read();
        Self { client: ground.anonymous(), account: ada.account().await, function: function.id }
    }

    fn call(&self) -> DeferredCall {
        DeferredCall {
            account: self.account,
            function: self.function,
            target: "hello".to_owned(),
            version: 1,
            method: "POST".to_owned(),
            path: "/thumbs?width=3".to_owned(),
            headers: vec![("content-type".to_owned(), "text/plain".into()), ("user-agent".to_owned(), "curl".into())],
            body: Some("YQ==".to_owned()),
            blob: None,
            size: ByteSize(1),
            caller: "key_1".to_owned(),
        }
    }

    async fn defer(&self, key: &str, call: &DeferredCall) -> Answered {
        let client = self.client.with("idempotency-key", key).with(headers::ACCOUNT, &self.account.to_string());
        client.send(Method::POST, "/internal/jobs", Some(serde_json::to_value(call).unwrap())).await
    }

    async fn job(&self, key: &str, call: &DeferredCall) -> Job {
        let answer = self.defer(key, call).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        answer.read()
    }
}

pub(super) async fn f21_the_fingerprint_is_what_the_caller_asked(ground: Ground) {
    let ada = ada(&ground).await;
    // What the API is asked for is in the body; the head around it may differ.
    let keyed = ada.with("idempotency-key", "api");
    let asked = json!({"function": "hello", "input": {"text": "a"}});
    let first: Job = keyed.with("traceparent", "00-1").post("/jobs", asked.clone()).await.read();
    let again: Job =
        keyed.with("traceparent", "00-2").with("user-agent", "x").post("/jobs", asked.clone()).await.read();
    assert_eq!(again.id, first.id);
    let other = keyed.post("/jobs", json!({"function": "hello", "input": {"text": "a"}, "retries": 1})).await;
    assert_eq!(other.code(), Code::IdempotencyMismatch, "an option counts");

    let gateway = Gateway::of(&ground, &ada).await;
    let first = gateway.job("call", &gateway.call()).await;
    let mut again = gateway.call();
    again.headers = vec![
        ("traceparent".to_owned(), "00-2".into()),
        ("x-forwarded-for".to_owned(), "192.0.2.7".into()),
        ("x-retry-count".to_owned(), "1".into()),
        ("content-type".to_owned(), "text/plain".into()),
    ];
    again.caller = "key_2".to_owned();
    assert_eq!(gateway.job("call", &again).await.id, first.id);
    again.target = "hello@live".to_owned();
    assert_eq!(gateway.job("call", &again).await.id, first.id, "what is meant without `@`");
    assert_eq!(gateway.job("\"call\"", &again).await.id, first.id, "quotes are no part of a key");
    for change in [
        |call: &mut DeferredCall| call.method = "PUT".to_owned(),
        |call: &mut DeferredCall| call.path = "/thumbs?width=4".to_owned(),
        |call: &mut DeferredCall| call.body = Some("Yg==".to_owned()),
        |call: &mut DeferredCall| call.target = "hello@v1".to_owned(),
        |call: &mut DeferredCall| call.headers[0].1 = "text/html".into(),
    ] {
        let mut other = gateway.call();
        change(&mut other);
        assert_eq!(gateway.defer("call", &other).await.code(), Code::IdempotencyMismatch, "{other:?}");
    }
}

pub(super) async fn f22_the_version_is_chosen_once(ground: Ground) {
    let ada = ada(&ground).await;
    let gateway = Gateway::of(&ground, &ada).await;
    let first = gateway.job("k", &gateway.call()).await;
    ground.deployed(&ada, "hello").await;
    let later = DeferredCall { version: 2, ..gateway.call() };
    let again = gateway.job("k", &later).await;
    assert_eq!((again.id, again.version), (first.id, 1), "another version stands behind the alias now");
    assert_eq!(gateway.job("l", &later).await.version, 2);
    // The gateway may have taken a body that only another version accepts.
    let (_writing, blob) = ground.put(vec![7; 100_000]).await;
    let beyond = Blob { size: ByteSize(u64::MAX >> 1), ..blob };
    let large = DeferredCall { body: None, size: beyond.size, blob: Some(beyond), ..later };
    assert_eq!(gateway.defer("m", &large).await.code(), Code::BodyTooLarge);
}

/// Each time a request comes, its body is another blob.
pub(super) async fn bodies_are_the_same_whose_bytes_are(ground: Ground) {
    let ada = ada(&ground).await;
    let gateway = Gateway::of(&ground, &ada).await;
    let call = async |bytes: Vec<u8>| {
        let (writing, blob) = ground.put(bytes).await;
        (writing, DeferredCall { body: None, size: blob.size, blob: Some(blob), ..gateway.call() })
    };
    let (_first_writing, first) = call(vec![7; 100_000]).await;
    let (_again_writing, again) = call(vec![7; 100_000]).await;
    let (_other_writing, other) = call(vec![8; 100_000]).await;
    assert_ne!(first.blob, again.blob);
    let job = gateway.job("k", &first).await;
    assert_eq!(gateway.job("k", &again).await.id, job.id);
    assert_eq!(gateway.defer("k", &other).await.code(), Code::IdempotencyMismatch);
    let row = job_inputs::Entity::find_by_id(Col(job.id)).one(ground.app.db.read()).await.unwrap().unwrap();
    assert_eq!((row.blob, row.root), (first.blob.map(|blob| Col(blob.id)), None));
    // A gateway of the release before names it in a way that is not known.
    let lost = DeferredCall { blob: None, ..other };
    assert_eq!(gateway.defer("l", &lost).await.code(), Code::StorageUnavailable);
}

pub(super) async fn f23_relative_times_are_sent_as_such(ground: Ground) {
    let ada = ada(&ground).await.with("idempotency-key", "k");
    let asked = |when: &str| json!({"function": "hello", "not_before": when});
    let first: Job = ada.post("/jobs", asked("2h")).await.read();
    let wait = first.not_before.unwrap().since(first.created);
    assert!((Duration::from_secs(7190)..Duration::from_secs(7210)).contains(&wait), "{first:?}");
    let again: Job = ada.post("/jobs", asked("2h")).await.read();
    assert_eq!((again.id, again.not_before), (first.id, first.not_before));
    assert_eq!(ada.post("/jobs", asked("3h")).await.code(), Code::IdempotencyMismatch);
}

pub(super) async fn f24_a_deferred_call_keeps_what_a_direct_one_keeps(ground: Ground) {
    let (ada, app) = (ada(&ground).await, &ground.app);
    let gateway = Gateway::of(&ground, &ada).await;
    let pair = |name: &str, value: &[u8]| (name.to_owned(), value.into());
    let kept = vec![
        pair("x-name", "Gr\u{fc}n".as_bytes()),
        pair("x-name", b"Gr\xfcn"),
        pair("cookie", b"my_cc_session=1"),
        pair("host", b"cloud.example.org:8080"),
        pair("prefer", b"return=minimal"),
    ];
    let path = format!("/?q={}", "x".repeat(10 << 10));
    let call = DeferredCall { path: path.clone(), headers: kept.clone(), ..gateway.call() };
    let job = gateway.job("k", &call).await;
    assert_eq!(job.path, path);
    let row = job_inputs::Entity::find_by_id(Col(job.id)).one(app.db.read()).await.unwrap().unwrap();
    // The order of different names means nothing.
    let sorted = |mut pairs: Vec<(String, HeaderBytes)>| {
        pairs.sort_by(|a, b| (&a.0, a.1.as_bytes()).cmp(&(&b.0, b.1.as_bytes())));
        pairs
    };
    assert_eq!(sorted(row.headers.0), sorted(kept.clone()));

    // The way back, too.
    let epoch = lead(app, Duration::from_secs(60)).await;
    let run = place(app, epoch, job.id, ground.node).await;
    let (came, answer) = answered(200, b"done");
    let answer = answer.map(|answer| Answer { headers: vec![pair("x-name", b"Gr\xfcn")], ..answer });
    record(app, epoch, vec![finished(app, job.id, run, ground.node, came, answer).await]).await.unwrap();
    let output = ada.get(&format!("/jobs/{}/output", job.id)).await;
    assert_eq!(output.headers["x-name"].as_bytes(), b"Gr\xfcn");
}
