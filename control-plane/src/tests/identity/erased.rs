//! The end of an account.

use http::StatusCode;
use protocol::api::Me;
use protocol::{AccountId, Code, Timestamp};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _};
use serde_json::json;

use super::join;
use crate::db::columns::Col;
use crate::db::entities::{accounts, api_keys, artifacts, functions, jobs, messages, queues, revoked_keys, triggers};
use crate::erasure;
use crate::tests::harness::{Client, Ground};

/// An account with something of everything.
async fn full(ground: &Ground) -> (Client, Client) {
    let ada = ground.user("ada@example.org", "ada").await;
    ground.function(&ada, "hello").await;
    ground.deployed(&ada, "hello").await;
    let key = ada.post("/keys", json!({"name": "ci", "scopes": ["admin"]})).await.read::<protocol::api::Key>();
    let job = json!({"function": "hello"});
    assert_eq!(ada.post("/jobs", job.clone()).await.status, StatusCode::ACCEPTED);
    let queue = ada.put("/queues/orders", json!({})).await;
    assert!(queue.status.is_success(), "{queue:?}");
    let message = ada.post("/queues/orders/messages", json!({"messages": [{"body": {"text": "one"}}]})).await;
    assert!(message.status.is_success(), "{message:?}");
    let trigger = ada.put("/triggers/nightly", json!({"cron": "0 3 * * *", "job": job})).await;
    assert!(trigger.status.is_success(), "{trigger:?}");
    let by_key = ada.with_key(&key.secret.unwrap());
    (ada, by_key)
}

/// How many rows of the account there are: keys, triggers, functions that answer, jobs, messages, queues, artifacts.
async fn left(ground: &Ground, account: AccountId) -> [u64; 7] {
    let (db, of) = (ground.app.db.read(), Col(account));
    let alive = functions::Entity::find().filter(functions::Column::Deleted.is_null());
    [
        api_keys::Entity::find().filter(api_keys::Column::AccountId.eq(of)).count(db).await.unwrap(),
        triggers::Entity::find().filter(triggers::Column::AccountId.eq(of)).count(db).await.unwrap(),
        alive.filter(functions::Column::AccountId.eq(of)).count(db).await.unwrap(),
        jobs::Entity::find().filter(jobs::Column::AccountId.eq(of)).count(db).await.unwrap(),
        messages::Entity::find().filter(messages::Column::AccountId.eq(of)).count(db).await.unwrap(),
        queues::Entity::find().filter(queues::Column::AccountId.eq(of)).count(db).await.unwrap(),
        artifacts::Entity::find().filter(artifacts::Column::AccountId.eq(of)).count(db).await.unwrap(),
    ]
}

fn in_an_hour() -> Timestamp {
    Timestamp(Timestamp::now().0 + 3_600_000)
}

pub(super) async fn a_deleted_account_is_gone(ground: Ground) {
    let (ada, by_key) = full(&ground).await;
    let account = ada.account().await;
    let bob = join(&ground, &ada, "bob@example.org", "member").await;
    assert_eq!(left(&ground, account).await, [1, 1, 1, 1, 1, 1, 1]);

    assert_eq!(ada.delete("/accounts/ada").await.status, StatusCode::NO_CONTENT);
    assert_eq!(ada.get("/me").await.read::<Me>().accounts, []);
    assert_eq!(ada.get("/functions").await.code(), Code::MissingAccount);
    assert_eq!(by_key.get("/functions").await.code(), Code::InvalidKey);
    let names: Vec<String> =
        bob.get("/me").await.read::<Me>().accounts.iter().map(|one| one.account.name.to_string()).collect();
    assert!(!names.contains(&"ada".to_owned()), "{names:?}");
    assert_eq!(ada.delete("/accounts/ada").await.code(), Code::NotFound);
    let of_account = || revoked_keys::Entity::find().filter(revoked_keys::Column::AccountId.eq(Col(account)));
    let revoked = async || of_account().count(ground.app.db.read()).await.unwrap();
    assert_eq!(revoked().await, 1);
    // Nothing can be called; the job that waited has ended.
    assert_eq!(left(&ground, account).await[..4], [0, 0, 0, 1]);
    let job = jobs::Entity::find().one(ground.app.db.read()).await.unwrap().unwrap();
    assert_eq!((job.state.0, job.reason.as_str()), (protocol::job::JobState::Cancelled, "its account was deleted"));

    // What is on its way is settled first.
    erasure::go_on(&ground.app, Timestamp::now()).await.unwrap();
    assert_eq!(left(&ground, account).await[3..], [1, 1, 1, 1]);
    erasure::go_on(&ground.app, in_an_hour()).await.unwrap();
    assert_eq!(left(&ground, account).await, [0; 7]);
    assert_eq!(revoked().await, 0, "nor is anything left of its keys");
    let row = accounts::Entity::find_by_id(Col(account)).one(ground.app.db.read()).await.unwrap().unwrap();
    assert!(row.deleted.is_some() && row.erased.is_some(), "{row:?}");
    let to_do = crate::db::loops::accounts_to_erase(1).one(ground.app.db.read()).await.unwrap();
    assert_eq!(to_do, None);
}

