//! Blobs from their commit to their end, on both databases.

mod disk_faults;
mod epochs;
mod faults;
mod keys;
mod lies;
mod repair;
mod schema;
mod trouble;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::{AccountId, Blob, BlobId, ByteSize, Code, Digest, Millis, Timestamp};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, DatabaseTransaction, EntityTrait as _, QueryFilter as _};
use store::{Engine, Store, engine};
use tokio_util::sync::CancellationToken;

use super::sweep::Sweep;
use super::{Address, ReadError, Writing, claim};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::{artifacts, blobs, store_engines, store_horizon};
use crate::error::Result;
use crate::tests::harness::{Ground, suite};

suite!(
    a_blob_lives_as_long_as_something_refers_to_it,
    a_commit_may_be_repeated,
    large_blobs_go_whole,
    only_the_newest_models_stay,
    who_refers_in_time_is_seen,
    two_leaders_take_nothing_that_is_needed,
    the_leader_sweeps_by_itself,
    where_something_is_stands_in_its_row,
    one_disk_that_has_gone_stops_nothing,
    a_clock_that_has_jumped_back_delays_nothing,
    clocks_that_are_a_day_off_cost_nothing,
    the_same_upload_twice_leaves_one_blob,
);

const HOUR: Duration = Duration::from_secs(3600);

/// So many hours from now.
fn in_hours(hours: u32) -> Timestamp {
    Timestamp::now().plus(HOUR * hours)
}

async fn put(app: &App, bytes: &[u8]) -> (Writing, Blob) {
    let writing = app.epochs.writing().await.unwrap();
    let blob = app.store.put_bytes(writing.epoch(), Bytes::copy_from_slice(bytes)).await.unwrap();
    (writing, blob)
}

/// A row that refers to it.
async fn own(tx: &DatabaseTransaction, account: AccountId, blob: &Blob) {
    let row = artifacts::ActiveModel {
        account_id: Set(account.into()),
        digest: Set(blob.digest.into()),
        size: Set(blob.size.into()),
        blob: Set(Some(blob.id.into())),
        root: Set(None),
        created: Set(Timestamp::now().into()),
    };
    artifacts::Entity::insert(row).exec_without_returning(tx).await.unwrap();
}

/// Commits it with its first row.
async fn commit(app: &App, account: AccountId, blob: &Blob) -> Result<()> {
    let tx = app.db.begin().await?;
    super::keep(app, &tx, Some(account), blob).await?;
    own(&tx, account, blob).await;
    tx.commit().await?;
    Ok(())
}

async fn stored(app: &App, account: AccountId, bytes: &[u8]) -> Blob {
    let (_writing, blob) = put(app, bytes).await;
    commit(app, account, &blob).await.unwrap();
    blob
}

async fn disown(app: &App, account: AccountId, blob: &Blob) {
    let row = artifacts::Entity::delete_by_id((Col(account), Col(blob.digest)));
    assert_eq!(row.exec(app.db.write()).await.unwrap().rows_affected, 1);
}

async fn sweep(app: &App, now: Timestamp) {
    Sweep::new(app).whole(now).await.unwrap();
}

async fn read(app: &App, id: BlobId) -> Result<Bytes, ReadError> {
    super::read_whole(app, app.db.read(), Address::Blob(id), ByteSize::mib(16)).await
}

/// The blobs of which the store has something.
async fn in_store(app: &App) -> BTreeSet<BlobId> {
    app.store.list(None, 10_000).await.unwrap().into_iter().map(|listed| listed.name.blob).collect()
}

/// The blobs of the index.
async fn in_index(app: &App) -> BTreeSet<BlobId> {
    blobs::Entity::find().all(app.db.read()).await.unwrap().into_iter().map(|row| row.id.0).collect()
}

async fn refer(app: &App, id: BlobId) -> Result<()> {
    let tx = app.db.begin().await?;
    super::refer(&tx, id).await
}

fn is_refused(result: Result<impl std::fmt::Debug>) {
    let problem = result.unwrap_err().problem();
    assert_eq!((problem.code, problem.status), (Code::StorageUnavailable, 503), "{problem:?}");
}

