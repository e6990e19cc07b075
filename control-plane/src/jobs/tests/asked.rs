//! What a request asks for.

use std::time::Duration;

use protocol::Code;
use protocol::job::Job;
use serde_json::json;

use super::ada;
use crate::tests::harness::Ground;

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