pub(super) async fn only_owners_delete_an_account(ground: Ground) {
    let (ada, by_key) = full(&ground).await;
    let (eve, admin) =
        (ground.user("eve@example.org", "eve").await, join(&ground, &ada, "admin@example.org", "admin").await);
    assert_eq!(eve.delete("/accounts/ada").await.code(), Code::NotFound);
    assert_eq!(admin.delete("/accounts/ada").await.code(), Code::Forbidden);
    assert_eq!(by_key.delete("/accounts/ada").await.code(), Code::Forbidden);
    assert_eq!(ground.anonymous().delete("/accounts/ada").await.code(), Code::Unauthenticated);
    assert_eq!(ada.delete("/accounts/No%20Name").await.code(), Code::NotFound);
    assert_eq!(left(&ground, ada.account().await).await, [1, 1, 1, 1, 1, 1, 1]);
}

pub(super) async fn a_name_is_free_again(ground: Ground) {
    let (ada, _) = full(&ground).await;
    let account = ada.account().await;
    assert_eq!(ada.delete("/accounts/ada").await.status, StatusCode::NO_CONTENT);
    let eve = ground.user("eve@example.org", "eve").await;
    let soon = eve.post("/accounts", json!({"name": "ada", "kind": "personal"})).await;
    assert_eq!(soon.code(), Code::NameTaken);
    assert!(soon.read::<protocol::Problem>().detail.contains("free again from"), "{soon:?}");
    let long_ago = Timestamp(Timestamp::now().0 - 31 * 86_400_000);
    accounts::Entity::update_many()
        .set(accounts::ActiveModel { deleted: Set(Some(long_ago.into())), ..Default::default() })
        .filter(accounts::Column::Id.eq(Col(account)))
        .exec(ground.app.db.write())
        .await
        .unwrap();
    let later = eve.post("/accounts", json!({"name": "ada", "kind": "personal"})).await;
    assert_eq!(later.status, StatusCode::CREATED, "{later:?}");
    // The old one is gone for good, and has not become hers.
    erasure::go_on(&ground.app, in_an_hour()).await.unwrap();
    assert_eq!(left(&ground, account).await, [0; 7]);
}

/// The platform ended between the deletion and what follows it.
pub(super) async fn what_broke_off_goes_on(ground: Ground) {
    let (ada, _) = full(&ground).await;
    let account = ada.account().await;
    accounts::Entity::update_many()
        .set(accounts::ActiveModel { deleted: Set(Some(Timestamp::now().into())), ..Default::default() })
        .filter(accounts::Column::Id.eq(Col(account)))
        .exec(ground.app.db.write())
        .await
        .unwrap();
    erasure::go_on(&ground.app, Timestamp::now()).await.unwrap();
    assert_eq!(left(&ground, account).await[2..], [0, 1, 1, 1, 1]);
    erasure::go_on(&ground.app, in_an_hour()).await.unwrap();
    assert_eq!(left(&ground, account).await[2..], [0; 5]);
}