async fn a_blob_lives_as_long_as_something_refers_to_it(ground: Ground) {
    let (app, account) = (&ground.app, AccountId::new());
    let (kept, gone) = (stored(app, account, b"kept").await, stored(app, account, b"gone").await);
    let bytes = async || super::kept(app.db.read(), account).await.unwrap().bytes().0;
    assert_eq!(bytes().await, 8);
    let opened = super::open(app, app.db.read(), kept.id).await.unwrap();
    assert_eq!(opened, kept);

    sweep(app, in_hours(2)).await;
    assert_eq!(in_store(app).await, BTreeSet::from([kept.id, gone.id]));
    refer(app, gone.id).await.unwrap();

    disown(app, account, &gone).await;
    assert_eq!(bytes().await, 4, "at once, although it is there until the sweep");
    sweep(app, Timestamp::now()).await;
    refer(app, gone.id).await.unwrap();
    let doomed = in_hours(2);
    sweep(app, doomed).await;
    is_refused(refer(app, gone.id).await);
    is_refused(commit(app, account, &gone).await);
    sweep(app, doomed.plus(HOUR * 23)).await;
    assert_eq!(&read(app, gone.id).await.unwrap()[..], b"gone", "whoever reads it can finish");

    sweep(app, doomed.plus(HOUR * 25)).await;
    assert_eq!(in_store(app).await, BTreeSet::from([kept.id]));
    assert_eq!(in_index(app).await, BTreeSet::from([kept.id]));
    assert!(read(app, gone.id).await.unwrap_err().is_missing());
    is_refused(refer(app, gone.id).await);
    assert_eq!(&read(app, kept.id).await.unwrap()[..], b"kept");
    assert_eq!(bytes().await, 4);
}

/// The answer to the first commit was lost.
async fn a_commit_may_be_repeated(ground: Ground) {
    let (app, account) = (&ground.app, AccountId::new());
    let blob = stored(app, account, b"some bytes").await;
    app.epochs.close().await.unwrap();
    let tx = app.db.begin().await.unwrap();
    assert_eq!(super::keep(app, &tx, Some(account), &blob).await.unwrap(), blob.id);
    tx.commit().await.unwrap();
    assert_eq!(in_index(app).await, BTreeSet::from([blob.id]));
}

async fn large_blobs_go_whole(ground: Ground) {
    let (app, account) = (&ground.app, AccountId::new());
    let bytes = vec![7_u8; 9 * 1024 * 1024];
    let (owned, (writing, lost)) = (stored(app, account, &bytes).await, put(app, &bytes).await);
    assert_eq!(app.store.list(None, 100).await.unwrap().len(), 6);
    drop(writing);
    app.epochs.close().await.unwrap();
    sweep(app, in_hours(2)).await;
    assert_eq!(in_store(app).await, BTreeSet::from([owned.id]), "{} was never committed", lost.id);
    assert_eq!(Digest::of(&read(app, owned.id).await.unwrap()), owned.digest);
    disown(app, account, &owned).await;
    let doomed = in_hours(2);
    sweep(app, doomed).await;
    sweep(app, doomed.plus(HOUR * 25)).await;
    assert!(in_store(app).await.is_empty());
}

async fn only_the_newest_models_stay(ground: Ground) {
    let app = &ground.app;
    let mut models = Vec::new();
    for number in 0..5_u8 {
        let (_writing, blob) = put(app, &[number]).await;
        let tx = app.db.begin().await.unwrap();
        super::keep_model(app, &tx, &blob, Timestamp(i64::from(number))).await.unwrap();
        tx.commit().await.unwrap();
        models.push(blob.id);
    }
    let doomed = in_hours(2);
    sweep(app, doomed).await;
    sweep(app, doomed.plus(HOUR * 25)).await;
    assert_eq!(in_index(app).await, models[2..].iter().copied().collect::<BTreeSet<_>>());
}

