//! What a request asks for: which requests with one key are the same, and what a deferred call keeps of its head.

use std::time::Duration;

use http::{Method, StatusCode};
use protocol::job::{DeferredCall, Job};
use protocol::{AccountId, ByteSize, Code, FunctionId, headers};
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
            version: 1,
            method: "POST".to_owned(),
            path: "/thumbs?width=3".to_owned(),
            headers: vec![("content-type".to_owned(), "text/plain".into()), ("user-agent".to_owned(), "curl".into())],
            body: Some("YQ==".to_owned()),
            root: None,
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
    assert_eq!(row.headers.0, kept);

    // The way back, too.
    let epoch = lead(app, Duration::from_secs(60)).await;
    let run = place(app, epoch, job.id, ground.node).await;
    let (came, answer) = answered(200, b"done");
    let answer = answer.map(|answer| Answer { headers: vec![pair("x-name", b"Gr\xfcn")], ..answer });
    record(app, epoch, vec![finished(app, job.id, run, ground.node, came, answer).await]).await.unwrap();
    let output = ada.get(&format!("/jobs/{}/output", job.id)).await;
    assert_eq!(output.headers["x-name"].as_bytes(), b"Gr\xfcn");
}
