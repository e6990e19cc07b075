//! Streams and waits end with what let their caller in.

use std::time::{Duration, Instant};

use axum::body::Body;
use futures::StreamExt as _;
use http::StatusCode;
use protocol::Code;
use protocol::api::{Invitation, Key, Me, Page, Session};
use protocol::job::Job;
use protocol::queue::MessagesLeased;
use sea_orm::EntityTrait as _;
use serde_json::json;

use super::harness::{Answer, Client, Ground, suite};
use crate::db::columns::Col;
use crate::db::entities::accounts;

suite!(a04_streams_end_with_their_callers, a04_waits_end_with_their_callers);

/// They end within so long.
const WITHIN: Duration = Duration::from_secs(1);

async fn log_in(ground: &Ground, email: &str) -> Client {
    let login = json!({"email": email, "password": "correct horse"});
    let answer = ground.anonymous().post("/sessions", login).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    ground.anonymous().with("cookie", &answer.cookie())
}

async fn join(ground: &Ground, owner: &Client, email: &str) -> Client {
    let invited: Invitation = owner.post("/invitations", json!({"role": "admin"})).await.read();
    let token = invited.path.unwrap().strip_prefix("/invite/").unwrap().to_owned();
    let asked = json!({"email": email, "password": "correct horse", "invitation": token});
    let answer = ground.anonymous().post("/signup", asked).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    ground.anonymous().with("cookie", &answer.cookie())
}

/// All three kinds of streams.
async fn streams(client: &Client, job: &Job) -> Vec<Body> {
    let mut bodies = Vec::new();
    for path in [
        "/api/v1/jobs/events".to_owned(),
        format!("/api/v1/jobs/{}/events", job.id),
        "/api/v1/functions/hello/logs?follow=true".to_owned(),
    ] {
        bodies.push(client.stream(&path).await);
    }
    bodies
}

async fn ends(bodies: Vec<Body>, what: &str) {
    // What else the machine does is not ours: a platform's test holds them to the second.
    let until = tokio::time::Instant::now() + 5 * WITHIN;
    for body in bodies {
        let mut pieces = body.into_data_stream();
        let end = async { while pieces.next().await.is_some() {} };
        assert!(tokio::time::timeout_at(until, end).await.is_ok(), "{what}: a stream goes on");
    }
}

async fn user(client: &Client) -> protocol::UserId {
    client.get("/me").await.read::<Me>().user.unwrap().id
}

async fn a04_streams_end_with_their_callers(ground: Ground) {
    let owner = ground.user("owner@example.org", "acme").await;
    ground.function(&owner, "hello").await;
    let job: Job = owner.post("/jobs", json!({"function": "hello"})).await.read();
    let made: Key = owner.post("/keys", json!({"name": "k", "scopes": ["read"]})).await.read();
    let key = owner.with_key(&made.secret.unwrap());
    let (out, other, removed) = (
        log_in(&ground, "owner@example.org").await,
        log_in(&ground, "owner@example.org").await,
        join(&ground, &owner, "removed@example.org").await,
    );
    assert!(2 * ground.app.config.standing_check.duration() < WITHIN, "two checks come in time");
    let stays = streams(&owner, &job).await;
    let of_key = streams(&key, &job).await;
    let of_out = streams(&out, &job).await;
    let of_other = streams(&other, &job).await;
    let of_removed = streams(&removed, &job).await;

    assert_eq!(owner.delete(&format!("/keys/{}", made.id)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(out.delete("/sessions/current").await.status, StatusCode::NO_CONTENT);
    let gone = format!("/members/{}", user(&removed).await);
    assert_eq!(owner.delete(&gone).await.status, StatusCode::NO_CONTENT);
    tokio::join!(
        ends(of_key, "a revoked key"),
        ends(of_out, "a log-out"),
        ends(of_removed, "a removed member"),
        async {
            let changed = json!({"current": "correct horse", "new": "battery staple"});
            assert_eq!(owner.put("/me/password", changed).await.status, StatusCode::NO_CONTENT);
            ends(of_other, "a changed password").await;
        }
    );
    let sessions: Page<Session> = owner.get("/sessions").await.read();
    assert_eq!(sessions.items.len(), 1);

    // The rest goes on: here is what comes.
    let mut events = stays.into_iter().map(Body::into_data_stream).collect::<Vec<_>>();
    let submitted: Job = owner.post("/jobs", json!({"function": "hello"})).await.read();
    let piece = tokio::time::timeout(10 * WITHIN, events[0].next()).await.unwrap().unwrap().unwrap();
    assert!(String::from_utf8_lossy(&piece).contains(&submitted.id.to_string()), "{piece:?}");
    // Until the account is no more.
    accounts::Entity::delete_by_id(Col(owner.account().await)).exec(ground.app.db.write()).await.unwrap();
    let rest = events.into_iter().map(Body::from_stream).collect();
    ends(rest, "an account that is gone").await;
}

async fn a04_waits_end_with_their_callers(ground: Ground) {
    let owner = ground.user("owner@example.org", "acme").await;
    ground.function(&owner, "hello").await;
    owner.put("/queues/mail", json!({})).await;
    let job: Job = owner.post("/jobs", json!({"function": "hello"})).await.read();
    let made: Key = owner.post("/keys", json!({"name": "k", "scopes": ["read", "invoke"]})).await.read();
    let key = owner.with_key(&made.secret.unwrap());
    let waits = |client: Client, at: String| async move { client.get(&at).await };
    let waiting = tokio::spawn(waits(key.clone(), format!("/jobs/{}?wait=20s", job.id)));
    let leasing = tokio::spawn(async move { key.post("/queues/mail/lease", json!({"wait": "20s"})).await });
    // Both are under way once the key was used, which is noted before either waits.
    let used = async || owner.get("/keys").await.read::<Page<Key>>().items[0].last_used.is_some();
    while !used().await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(owner.delete(&format!("/keys/{}", made.id)).await.status, StatusCode::NO_CONTENT);
    let begun = Instant::now();
    let (waited, leased): (Answer, Answer) = (waiting.await.unwrap(), leasing.await.unwrap());
    assert!(begun.elapsed() < 5 * WITHIN, "{:?}", begun.elapsed());
    assert_eq!((waited.code(), leased.code()), (Code::InvalidKey, Code::InvalidKey));
    // What comes now is for others.
    owner.post("/queues/mail/messages", json!({"messages": [{"body": {"text": "one"}}]})).await;
    let others: MessagesLeased = owner.post("/queues/mail/lease", json!({})).await.read();
    assert_eq!(others.messages.len(), 1);
}
