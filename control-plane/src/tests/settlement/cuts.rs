//! Halves that wait for each other in memory, and are settled together.

use std::time::Duration;

use http::{Method, StatusCode};
use parking_lot::Mutex;
use protocol::batch::{BatchAck, BatchHead};
use protocol::receipt::{Checkpoint, CheckpointAck, Observation};
use protocol::{Code, Digest, EpochId, Millis};
use sea_orm::{EntityTrait as _, PaginatorTrait as _};
use tokio::task::JoinHandle;

use super::super::harness::{Answer, Client, Ground, suite};
use super::sources::body;
use super::{Runs, Signer, as_node};
use crate::Config;
use crate::db::columns::Col;
use crate::db::entities::{nodes, runs};

suite!(
    halves_wait_for_each_other,
    a_half_that_waits_in_vain_becomes_a_row,
    parts_that_overtake_each_other,
    what_others_settle_meanwhile_changes_no_order,
    what_waits_is_not_told_as_committed,
    a_part_that_comes_twice_while_it_waits,
    too_many_halves_do_not_wait,
);

/// The same platform, where halves wait so long for each other.
pub(super) async fn holding(ground: &Ground, hold: Duration) -> Ground {
    with(ground, |config| (config.settle_hold, config.settle_every) = (Millis::from(hold), Millis(1))).await
}

/// The same platform, where another control plane leads.
async fn with(ground: &Ground, change: impl FnOnce(&mut Config)) -> Ground {
    let mut config = ground.app.config.clone();
    change(&mut config);
    let app = crate::App::open(config, ground.app.store.clone(), None).await.unwrap();
    let (router, folder) = (crate::router(app.clone()), tempfile::tempdir().unwrap());
    let other = Ground { router, app, node: ground.node, folder, term: Mutex::default() };
    other.lead().await;
    other
}

pub(super) fn batch(client: &Client, epoch: EpochId, number: u64, seen: &[Observation]) -> JoinHandle<Answer> {
    let body = body(seen);
    let head = BatchHead { epoch, number, digest: Digest::of(&body), acknowledged: 0 };
    let (client, path) = (client.clone(), format!("/internal/observations?{}", head.query()));
    tokio::spawn(async move { client.raw(Method::POST, &path, body).await })
}

fn checkpoint(client: &Client, checkpoint: &Checkpoint) -> JoinHandle<Answer> {
    let (client, body) = (client.clone(), serde_json::to_vec(checkpoint).unwrap());
    tokio::spawn(async move { client.raw(Method::POST, "/checkpoints", body).await })
}

pub(super) async fn rows(ground: &Ground) -> u64 {
    runs::Entity::find().count(ground.app.db.read()).await.unwrap()
}

