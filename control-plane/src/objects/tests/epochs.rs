//! Writers that are late, and those that have gone.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use protocol::epoch::EpochLease;
use protocol::{AccountId, Epoch, InstanceId, Timestamp};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde_json::json;

use super::{commit, in_hours, in_index, in_store, is_refused, own, put, read, stored, sweep};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::store_epochs;
use crate::objects::{Epochs, epochs};
use crate::tests::harness::{Ground, suite};

suite!(
    what_is_being_written_stays,
    a_writer_that_was_paused_is_refused,
    an_epoch_whose_lease_has_ended_takes_nothing,
    a_commit_on_its_way_comes_before_the_horizon,
    an_epoch_is_closed_when_nobody_writes_under_it,
    the_horizon_only_rises,
    gateways_get_epochs_of_their_own,
);

/// As if its holder had been silent for longer than its lease.
pub(super) async fn end_lease(app: &App, epoch: Epoch) {
    store_epochs::Entity::update_many()
        .col_expr(store_epochs::Column::Until, 0_i64.into())
        .filter(store_epochs::Column::Epoch.eq(Col(epoch)))
        .exec(app.db.write())
        .await
        .unwrap();
}

async fn what_is_being_written_stays(ground: Ground) {
    let (app, account) = (&ground.app, AccountId::new());
    let (writing, blob) = put(app, b"not committed yet").await;
    sweep(app, in_hours(30)).await;
    assert_eq!(in_store(app).await, BTreeSet::from([blob.id]));
    commit(app, account, &blob).await.unwrap();
    drop(writing);

    let (writing, lost) = put(app, b"never committed").await;
    drop(writing);
    app.epochs.close().await.unwrap();
    sweep(app, Timestamp::now()).await;
    assert_eq!(in_store(app).await, BTreeSet::from([blob.id]), "{} is below the horizon", lost.id);
}

async fn a_writer_that_was_paused_is_refused(ground: Ground) {
    let (app, account) = (&ground.app, AccountId::new());
    let (writing, blob) = put(app, b"late").await;
    // It stands still before its commit, and the horizon passes.
    end_lease(app, writing.epoch()).await;
    sweep(app, Timestamp::now()).await;
    assert!(in_store(app).await.is_empty());
    is_refused(commit(app, account, &blob).await);
    assert!(in_index(app).await.is_empty());

    // From then on it writes under another one.
    app.epochs.tend().await.unwrap();
    let again = stored(app, account, b"late").await;
    assert!(again.id.epoch() > writing.epoch());
    sweep(app, in_hours(2)).await;
    assert_eq!(&read(app, again.id).await.unwrap()[..], b"late");
}

async fn an_epoch_whose_lease_has_ended_takes_nothing(ground: Ground) {
    let (app, account) = (&ground.app, AccountId::new());
    let (writing, blob) = put(app, b"late").await;
    end_lease(app, writing.epoch()).await;
    is_refused(commit(app, account, &blob).await);
    // Nobody has closed it: a renewal comes in time.
    app.epochs.tend().await.unwrap();
    commit(app, account, &blob).await.unwrap();
}

async fn a_commit_on_its_way_comes_before_the_horizon(ground: Ground) {
    let (app, account) = (&ground.app, AccountId::new());
    let (writing, blob) = put(app, b"just in time").await;
    let tx = app.db.begin().await.unwrap();
    crate::objects::keep(app, &tx, Some(account), &blob).await.unwrap();
    own(&tx, account, &blob).await;
    let closing = tokio::spawn({
        let (app, epoch) = (app.clone(), writing.epoch());
        async move {
            epochs::close(&app.db, epoch).await.unwrap();
            sweep(&app, Timestamp::now()).await;
        }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!closing.is_finished(), "it waits for the commit");
    tx.commit().await.unwrap();
    closing.await.unwrap();
    assert_eq!(&read(app, blob.id).await.unwrap()[..], b"just in time");
}

async fn an_epoch_is_closed_when_nobody_writes_under_it(ground: Ground) {
    let app = &ground.app;
    let one = app.epochs.writing().await.unwrap();
    let other = app.epochs.writing().await.unwrap();
    assert_eq!(one.epoch(), other.epoch());
    app.epochs.close().await.unwrap();
    let is_open = async |epoch: Epoch| {
        let row = store_epochs::Entity::find_by_id(Col(epoch)).one(app.db.read()).await.unwrap();
        row.unwrap().closed.is_none()
    };
    let epoch = one.epoch();
    drop(one);
    app.epochs.close().await.unwrap();
    assert!(is_open(epoch).await, "the other one still writes");
    drop(other);
    app.epochs.tend().await.unwrap();
    assert!(is_open(epoch).await, "the newest stays for whoever comes next");
    app.epochs.close().await.unwrap();
    assert!(!is_open(epoch).await);
    assert!(app.epochs.writing().await.unwrap().epoch() > epoch);
}

async fn the_horizon_only_rises(ground: Ground) {
    let (app, lease) = (&ground.app, ground.app.config.store_epoch_lease);
    let horizon = async || epochs::raise_horizon(&app.db, lease).await.unwrap();
    let none = horizon().await;
    let (one, other) = (Epochs::new(app.db.clone(), InstanceId::new(), lease), &app.epochs);
    let (old, new) = (one.writing().await.unwrap(), other.writing().await.unwrap());
    assert!(none <= old.epoch() && old.epoch() < new.epoch());
    assert_eq!(horizon().await, old.epoch(), "the oldest that is open");
    end_lease(app, old.epoch()).await;
    assert_eq!(horizon().await, new.epoch());
    drop(new);
    other.close().await.unwrap();
    let above = horizon().await;
    let next = other.writing().await.unwrap();
    assert!(above <= next.epoch(), "none that is opened is below it");
    assert_eq!(store_epochs::Entity::find().all(app.db.read()).await.unwrap().len(), 1, "closed ones are forgotten");
}

async fn gateways_get_epochs_of_their_own(ground: Ground) {
    let (app, account) = (&ground.app, AccountId::new());
    let (holder, gateway) = (InstanceId::new(), ground.anonymous());
    let ask = async |asked: serde_json::Value| {
        let answer = gateway.send(Method::POST, "/internal/store/epochs", Some(asked)).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.read::<EpochLease>()
    };
    let first = ask(json!({"holder": holder})).await;
    assert_eq!(first.lasts, app.config.store_epoch_lease);
    let put =
        async |epoch: Epoch, bytes: &'static [u8]| app.store.put_bytes(epoch, Bytes::from_static(bytes)).await.unwrap();
    let (blob, late) = (put(first.epoch, b"an upload").await, put(first.epoch, b"a late one").await);
    commit(app, account, &blob).await.unwrap();
    assert_eq!(ask(json!({"holder": holder, "renew": first.epoch})).await.epoch, first.epoch);

    let second = ask(json!({"holder": holder, "close": [first.epoch]})).await;
    assert!(second.epoch > first.epoch);
    is_refused(commit(app, account, &late).await);
    let third = ask(json!({"holder": holder, "renew": first.epoch})).await;
    assert!(third.epoch > second.epoch, "one that is closed stays closed");
    sweep(app, Timestamp::now()).await;
    assert_eq!(in_store(app).await, BTreeSet::from([blob.id]));
}
