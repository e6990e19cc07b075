//! One effect for each `Idempotency-Key`.

use http::StatusCode;
use protocol::api::{Function, Invitation, Key, Me, Member, Membership, Page};
use protocol::queue::{LeasesEnded, MessagesLeased};
use protocol::{Code, InstanceId, Timestamp};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde_json::json;

use super::harness::{Answer, Client, Ground, suite};
use crate::db::columns::Col;
use crate::db::entities::idempotency;

suite!(
    once,
    at_the_same_time,
    after_a_crash,
    refusals_are_kept,
    a03_ended_credentials_see_no_earlier_answer,
    a03_secrets_are_shown_once,
    a03_rights_are_asked_again,
    a14_strangers_leave_no_rows,
    a14_refusals_leave_few_rows,
    f37_leases_are_idempotent,
);

async fn once(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let client = ada.with("idempotency-key", "one");
    let asked = json!({"name": "ci", "scopes": ["read"]});
    let (first, again) = (client.post("/keys", asked.clone()).await, client.post("/keys", asked.clone()).await);
    assert_eq!(first.status, StatusCode::CREATED);
    // Without its secret, see below.
    assert_eq!((first.status, first.read::<Key>().id), (again.status, again.read::<Key>().id), "the very same key");
    assert_eq!(again.header("content-type"), "application/json");
    assert_eq!(ada.get("/keys").await.read::<Page<Key>>().items.len(), 1);
    let other = client.post("/keys", json!({"name": "ci", "scopes": ["admin"]})).await;
    assert_eq!(other.code(), Code::IdempotencyMismatch);
    assert_eq!(client.post("/functions", asked.clone()).await.code(), Code::IdempotencyMismatch, "another path");
    // Another user's key of the same name is another key.
    let eve = ground.user("eve@example.org", "eve").await.with("idempotency-key", "one");
    let hers = eve.post("/keys", json!({"name": "ci", "scopes": ["read"]})).await;
    assert_ne!(hers.read::<Key>().id, first.read::<Key>().id);
    let row = idempotency::Entity::find().one(ground.app.db.read()).await.unwrap().unwrap();
    let kept = String::from_utf8_lossy(row.answer.as_deref().unwrap()).into_owned();
    assert!(!kept.contains("cck_"), "a kept answer is sealed");
    let quoted = ada.with("idempotency-key", "\"one\"");
    assert_eq!(quoted.post("/keys", asked).await.read::<Key>().id, first.read::<Key>().id, "quotes are no part of it");
    let long = "x".repeat(201);
    for wrong in [&[""][..], &["é"], &[long.as_str()], &["a b"], &["\"k"], &["one", "two"], &["one", "one"]] {
        let mut headers = http::HeaderMap::new();
        for value in wrong {
            headers.append("idempotency-key", http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let refused = ada.with_headers(headers).post("/functions", json!({"name": "hh"})).await;
        assert_eq!(refused.code(), Code::InvalidRequest, "{wrong:?}");
        assert_eq!(refused.read::<protocol::Problem>().field.unwrap().as_str(), "Idempotency-Key");
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

async fn a03_ended_credentials_see_no_earlier_answer(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let made: Key = ada.post("/keys", json!({"name": "root", "scopes": ["admin"]})).await.read();
    let key = ada.with_key(&made.secret.unwrap()).with("idempotency-key", "one");
    let login = json!({"email": "ada@example.org", "password": "correct horse"});
    let cookie = ground.anonymous().post("/sessions", login).await.cookie();
    let session = ground.anonymous().with("cookie", &cookie).with("idempotency-key", "one");
    let asked = json!({"name": "made", "scopes": ["admin"]});
    for client in [&key, &session] {
        assert_eq!(client.post("/keys", asked.clone()).await.status, StatusCode::CREATED);
    }
    assert_eq!(ada.delete(&format!("/keys/{}", made.id)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(session.delete("/sessions/current").await.status, StatusCode::NO_CONTENT);
    for client in [&key, &session] {
        let refused = client.post("/keys", asked.clone()).await;
        assert_eq!((refused.status, refused.code()), (StatusCode::UNAUTHORIZED, Code::InvalidKey));
        assert_eq!(client.post("/keys", json!({"other": 1})).await.code(), Code::InvalidKey, "nor that there was one");
    }
}

async fn a03_secrets_are_shown_once(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await.with("idempotency-key", "one");
    let key = json!({"name": "ci", "scopes": ["read"]});
    let made: Key = ada.post("/keys", key.clone()).await.read();
    let secret = made.secret.unwrap();
    let again = ada.post("/keys", key).await;
    assert!(!String::from_utf8_lossy(&again.body).contains(&secret[36..]), "{again:?}");
    let again: Key = again.read();
    assert_eq!((again.id, again.secret), (made.id, None));
    assert!(again.help.unwrap().contains("revoke"), "it says what to do");

    let invitation = json!({"role": "member"});
    let ada = ada.with("idempotency-key", "two");
    let made: Invitation = ada.post("/invitations", invitation.clone()).await.read();
    let again: Invitation = ada.post("/invitations", invitation).await.read();
    assert!(made.path.is_some() && made.help.is_none());
    assert_eq!((again.id, again.path), (made.id, None));
    assert!(again.help.unwrap().contains("revoke"));
}

async fn a03_rights_are_asked_again(ground: Ground) {
    let owner = ground.user("owner@example.org", "acme").await;
    let admin = ground.user("admin@example.org", "other").await;
    let user = admin.get("/me").await.read::<Me>().user.unwrap().id;
    let invited: Invitation = owner.post("/invitations", json!({"role": "admin"})).await.read();
    let token = invited.path.as_ref().unwrap().strip_prefix("/invite/").unwrap();
    let accept = json!({"token": token});
    let once = |client: &Client, key: &str| client.with("idempotency-key", key);
    let accepted = once(&admin, "accept").post("/invitations/accept", accept.clone()).await;
    assert_eq!(accepted.read::<Membership>().account.name.as_str(), "acme");
    let admin_of = admin.with("x-crowdcloud-account", "acme");
    let function = json!({"name": "hello"});
    let invite = json!({"role": "member", "email": "secret@example.org"});
    assert_eq!(once(&admin_of, "f").post("/functions", function.clone()).await.status, StatusCode::CREATED);
    assert_eq!(once(&admin_of, "i").post("/invitations", invite.clone()).await.status, StatusCode::CREATED);

    // A member may deploy, but sees no invitations.
    let lowered = owner.patch(&format!("/members/{user}"), json!({"role": "member"})).await;
    assert_eq!(lowered.read::<Member>().role, protocol::api::Role::Member);
    assert_eq!(once(&admin_of, "f").post("/functions", function.clone()).await.status, StatusCode::CREATED);
    assert_eq!(once(&admin_of, "i").post("/invitations", invite.clone()).await.code(), Code::Forbidden);

    assert_eq!(owner.delete(&format!("/members/{user}")).await.status, StatusCode::NO_CONTENT);
    let gone = |answer: &Answer| matches!(answer.code(), Code::NotFound | Code::Forbidden);
    assert!(gone(&once(&admin_of, "f").post("/functions", function).await));
    assert!(gone(&once(&admin_of, "i").post("/invitations", invite).await));
    assert!(gone(&once(&admin, "accept").post("/invitations/accept", accept).await), "of another account than its own");
}

async fn a14_strangers_leave_no_rows(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let rows = async || idempotency::Entity::find().all(ground.app.db.read()).await.unwrap().len();
    let login = |password: &str| json!({"email": "ada@example.org", "password": password});
    for nobody in [ground.anonymous(), ground.anonymous().with_key("cck_0_guess"), ada.with("cookie", "cc_session=old")]
    {
        let nobody = nobody.with("idempotency-key", "one");
        assert_eq!(nobody.post("/functions", json!({"name": "hello"})).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(nobody.post("/sessions", login("wrong horse")).await.code(), Code::InvalidLogin);
        // A log-in may be repeated: each makes a session of its own, and no session is kept for whoever asks again.
        let first = nobody.post("/sessions", login("correct horse")).await;
        let second = nobody.post("/sessions", login("correct horse")).await;
        assert_eq!((first.status, second.status), (StatusCode::CREATED, StatusCode::CREATED));
        assert_ne!(first.cookie(), second.cookie());
    }
    let known = ada.with("idempotency-key", "two");
    assert_ne!(
        known.post("/sessions", login("correct horse")).await.cookie(),
        known.post("/sessions", login("correct horse")).await.cookie()
    );
    assert_eq!(rows().await, 0);
}

async fn a14_refusals_leave_few_rows(ground: Ground) {
    let few = Ground::on(ground.app.config.database.clone(), |config| config.idempotency_refusals_max = 3).await;
    let rows = async || idempotency::Entity::find().all(few.app.db.read()).await.unwrap().len();
    let ada = few.user("ada@example.org", "ada").await;
    let reader = ada.key(&["read"]).await;
    for number in 0..5 {
        let once = reader.with("idempotency-key", &format!("forbidden-{number}"));
        assert_eq!(once.post("/functions", json!({"name": "hello"})).await.code(), Code::Forbidden);
    }
    assert_eq!(rows().await, 0, "whoever may not do it leaves nothing");
    for number in 0..5 {
        let once = ada.with("idempotency-key", &format!("missing-{number}"));
        for _ in 0..2 {
            assert_eq!(once.post("/functions/none/rollback", json!({})).await.code(), Code::FunctionNotFound);
        }
    }
    assert_eq!(rows().await, 3, "others of an account are remembered up to a bound");
    let once = ada.with("idempotency-key", "made");
    assert_eq!(once.post("/functions", json!({"name": "hello"})).await.status, StatusCode::CREATED);
    assert_eq!(rows().await, 4, "what had an effect always");
}

async fn f37_leases_are_idempotent(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    ada.put("/queues/mail", json!({})).await;
    let message = json!({"messages": [{"body": {"text": "one"}}]});
    for _ in 0..2 {
        let put = ada.post("/queues/mail/messages", message.clone()).await;
        assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
    }
    let (once, asked) = (ada.with("idempotency-key", "lease"), json!({}));
    let first: MessagesLeased = once.post("/queues/mail/lease", asked.clone()).await.read();
    let again: MessagesLeased = once.post("/queues/mail/lease", asked.clone()).await.read();
    assert_eq!(first.messages.len(), 1);
    assert_eq!(first, again, "the same message, and not the next one");
    let other: MessagesLeased = ada.post("/queues/mail/lease", asked).await.read();
    assert_ne!(other.messages[0].id, first.messages[0].id);
    let held = |leased: &MessagesLeased| json!({"messages": [{"id": leased.messages[0].id, "lease": leased.messages[0].lease.unwrap()}]});
    for (verb, held) in [("ack", held(&first)), ("release", held(&other))] {
        let once = ada.with("idempotency-key", verb);
        let first: LeasesEnded = once.post(&format!("/queues/mail/{verb}"), held.clone()).await.read();
        let again: LeasesEnded = once.post(&format!("/queues/mail/{verb}"), held).await.read();
        assert_eq!((first.ended.len(), first), (1, again), "{verb}: ended, and not lost");
    }
}