/// Time enough for a cut that should not be.
pub(super) async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn halves_wait_for_each_other(ground: Ground) {
    let (runs, node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let held = holding(&ground, Duration::from_secs(60)).await;
    let receipts = as_node(crate::api::nodes::receipt(held.app.clone()), ground.node);
    let (receipt, seen) = runs.halves(&ground, 3000, 2000);
    let told = batch(&held.anonymous(), EpochId::new(), 1, std::slice::from_ref(&seen));
    a_moment().await;
    assert!(!told.is_finished());
    assert_eq!(rows(&ground).await, 0, "nothing is written of what waits");
    let signed = node.next(vec![receipt]);
    let claimed = checkpoint(&receipts, &signed).await.unwrap();
    assert_eq!(claimed.read::<CheckpointAck>().sequence, 1);
    assert_eq!(told.await.unwrap().read::<BatchAck>(), BatchAck { committed: 1, void: 0 });
    let run = runs.run(seen.run).await;
    assert!(run.settled);
    assert_eq!((run.usage.wall_us, runs.usage().await.runs), (2000, 1));
}

async fn a_half_that_waits_in_vain_becomes_a_row(ground: Ground) {
    let (runs, node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let held = holding(&ground, Duration::from_millis(50)).await;
    let receipts = as_node(crate::api::nodes::receipt(held.app.clone()), ground.node);
    let (receipt, seen) = runs.halves(&ground, 3000, 2000);
    let told = batch(&held.anonymous(), EpochId::new(), 1, std::slice::from_ref(&seen)).await.unwrap();
    assert_eq!(told.read::<BatchAck>().committed, 1);
    assert!(!runs.run(seen.run).await.settled);
    let claimed = checkpoint(&receipts, &node.next(vec![receipt])).await.unwrap();
    assert_eq!(claimed.status, StatusCode::OK);
    assert!(runs.run(seen.run).await.settled);
    assert_eq!(runs.usage().await.flagged, 0);
}

async fn parts_that_overtake_each_other(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let held = holding(&ground, Duration::from_secs(60)).await;
    let receipts = as_node(crate::api::nodes::receipt(held.app.clone()), ground.node);
    let halves: Vec<_> = (0..3).map(|_| runs.halves(&ground, 10, 10)).collect();
    let (epoch, client) = (EpochId::new(), held.anonymous());
    let mut signed = Vec::new();
    for (receipt, _) in &halves {
        let next = node.next(vec![receipt.clone()]);
        (node.sequence, node.last) = (next.sequence, next.digest);
        signed.push(next);
    }
    // The last ones first: nothing of them counts before those that they follow are there.
    let mut told = Vec::new();
    let mut claimed = Vec::new();
    for number in [3_u64, 2] {
        let at = usize::try_from(number).unwrap() - 1;
        told.push((number, batch(&client, epoch, number, std::slice::from_ref(&halves[at].1))));
        claimed.push((number, checkpoint(&receipts, &signed[at])));
    }
    a_moment().await;
    assert!(told.iter().all(|(_, told)| !told.is_finished()));
    assert_eq!(rows(&ground).await, 0);
    told.push((1, batch(&client, epoch, 1, std::slice::from_ref(&halves[0].1))));
    claimed.push((1, checkpoint(&receipts, &signed[0])));
    for (number, told) in told {
        assert!(told.await.unwrap().read::<BatchAck>().committed >= number);
    }
    for (number, claimed) in claimed {
        assert!(claimed.await.unwrap().read::<CheckpointAck>().sequence >= number);
    }
    let usage = runs.usage().await;
    assert_eq!((usage.runs, usage.flagged), (3, 0));
}

/// Each of the others' turns may come between a plan and its cut.
async fn what_others_settle_meanwhile_changes_no_order(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let held = holding(&ground, Duration::from_secs(60)).await;
    let receipts = as_node(crate::api::nodes::receipt(held.app.clone()), ground.node);
    let halves: Vec<_> = (0..30).map(|_| runs.halves(&ground, 10, 10)).collect();
    let others: Vec<Observation> = (0..30).map(|_| runs.halves(&ground, 10, 10).1).collect();
    let (epoch, client) = (EpochId::new(), held.anonymous());
    let meanwhile = tokio::spawn({
        let client = client.clone();
        async move {
            for seen in others {
                let body = serde_json::to_value([seen]).unwrap();
                let answer = client.send(Method::POST, "/internal/observations", Some(body)).await;
                assert!(answer.status.is_success(), "{answer:?}");
            }
        }
    });
    let (mut told, mut claimed) = (Vec::new(), Vec::new());
    for (number, (receipt, seen)) in (1_u64..).zip(&halves) {
        let next = node.next(vec![receipt.clone()]);
        (node.sequence, node.last) = (next.sequence, next.digest);
        told.push((number, batch(&client, epoch, number, std::slice::from_ref(seen))));
        claimed.push((number, checkpoint(&receipts, &next)));
    }
    for (number, told) in told {
        assert!(told.await.unwrap().read::<BatchAck>().committed >= number);
    }
    for (number, claimed) in claimed {
        assert!(claimed.await.unwrap().read::<CheckpointAck>().sequence >= number);
    }
    meanwhile.await.unwrap();
    assert_eq!(rows(&ground).await, 60);
    for (_, seen) in &halves {
        assert!(runs.run(seen.run).await.settled);
    }
    let row = nodes::Entity::find_by_id(Col(ground.node)).one(ground.app.db.read()).await.unwrap().unwrap();
    assert_eq!((row.checkpoint, row.checkpoint_digest), (30, Col(node.last)));
}

/// One that is too early is answered while the one that it does not follow yet still waits.
async fn what_waits_is_not_told_as_committed(ground: Ground) {
    let runs = Runs::start(&ground).await;
    let held = holding(&ground, Duration::from_millis(250)).await;
    let (epoch, client) = (EpochId::new(), held.anonymous());
    let seen: Vec<Observation> = (0..2).map(|_| runs.halves(&ground, 10, 10).1).collect();
    let early = batch(&client, epoch, 3, &seen[..1]);
    a_moment().await;
    let first = batch(&client, epoch, 1, &seen[1..]);
    assert_eq!(early.await.unwrap().read::<BatchAck>().committed, 0);
    assert_eq!(first.await.unwrap().read::<BatchAck>().committed, 1);
}

async fn a_part_that_comes_twice_while_it_waits(ground: Ground) {
    let (runs, node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let held = holding(&ground, Duration::from_secs(60)).await;
    let receipts = as_node(crate::api::nodes::receipt(held.app.clone()), ground.node);
    let ((receipt, seen), (_, other)) = (runs.halves(&ground, 10, 10), runs.halves(&ground, 10, 10));
    let (epoch, client) = (EpochId::new(), held.anonymous());
    let first = batch(&client, epoch, 1, std::slice::from_ref(&seen));
    a_moment().await;
    let again = batch(&client, epoch, 1, std::slice::from_ref(&seen));
    let conflict = batch(&client, epoch, 1, &[other]).await.unwrap();
    assert_eq!(conflict.code(), Code::ControlPlaneUnavailable, "which of them it is, is decided soon");
    assert_eq!(checkpoint(&receipts, &node.next(vec![receipt])).await.unwrap().status, StatusCode::OK);
    assert_eq!(first.await.unwrap().read::<BatchAck>().committed, 1);
    assert_eq!(again.await.unwrap().read::<BatchAck>().committed, 1);
    assert_eq!(runs.usage().await.runs, 1);
}

async fn too_many_halves_do_not_wait(ground: Ground) {
    let runs = Runs::start(&ground).await;
    let held = with(&ground, |config| {
        (config.settle_hold, config.settle_every) = (Millis(60_000), Millis(1));
        config.settle_waiting_max = 2;
    })
    .await;
    let seen: Vec<Observation> = (0..3).map(|_| runs.halves(&ground, 10, 10).1).collect();
    let told = batch(&held.anonymous(), EpochId::new(), 1, &seen).await.unwrap();
    assert_eq!(told.read::<BatchAck>().committed, 1);
    assert_eq!(rows(&ground).await, 3);
}
