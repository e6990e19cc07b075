//! One effect for each `Idempotency-Key`.

use http::StatusCode;
use protocol::api::{Function, Key, Page};
use protocol::{Code, InstanceId, Timestamp};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde_json::json;

use super::harness::{Ground, suite};
use crate::db::columns::Col;
use crate::db::entities::idempotency;

suite!(once, at_the_same_time, after_a_crash, refusals_are_kept);

async fn once(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let client = ada.with("idempotency-key", "one");
    let asked = json!({"name": "ci", "scopes": ["read"]});
    let (first, again) = (client.post("/keys", asked.clone()).await, client.post("/keys", asked.clone()).await);
    assert_eq!(first.status, StatusCode::CREATED);
    assert_eq!((first.status, &first.body), (again.status, &again.body), "the very same secret");
    assert_eq!(again.header("content-type"), "application/json");
    assert_eq!(ada.get("/keys").await.read::<Page<Key>>().items.len(), 1);
    let other = client.post("/keys", json!({"name": "ci", "scopes": ["admin"]})).await;
    assert_eq!(other.code(), Code::IdempotencyMismatch);
    assert_eq!(client.post("/functions", asked).await.code(), Code::IdempotencyMismatch, "another path");
    // Another user's key of the same name is another key.
    let eve = ground.user("eve@example.org", "eve").await.with("idempotency-key", "one");
    let hers = eve.post("/keys", json!({"name": "ci", "scopes": ["read"]})).await;
    assert_ne!(hers.read::<Key>().id, first.read::<Key>().id);
    let row = idempotency::Entity::find().one(ground.app.db.read()).await.unwrap().unwrap();
    let kept = String::from_utf8_lossy(row.answer.as_deref().unwrap()).into_owned();
    assert!(!kept.contains("cck_"), "a kept answer is sealed");
    for wrong in ["", "é", &"x".repeat(201)] {
        let mut headers = http::HeaderMap::new();
        headers.insert("idempotency-key", http::HeaderValue::from_bytes(wrong.as_bytes()).unwrap());
        assert_eq!(
            ada.with_headers(headers).post("/functions", json!({"name": "hh"})).await.code(),
            Code::InvalidRequest
        );
    }
}

async fn at_the_same_time(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await.with("idempotency-key", "two");
    let answers = futures::future::join_all((0..10).map(|_| ada.post("/functions", json!({"name": "hello"})))).await;
    let ids: Vec<_> = answers.iter().filter(|a| a.status == 201).map(|a| a.read::<Function>().id).collect();
    assert!(!ids.is_empty() && ids.iter().all(|id| *id == ids[0]));
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!(refused.code(), Code::IdempotencyPending);
    }
}

async fn after_a_crash(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await.with("idempotency-key", "three");
    let asked = json!({"name": "hello"});
    let made = ada.post("/functions", asked.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let forget = |effect: bool| {
        idempotency::Entity::update_many()
            .set(idempotency::ActiveModel {
                effect: sea_orm::ActiveValue::Set(effect),
                status: sea_orm::ActiveValue::Set(None),
                answer: sea_orm::ActiveValue::Set(None),
                instance: sea_orm::ActiveValue::Set(Col(InstanceId::new())),
                created: sea_orm::ActiveValue::Set(Col(Timestamp(Timestamp::now().0 - 11_000))),
                ..Default::default()
            })
            .filter(idempotency::Column::Id.ne(""))
            .exec(ground.app.db.write())
    };
    // It died after the commit: the effect is not repeated.
    forget(true).await.unwrap();
    assert_eq!(ada.post("/functions", asked.clone()).await.code(), Code::IdempotencyPending);
    // It died before: the work is done now.
    forget(false).await.unwrap();
    assert_eq!(ada.post("/functions", asked).await.code(), Code::NameTaken);
}

async fn refusals_are_kept(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let client = ada.with("idempotency-key", "four");
    let asked = json!({"artifact": "0".repeat(64)});
    let refused = client.post("/functions/hello/versions", asked.clone()).await;
    assert_eq!(refused.code(), Code::FunctionNotFound);
    ada.post("/functions", json!({"name": "hello"})).await;
    assert_eq!(client.post("/functions/hello/versions", asked).await.code(), Code::FunctionNotFound);
}
