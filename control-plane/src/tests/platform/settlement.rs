//! The office of settlement, on a real nats-server: one control plane has mounted what takes halves, and the next one when
//! that one stops or has lost its lease.

use std::time::{Duration, Instant};

use fabric::{CallOptions, CoreService, Fabric, Identity, Target};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use protocol::batch::{BatchAck, BatchHead};
use protocol::{Digest, EpochId, InstanceId};
use sea_orm::EntityTrait as _;

use super::{Platform, control_plane};
use crate::db::count;
use crate::db::entities::leader as leaders;
use crate::leader::{self, Office};
use crate::tests::postgres::Postgres;

/// Up to where a gateway's batches are committed, when it has sent this one; none where nobody takes it.
async fn post(core: &Fabric, epoch: EpochId, number: u64) -> Option<u64> {
    let head = BatchHead { epoch, number, digest: Digest::of(b"[]"), acknowledged: 0 };
    let request = Request::post(format!("/internal/observations?{}", head.query()));
    let request = request.header("content-type", "application/json").body(fabric::full("[]")).unwrap();
    let to = Target::Core(CoreService::Settlement);
    let response = core.call(to, request, CallOptions::default()).await.ok()?.response;
    let status = response.status();
    let body = response.into_body().collect().await.ok()?.to_bytes();
    (status == StatusCode::OK).then(|| serde_json::from_slice::<BatchAck>(&body).unwrap().committed)
}

/// Sends it again until somebody takes it.
async fn posted(core: &Fabric, epoch: EpochId, number: u64, within: Duration) {
    let begun = Instant::now();
    while post(core, epoch, number).await != Some(number) {
        assert!(begun.elapsed() < within, "nobody takes batch {number} within {within:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn halves_go_to_the_leader_and_then_to_the_next_one() {
    let platform = Platform::start(None).await;
    let (ground, lease) = (&platform.ground, platform.ground.app.config.lease.duration());
    let core = platform.fabric(Identity::Core(InstanceId::new())).await;
    let epoch = EpochId::new();
    assert_eq!(post(&core, epoch, 1).await, Some(1), "it is mounted before the control plane is ready");

    let database = ground.app.config.database.clone();
    let (second, stop, task) =
        control_plane(&platform.server, &platform.authority, ground.folder.path(), database, ground.node).await;
    platform.stop.cancel();
    posted(&core, epoch, 2, lease).await;

    // It has been paused, and somebody else has led meanwhile.
    // (So short a lease makes the one that there is look as if a clock had jumped.)
    leader::lead(&second.db, Office::Settlement, InstanceId::new(), lease / 4).await.unwrap().unwrap();
    assert_eq!(post(&core, epoch, 3).await, None, "its cuts change nothing");
    posted(&core, epoch, 3, lease * 3).await;
    stop.cancel();
    task.await.unwrap().unwrap();
    platform.end().await;
}

/// Takes longer than a lease: that is what it is about.
async fn the_office_is_kept_while_a_cut_waits(database: Option<String>) {
    let platform = Platform::start(database).await;
    let (db, lease) = (&platform.ground.app.db, platform.ground.app.config.lease.duration());
    let core = platform.fabric(Identity::Core(InstanceId::new())).await;
    let epoch = EpochId::new();
    assert_eq!(post(&core, epoch, 1).await, Some(1));
    let all = async || leaders::Entity::find().all(db.read()).await.unwrap();
    let office = |rows: Vec<leaders::Model>| rows.into_iter().find(|row| row.id == 3).map(|row| row.epoch);
    let before = office(all().await);
    // What each cut waits for.
    let tx = db.begin().await.unwrap();
    count(&tx, "settle", 0).await.unwrap();
    let hold = async {
        tokio::time::sleep(lease * 3 / 2).await;
        tx.rollback().await.unwrap();
    };
    let (committed, ()) = tokio::join!(post(&core, epoch, 2), hold);
    assert_eq!(committed, Some(2), "it was mounted all the time");
    assert_eq!(office(all().await), before);
    platform.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_office_is_kept_while_a_cut_waits_on_sqlite() {
    Box::pin(the_office_is_kept_while_a_cut_waits(None)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_office_is_kept_while_a_cut_waits_on_postgres() {
    let server = Postgres::start().await;
    Box::pin(the_office_is_kept_while_a_cut_waits(Some(server.database("kept").await))).await;
}

/// Takes a little longer than a lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_hears_nobody_does_not_lead() {
    let platform = Platform::start(None).await;
    let (app, lease) = (&platform.ground.app, platform.ground.app.config.lease.duration());
    let next = async || leader::lead(&app.db, Office::Settlement, InstanceId::new(), lease).await.unwrap();
    assert_eq!(next().await, None);
    app.fabrics.as_ref().unwrap().core.close().await;
    let begun = Instant::now();
    while next().await.is_none() {
        assert!(begun.elapsed() < lease * 4, "the database alone is enough to keep the office");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // How it ends without a connection is no matter of this.
    platform.task.abort();
    platform.server.stop().await;
}

/// A request, perhaps, that is cut off and does not know it yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_nobody_who_writes() {
    let platform = Platform::start(None).await;
    let tx = platform.ground.app.db.begin().await.unwrap();
    let begun = Instant::now();
    platform.end().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    drop(tx);
}
