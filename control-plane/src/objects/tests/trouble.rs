//! Disks that hang, flap or fail while copies are looked after.

use std::time::Duration;

use protocol::api::StoreStatus;
use protocol::{AccountId, Code, Epoch, InstanceId, Timestamp};
use sea_orm::{ActiveValue::Set, EntityTrait as _};
use serde_json::json;
use store::{Engine as _, SegmentName};
use tokio::time::timeout;

use super::lies::{Lie, on_liars};
use super::repair::{copies, files, office, on_disks, some_blobs};
use super::stored;
use crate::db::entities::store_drains;
use crate::leader::{self, Lease, Office};
use crate::objects::Care;
use crate::objects::repair::Repair;
use crate::tests::harness::{Ground, suite};

suite!(
    extra_copies_go_while_the_database_is_used,
    a_disk_that_flaps_keeps_no_pass_from_its_end,
    a_drain_needs_disks_that_work,
);

/// A disk that hangs holds up neither writers nor the lease, and nothing is deleted by what was read before another one led.
async fn extra_copies_go_while_the_database_is_used(ground: Ground) {
    let (ground, liars) = on_liars(ground).await;
    let app = &ground.app;
    let blob = stored(app, AccountId::new(), b"three times").await;
    let name = SegmentName { blob: blob.id, number: 0 };
    let mut segment = None;
    for liar in &liars {
        segment = segment.or(liar.read(name, None).await.unwrap());
    }
    for liar in &liars {
        liar.put(name, segment.clone().unwrap()).await.unwrap();
    }
    let on_disks = || files(&ground, blob.id).len();
    assert_eq!(on_disks(), 3);

    // All have been read once, and are read again before one is deleted.
    liars[1].says(Lie::Waits(1));
    let (mut repair, epoch) = (Repair::new(&Care::new(app)), office(app).await);
    let mut pass = Box::pin(repair.whole(epoch));
    assert!(timeout(Duration::from_secs(1), &mut pass).await.is_err(), "it reads");
    let writes = stored(app, AccountId::new(), b"meanwhile");
    timeout(Duration::from_secs(10), writes).await.unwrap();
    // Another one leads, and does what it likes.
    leader::resign(&app.db, Office::Store, app.instance).await.unwrap();
    let other = InstanceId::new();
    assert!(Lease::take(&app.db, Office::Store, other, Duration::from_secs(60)).await.unwrap().is_some());
    liars[1].says(Lie::None);
    assert_eq!(pass.await.unwrap().last.unwrap().removed, 0);
    assert_eq!(on_disks(), 3);

    leader::resign(&app.db, Office::Store, other).await.unwrap();
    let epoch = office(app).await;
    assert_eq!(repair.whole(epoch).await.unwrap().last.unwrap().removed, 1);
    assert_eq!((on_disks(), copies(app, &blob).await), (2, 2));
    assert!(!app.store.has_unsure_deletes());
}

/// A pass that has begun ends; another one follows.
async fn a_disk_that_flaps_keeps_no_pass_from_its_end(ground: Ground) {
    let ground = on_disks(ground).await;
    let app = &ground.app;
    some_blobs(app, AccountId::new()).await;
    let (mut repair, office) = (Repair::new(&Care::new(app)), office(app).await);
    repair.probe().await.unwrap();
    repair.begin_pass().await;
    let (here, away) = (ground.folder.path().join("b"), ground.folder.path().join("away"));
    std::fs::rename(&here, &away).unwrap();
    for blob in 0..12_u8 {
        drop(app.store.put_bytes(Epoch(1), vec![blob].into()).await);
    }
    for failing in [1, 0] {
        let states = app.store.disks().await;
        assert_eq!(states.iter().filter(|disk| disk.failing.is_some()).count(), failing, "{states:?}");
        repair.probe().await.unwrap();
        assert!(repair.has_pass(), "it goes on");
        if failing == 1 {
            std::fs::rename(&away, &here).unwrap();
        }
    }
    repair.hurry_scrub();
    while repair.has_pass() {
        Box::pin(repair.turn(office)).await.unwrap();
    }
    let told: StoreStatus = ground.operator().await.get("/operator/store").await.read();
    assert!(told.scrub.is_some(), "it has its share all the same");
    assert!(repair.next_pass_in() <= Duration::from_secs(10), "what was looked at before may have changed since");

    // Others are to be taken out: what was begun counts their copies.
    repair.begin_pass().await;
    let row = store_drains::ActiveModel {
        disk: Set(app.store.engines()[0].name().to_owned()),
        since: Set(Timestamp::now().into()),
    };
    store_drains::Entity::insert(row).exec_without_returning(app.db.write()).await.unwrap();
    repair.probe().await.unwrap();
    assert!(!repair.has_pass(), "it begins anew");
}

async fn a_drain_needs_disks_that_work(ground: Ground) {
    let ground = on_disks(ground).await;
    let (app, operator) = (&ground.app, ground.operator().await);
    let drain = |disk: &str| {
        let name = ground.folder.path().join(disk).display().to_string().replace('/', "%2F");
        format!("/operator/store/disks/{name}/drain")
    };
    let (here, away) = (ground.folder.path().join("b"), ground.folder.path().join("away"));
    std::fs::rename(&here, &away).unwrap();
    some_blobs(app, AccountId::new()).await;
    let refused = operator.post(&drain("a"), json!({})).await;
    assert_eq!(refused.code(), Code::InvalidField, "nothing could be put any more");
    assert!(operator.post(&drain("b"), json!({})).await.status.is_success(), "the others are enough");
    assert!(operator.delete(&drain("b")).await.status.is_success());
    std::fs::rename(&away, &here).unwrap();
    assert!(operator.post(&drain("a"), json!({})).await.status.is_success());
}
