//! Halves that wait for each other in memory, and are settled together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::{Method, StatusCode};
use protocol::batch::{BatchAck, BatchHead};
use protocol::receipt::{Checkpoint, CheckpointAck, NodeReceipt, Observation};
use protocol::{Code, Digest, EpochId, Millis, RunId};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use sea_orm::{EntityTrait as _, PaginatorTrait as _};
use tokio::task::JoinHandle;

use super::super::harness::{Answer, Client, Ground, suite};
use super::sources::body;
use super::{Runs, Signer, as_node};
use crate::db::entities::runs;

suite!(
    halves_wait_for_each_other,
    a_half_that_waits_in_vain_becomes_a_row,
    parts_that_overtake_each_other,
    a_part_that_comes_twice_while_it_waits,
    too_many_halves_do_not_wait,
    whatever_is_killed_everything_is_settled_once,
);

/// The same platform, where halves wait so long for each other.
async fn holding(ground: &Ground, hold: Duration) -> Ground {
    let mut config = ground.app.config.clone();
    (config.settle_hold, config.settle_every) = (Millis::from(hold), Millis(1));
    let app = crate::App::open(config, ground.app.store.clone(), None).await.unwrap();
    Ground { router: crate::router(app.clone()), app, node: ground.node, folder: tempfile::tempdir().unwrap() }
}

fn batch(client: &Client, epoch: EpochId, number: u64, seen: &[Observation]) -> JoinHandle<Answer> {
    let body = body(seen);
    let head = BatchHead { epoch, number, digest: Digest::of(&body), acknowledged: 0 };
    let (client, path) = (client.clone(), format!("/internal/observations?{}", head.query()));
    tokio::spawn(async move { client.raw(Method::POST, &path, body).await })
}

fn checkpoint(client: &Client, checkpoint: &Checkpoint) -> JoinHandle<Answer> {
    let (client, body) = (client.clone(), serde_json::to_vec(checkpoint).unwrap());
    tokio::spawn(async move { client.raw(Method::POST, "/checkpoints", body).await })
}

async fn rows(ground: &Ground) -> u64 {
    runs::Entity::find().count(ground.app.db.read()).await.unwrap()
}

/// Time enough for a cut that should not be.
async fn a_moment() {
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
    let mut held = holding(&ground, Duration::from_secs(60)).await;
    let mut config = held.app.config.clone();
    config.settle_waiting_max = 2;
    held.app = crate::App::open(config, held.app.store.clone(), None).await.unwrap();
    held.router = crate::router(held.app.clone());
    let seen: Vec<Observation> = (0..3).map(|_| runs.halves(&ground, 10, 10).1).collect();
    let told = batch(&held.anonymous(), EpochId::new(), 1, &seen).await.unwrap();
    assert_eq!(told.read::<BatchAck>().committed, 1);
    assert_eq!(rows(&ground).await, 3);
}

/// One who sends: its parts in order, and how many of them are acknowledged. Several are on their way at once.
struct Line<T> {
    parts: Vec<T>,
    acknowledged: usize,
}

impl<T> Line<T> {
    fn next(&self, most: usize) -> std::ops::Range<usize> {
        self.acknowledged..self.parts.len().min(self.acknowledged + most)
    }
}

/// Runs of several gateways and one node, in parts of any size that arrive in any order, at platforms that are killed at
/// any moment: what is not acknowledged is sent again.
async fn whatever_is_killed_everything_is_settled_once(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let mut expected: BTreeMap<RunId, u64> = BTreeMap::new();
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut halves: Vec<(NodeReceipt, Observation)> =
            (0..60).map(|_| runs.halves(&ground, random.random_range(1..50), random.random_range(50..99))).collect();
        expected.extend(halves.iter().map(|(receipt, _)| (receipt.run, receipt.end.usage.wall_us)));
        let epochs = [EpochId::new(), EpochId::new()];
        let mut gateways = [0, 1].map(|which| {
            let seen: Vec<Observation> = halves.iter().skip(which).step_by(2).map(|(_, seen)| seen.clone()).collect();
            Line { parts: seen.chunks(7).map(<[_]>::to_vec).collect::<Vec<_>>(), acknowledged: 0 }
        });
        halves.shuffle(&mut random);
        let mut signed = Line { parts: Vec::new(), acknowledged: 0 };
        for some in halves.chunks(11) {
            let next = node.next(some.iter().map(|(receipt, _)| receipt.clone()).collect());
            (node.sequence, node.last) = (next.sequence, next.digest);
            signed.parts.push(next);
        }
        let mut rounds = 0;
        while signed.acknowledged < signed.parts.len()
            || gateways.iter().any(|line| line.acknowledged < line.parts.len())
        {
            rounds += 1;
            assert!(rounds < 200, "it goes on");
            let held = holding(&ground, Duration::from_millis(random.random_range(0..20))).await;
            let receipts = as_node(crate::api::nodes::receipt(held.app.clone()), ground.node);
            let mut sent: Vec<(Option<usize>, usize, JoinHandle<Answer>)> = Vec::new();
            for (which, line) in gateways.iter().enumerate() {
                for at in line.next(3) {
                    let number = u64::try_from(at).unwrap() + 1;
                    sent.push((Some(which), at, batch(&held.anonymous(), epochs[which], number, &line.parts[at])));
                }
            }
            for at in signed.next(3) {
                sent.push((None, at, checkpoint(&receipts, &signed.parts[at])));
            }
            // Now and then it is killed in the middle, and nobody hears an answer.
            let patience =
                Duration::from_millis(if random.random_bool(0.3) { random.random_range(0..10) } else { 5000 });
            let deadline = tokio::time::Instant::now() + patience;
            for (which, at, task) in sent {
                let stop = task.abort_handle();
                let Ok(answer) = tokio::time::timeout_at(deadline, task).await else {
                    stop.abort();
                    continue;
                };
                let answer = answer.unwrap();
                let line = match which {
                    Some(which) => &mut gateways[which].acknowledged,
                    None => &mut signed.acknowledged,
                };
                let committed = match (which, answer.status) {
                    (Some(_), StatusCode::OK) => answer.read::<BatchAck>().committed,
                    (None, StatusCode::OK) => answer.read::<CheckpointAck>().sequence - signed.parts[0].sequence + 1,
                    _ => continue,
                };
                *line = (*line).max(usize::try_from(committed).unwrap().min(at + 3));
            }
        }
    }
    let rows = runs::Entity::find().all(ground.app.db.read()).await.unwrap();
    let found: BTreeSet<RunId> = rows.iter().map(|row| row.run_id.0).collect();
    assert_eq!(found.len(), expected.len(), "none is lost");
    assert!(rows.iter().all(|row| row.settled && row.flag.is_none()), "{rows:?}");
    let usage = runs.usage().await;
    assert_eq!((usage.runs, usage.flagged), (u64::try_from(expected.len()).unwrap(), 0));
    assert_eq!(usage.wall_us, expected.values().sum::<u64>());
}