/// A row that refers to it is on its way while its only owner has gone, and the sweep comes.
async fn who_refers_in_time_is_seen(ground: Ground) {
    let (app, account, other) = (&ground.app, AccountId::new(), AccountId::new());
    let blob = stored(app, account, b"shared").await;
    disown(app, account, &blob).await;
    let tx = app.db.begin().await.unwrap();
    super::refer(&tx, blob.id).await.unwrap();
    own(&tx, other, &blob).await;
    let sweeping = tokio::spawn({
        let app = app.clone();
        async move { sweep(&app, in_hours(2)).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!sweeping.is_finished(), "it waits for whoever refers");
    tx.commit().await.unwrap();
    sweeping.await.unwrap();
    let row = blobs::Entity::find_by_id(Col(blob.id)).one(app.db.read()).await.unwrap().unwrap();
    assert_eq!(row.doomed, None);
}

async fn two_leaders_take_nothing_that_is_needed(ground: Ground) {
    let change = |config: &mut crate::Config| config.store_doomed_for = Millis(0);
    let ground = Ground::on(ground.app.config.database.clone(), change).await;
    let (app, account) = (&ground.app, AccountId::new());
    let mut needed = BTreeSet::new();
    for number in 0..30_u8 {
        let (_writing, blob) = put(app, &[number; 100]).await;
        if number % 3 == 0 {
            continue;
        }
        commit(app, account, &blob).await.unwrap();
        if number % 3 == 1 {
            disown(app, account, &blob).await;
        } else {
            needed.insert(blob.id);
        }
    }
    app.epochs.close().await.unwrap();
    let now = in_hours(2);
    let (mut one, mut other) = (Sweep::new(app), Sweep::new(app));
    let (first, second) = tokio::join!(one.whole(now), other.whole(now));
    first.unwrap();
    second.unwrap();
    sweep(app, now).await;
    assert_eq!((in_store(app).await, in_index(app).await), (needed.clone(), needed.clone()));
    for id in needed {
        assert_eq!(read(app, id).await.unwrap().len(), 100);
    }
    let rows = artifacts::Entity::find().filter(artifacts::Column::Blob.is_not_null());
    assert_eq!(rows.all(app.db.read()).await.unwrap().len(), 10);
}

async fn the_leader_sweeps_by_itself(ground: Ground) {
    let change = |config: &mut crate::Config| config.store_doomed_for = Millis(0);
    let ground = Ground::on(ground.app.config.database.clone(), change).await;
    let (app, account) = (&ground.app, AccountId::new());
    let (kept, gone) = (stored(app, account, b"kept").await, stored(app, account, b"gone").await);
    disown(app, account, &gone).await;
    let (writing, lost) = put(app, b"never committed").await;
    drop(writing);
    app.epochs.close().await.unwrap();
    // As if they had been there for long.
    let aged = blobs::Entity::update_many().col_expr(blobs::Column::Created, 0_i64.into());
    aged.exec(app.db.write()).await.unwrap();
    let stop = CancellationToken::new();
    let leaders = [(); 2].map(|()| tokio::spawn(super::sweep(app.clone(), stop.clone())));
    let swept = async {
        while in_store(app).await != BTreeSet::from([kept.id]) || in_index(app).await != BTreeSet::from([kept.id]) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), swept).await;
    in_time.unwrap_or_else(|_| panic!("{} and {} are to go", gone.id, lost.id));
    stop.cancel();
    for leader in leaders {
        leader.await.unwrap();
    }
    assert!(last_listed(app).await > Timestamp(0), "the next one is due in a day");
}

fn segments_in(disk: &Path) -> usize {
    let shards = std::fs::read_dir(disk.join("blobs")).unwrap();
    shards.map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap().count()).sum()
}

async fn last_listed(app: &App) -> Timestamp {
    store_horizon::Entity::find_by_id(1).one(app.db.read()).await.unwrap().unwrap().listed.0
}

/// The other one has room again, and what the first one has is deleted when it is back.
async fn one_disk_that_has_gone_stops_nothing(ground: Ground) {
    let [one, other] = ["one", "other"].map(|name| ground.folder.path().join(name));
    let open = |folder: &PathBuf| Arc::new(engine::Disk::open(folder).unwrap()) as Arc<dyn Engine>;
    let store = Store::on([&one, &other].into_iter().map(open).collect(), NonZeroUsize::MIN);
    // The one that it was on until now is its own no more.
    store_engines::Entity::delete_many().exec(ground.app.db.write()).await.unwrap();
    let app = &App::open(ground.app.config.clone(), store, None).await.unwrap();
    let account = AccountId::new();
    let mut blobs = Vec::new();
    // More than one step deletes.
    for number in 0..130_u8 {
        blobs.push(stored(app, account, &[number; 3]).await);
    }
    // And what was never committed.
    for number in 0..20 {
        drop(put(app, &[number]).await);
    }
    app.epochs.close().await.unwrap();
    for blob in &blobs {
        disown(app, account, blob).await;
    }
    let on_one = segments_in(&one);
    assert_eq!(on_one + segments_in(&other), 150);

    let away = ground.folder.path().join("away");
    std::fs::rename(&one, &away).unwrap();
    let doomed = in_hours(2);
    sweep(app, doomed).await;
    assert_eq!(last_listed(app).await, Timestamp(0), "not all was done");
    sweep(app, doomed.plus(HOUR * 25)).await;
    assert_eq!((segments_in(&away), segments_in(&other)), (on_one, 0));
    assert_eq!(in_index(app).await.len(), 130, "they may be on the one that has gone");
    std::fs::rename(&away, &one).unwrap();
    claim::look(&app.db, &app.store).await.unwrap();
    sweep(app, doomed.plus(HOUR * 25)).await;
    assert_eq!((segments_in(&one), in_index(app).await.len()), (0, 0));
    assert_eq!(last_listed(app).await, doomed.plus(HOUR * 25));
}

