//! Deaths between all steps, from seeds: whatever a row refers to is there, and what nobody refers to goes.

use std::collections::BTreeSet;

use bytes::Bytes;
use protocol::{AccountId, BlobId, ByteSize, Digest, InstanceId, Millis};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use sea_orm::EntityTrait as _;
use tokio::task::JoinHandle;

use super::epochs::end_lease;
use super::{commit, disown, in_hours, in_index, in_store, read};
use crate::db::entities::{artifacts, store_epochs};
use crate::objects::Epochs;
use crate::objects::sweep::Sweep;
use crate::tests::harness::{Ground, suite};
use crate::{App, Config};

suite!(whatever_dies_nothing_is_lost_and_nothing_is_left);

const SEEDS: u64 = 12;
/// Where writers die; mostly they do not.
pub(super) const WRITE_POINTS: [&str; 7] = ["", "", "", "segment.kept", "blob.put", "blob.kept", "blob.committed"];
/// Where sweeps die.
pub(super) const SWEEP_POINTS: [&str; 8] =
    ["", "", "blob.doomed", "segment.deleted", "blob.deleted", "blob.forgotten", "store.horizon", "store.listed"];

async fn whatever_dies_nothing_is_lost_and_nothing_is_left(ground: Ground) {
    let change = |config: &mut Config| config.store_doomed_for = Millis(0);
    let ground = Ground::on(ground.app.config.database.clone(), change).await;
    for seed in 0..seeds(SEEDS) {
        let mut random = StdRng::seed_from_u64(seed);
        Box::pin(live(&ground.app, &mut random, seed)).await;
        Box::pin(settle(&ground.app, seed)).await;
    }
}

/// How many seeds there are: so few, or as many as `CROWDCLOUD_SEEDS` says.
pub(super) fn seeds(few: u64) -> u64 {
    std::env::var("CROWDCLOUD_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(few)
}

/// Writers, owners and sweeps, some of which die.
async fn live(app: &App, random: &mut StdRng, seed: u64) {
    let account = AccountId::new();
    let mut writer = process(app);
    for _ in 0..random.random_range(5..15) {
        let mut tasks = Vec::new();
        for _ in 0..random.random_range(1..4) {
            tasks.push(tokio::spawn(write(app.clone(), writer.clone(), account, random.random())));
            if random.random_bool(0.5) {
                tasks.push(tokio::spawn(sweep(app.clone(), SWEEP_POINTS.choose(random).unwrap())));
            }
        }
        // It is paused for longer than its lease, and goes on.
        if random.random_bool(0.3) {
            end_all(app).await;
        }
        if random.random_bool(0.4) {
            let rows = artifacts::Entity::find().all(app.db.read()).await.unwrap();
            if let Some(row) = rows.choose(random) {
                let blob = crate::objects::open(app, app.db.read(), row.blob.unwrap().0).await.unwrap();
                disown(app, row.account_id.0, &blob).await;
            }
        }
        for task in tasks {
            ended(task, seed).await;
        }
        // It dies without a word, or hears what has become of its epochs.
        match random.random_range(0..3) {
            0 => writer = process(app),
            1 => writer.tend().await.unwrap(),
            _ => {}
        }
        all_is_there(app, seed).await;
    }
}

/// Waits for a task, and gives the point at which it has died. It dies of nothing else.
pub(super) async fn ended(task: JoinHandle<()>, seed: u64) -> Option<String> {
    let why = task.await.err()?.into_panic();
    let why = why.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".to_owned());
    let point = why.strip_prefix("the task dies at ").unwrap_or_else(|| panic!("seed {seed}: {why}"));
    Some(point.to_owned())
}

pub(super) fn process(app: &App) -> Epochs {
    Epochs::new(app.db.clone(), InstanceId::new(), app.config.store_epoch_lease)
}

pub(super) async fn end_all(app: &App) {
    for row in store_epochs::Entity::find().all(app.db.read()).await.unwrap() {
        end_lease(app, row.epoch.0).await;
    }
}

/// Puts something and commits it, or dies, or comes too late.
async fn write(app: App, writer: Epochs, account: AccountId, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let point = *WRITE_POINTS.choose(&mut random).unwrap();
    let mut bytes = vec![0_u8; random.random_range(0..300_000)];
    random.fill(&mut bytes[..]);
    let written = async {
        let writing = writer.writing().await.unwrap();
        let blob = app.store.put_bytes(writing.epoch(), Bytes::from(bytes)).await.unwrap();
        fabric::fault::point("blob.put");
        // Its lease may have ended.
        if commit(&app, account, &blob).await.is_ok() {
            fabric::fault::point("blob.committed");
        }
        drop(writing);
    };
    fabric::fault::die_at(point, Box::pin(written)).await;
}

pub(super) async fn sweep(app: App, point: &'static str) {
    let swept = async { Sweep::new(&app).whole(in_hours(2)).await.unwrap() };
    fabric::fault::die_at(point, Box::pin(swept)).await;
}

/// Each row's bytes can be read whole.
pub(super) async fn all_is_there(app: &App, seed: u64) -> BTreeSet<BlobId> {
    let mut needed = BTreeSet::new();
    for row in artifacts::Entity::find().all(app.db.read()).await.unwrap() {
        let id = row.blob.unwrap().0;
        let bytes = read(app, id).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!((Digest::of(&bytes), ByteSize(bytes.len() as u64)), (row.digest.0, row.size.0), "seed {seed}");
        needed.insert(id);
    }
    needed
}

/// All writers have gone: two sweeps later there is nothing that nobody needs.
async fn settle(app: &App, seed: u64) {
    end_all(app).await;
    for _ in 0..2 {
        sweep(app.clone(), "").await;
    }
    let needed = all_is_there(app, seed).await;
    assert_eq!(in_store(app).await, needed, "seed {seed}");
    assert_eq!(in_index(app).await, needed, "seed {seed}");
    // What the next ones look at is theirs.
    artifacts::Entity::delete_many().exec(app.db.write()).await.unwrap();
}
