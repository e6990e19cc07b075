//! The end of an account.

use http::StatusCode;
use protocol::api::Me;
use protocol::node::NodeState;
use protocol::{AccountId, Code, NodeId, Timestamp};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _};
use serde_json::json;

use super::join;
use crate::db::columns::Col;
use crate::db::entities::{
    accounts, api_keys, artifacts, functions, jobs, messages, node_tokens, nodes, outbox, queues, revoked_keys,
    run_logs, runs, triggers,
};
use crate::erasure;
use crate::nodes::records;
use crate::objects::moving;
use crate::tests::harness::{Client, Ground};
use crate::tests::joining::{self, Machine};
use crate::tests::logs;
use crate::tests::settlement::{Runs, Signer, later, observe};

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

pub(super) async fn nodes_leave_with_their_account(ground: Ground) {
    let (ada, eve) = (ground.user("ada@example.org", "ada").await, ground.user("eve@example.org", "eve").await);
    let (machine, other, late) = (Machine::new(61), Machine::new(62), Machine::new(63));
    let node = joining::joined(&ground, &ada, &machine).await.node;
    let stays = joining::joined(&ground, &eve, &other).await.node;
    assert_eq!(joining::say_hello(&ground, node, &machine).await.status, StatusCode::OK);
    let unused = joining::token(&ada).await;
    // One that is configured is the platform's, whoever had the account.
    let account = Col(ada.account().await);
    nodes::Entity::update_many()
        .set(nodes::ActiveModel { account_id: Set(Some(account)), ..Default::default() })
        .filter(nodes::Column::Id.eq(Col(ground.node)))
        .exec(ground.app.db.write())
        .await
        .unwrap();

    assert_eq!(ada.delete("/accounts/ada").await.status, StatusCode::NO_CONTENT);
    let left = joining::row(&ground, node).await;
    assert_eq!((left.state.0, left.state_reason.as_deref()), (NodeState::Left, Some("its account was deleted")));
    let refused = joining::say_hello(&ground, node, &machine).await;
    assert_eq!(refused.code(), Code::NodeLeft);
    assert!(refused.read::<protocol::Problem>().detail.contains("its account was deleted"), "{refused:?}");
    let records = records::all(&ground.app.db).await.unwrap();
    let on_record = |node: NodeId| records.iter().any(|record| record.node == node);
    assert_eq!((on_record(node), on_record(stays), on_record(ground.node)), (false, true, true));
    assert_eq!(joining::row(&ground, ground.node).await.account_id, None);
    let tokens = node_tokens::Entity::find().filter(node_tokens::Column::AccountId.eq(account));
    assert_eq!(tokens.count(ground.app.db.read()).await.unwrap(), 0);
    assert_eq!(joining::register(&ground, &late.asks(&unused)).await.code(), Code::NodeTokenInvalid);
    let told = outbox::Entity::find().filter(outbox::Column::Key.eq(node.to_string()));
    assert!(told.filter(outbox::Column::AccountId.eq(account)).count(ground.app.db.read()).await.unwrap() > 0);
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

/// An open run is settled before the account counts as erased. What comes later leaves nothing.
pub(super) async fn what_comes_after_the_end_is_void(ground: Ground) {
    let (of, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let account = of.client.account().await;
    let is_erased = async || {
        let row = accounts::Entity::find_by_id(Col(account)).one(ground.app.db.read()).await.unwrap();
        row.unwrap().erased.is_some()
    };
    let left = async || {
        let rows = runs::Entity::find().filter(runs::Column::AccountId.eq(Col(account)));
        let lines = run_logs::Entity::find().filter(run_logs::Column::AccountId.eq(Col(account)));
        (rows.count(ground.app.db.read()).await.unwrap(), lines.count(ground.app.db.read()).await.unwrap())
    };
    let (half, _) = of.halves(&ground, 1_000, 1_000);
    node.submit(vec![half]).await;
    logs::keep(&ground, ground.node, logs::log(&ground, &of, &["early"])).await;
    assert_eq!(left().await, (1, 1));

    assert_eq!(of.client.delete("/accounts/ada").await.status, StatusCode::NO_CONTENT);
    erasure::go_on(&ground.app, in_an_hour()).await.unwrap();
    assert_eq!((is_erased().await, left().await), (false, (1, 0)), "its other half may come");
    crate::settlement::sweep_once(&ground.app, later(61), false).await.unwrap();
    erasure::go_on(&ground.app, in_an_hour()).await.unwrap();
    assert_eq!((is_erased().await, left().await), (true, (0, 0)));

    let ((receipt, seen), (claim, _), (_, alone)) =
        (of.halves(&ground, 1, 1), of.halves(&ground, 1, 1), of.halves(&ground, 1, 1));
    node.submit(vec![receipt, claim]).await;
    observe(&ground, &[seen, alone]).await;
    logs::keep(&ground, ground.node, logs::log(&ground, &of, &["late"])).await;
    assert_eq!(left().await, (0, 0));
}

/// Whatever it had in the store: an artifact, the input of a job, a block of runs and one of their logs.
pub(super) async fn nothing_of_it_stays_in_the_store(ground: Ground) {
    let (app, eve) = (&ground.app, ground.user("eve@example.org", "eve").await);
    ground.artifact(&eve, b"another's").await;
    let others = moving::left_after_sweeps(app).await;
    assert_eq!(others.len(), 1);
    let (of, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let (half, seen) = of.halves(&ground, 1_000, 1_000);
    node.submit(vec![half]).await;
    observe(&ground, std::slice::from_ref(&seen)).await;
    logs::keep(&ground, ground.node, logs::log(&ground, &of, &["a line"])).await;
    crate::settlement::sweep_once(app, Timestamp::now(), true).await.unwrap();
    crate::logs::sweep(app, later(1_000)).await.unwrap();
    let job = json!({"function": "hello", "input": {"text": "x".repeat(100_000)}});
    assert_eq!(of.client.post("/jobs", job).await.status, StatusCode::ACCEPTED);
    let kept = moving::left_after_sweeps(app).await;
    assert!(kept.len() == others.len() + 4 && kept.is_superset(&others), "{kept:?}");

    assert_eq!(of.client.delete("/accounts/ada").await.status, StatusCode::NO_CONTENT);
    erasure::go_on(app, in_an_hour()).await.unwrap();
    assert_eq!(moving::left_after_sweeps(app).await, others);
}