async fn a_clock_that_has_jumped_back_delays_nothing(ground: Ground) {
    let (app, account) = (&ground.app, AccountId::new());
    let blob = stored(app, account, b"gone").await;
    disown(app, account, &blob).await;
    let ahead = in_hours(10_000);
    sweep(app, ahead).await;
    assert_eq!(last_listed(app).await, ahead);
    Sweep::new(app).turn().await.unwrap();
    assert!(last_listed(app).await <= Timestamp::now());

    assert_eq!(in_index(app).await, BTreeSet::from([blob.id]), "a day is still left");
    sweep(app, in_hours(26)).await;
    assert!(in_index(app).await.is_empty());
}

/// That of the process that commits, or the database's.
async fn clocks_that_are_a_day_off_cost_nothing(ground: Ground) {
    let (app, account) = (&ground.app, AccountId::new());
    let blobs = [stored(app, account, b"behind").await, stored(app, account, b"ahead").await];
    let (writing, late) = put(app, b"still being written").await;
    let now = Timestamp::now();
    let days = [now.0 - 86_400_000, now.0 + 86_400_000];
    for (blob, created) in blobs.iter().zip(days) {
        let row = blobs::Entity::update_many().col_expr(blobs::Column::Created, created.into());
        row.filter(blobs::Column::Id.eq(Col(blob.id))).exec(app.db.write()).await.unwrap();
    }
    let all = BTreeSet::from([blobs[0].id, blobs[1].id, late.id]);
    for at in days {
        sweep(app, Timestamp(at)).await;
        assert_eq!(in_store(app).await, all);
    }
    commit(app, account, &late).await.unwrap();
    drop(writing);
    sweep(app, Timestamp(days[1])).await;
    assert_eq!((in_store(app).await, in_index(app).await), (all.clone(), all));
}

async fn the_same_upload_twice_leaves_one_blob(ground: Ground) {
    let app = &ground.app;
    let ada = ground.user("ada@example.org", "ada").await;
    let digest = ground.artifact(&ada, b"the same").await;
    let first = in_index(app).await;
    assert_eq!(ground.artifact(&ada, b"the same").await, digest);
    let doomed = in_hours(2);
    sweep(app, doomed).await;
    sweep(app, doomed.plus(HOUR * 25)).await;
    let left = in_index(app).await;
    assert!(left.len() == 1 && left.is_disjoint(&first), "{left:?}");
    assert_eq!(in_store(app).await, left);
    for id in left {
        assert_eq!(&read(app, id).await.unwrap()[..], b"the same");
    }
}

async fn where_something_is_stands_in_its_row(ground: Ground) {
    let app = &ground.app;
    let (blob, root) = (stored(app, AccountId::new(), b"moved").await.id, Digest::of(b"a manifest"));
    assert_eq!(Address::of(Some(Col(blob)), Some(Col(root))), Some(Address::Blob(blob)), "it was moved");
    assert_eq!(Address::of(None, Some(Col(root))), Some(Address::Legacy(root)));
    assert_eq!(Address::of(None, None), None);
    let whole = super::read(app, Address::Blob(blob)).await.unwrap().collect(ByteSize(5)).await.unwrap();
    assert_eq!(&whole[..], b"moved");
    assert!(super::read(app, Address::Legacy(root)).await.err().unwrap().is_missing());
}
