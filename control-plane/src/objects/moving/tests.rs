//! From a store of an earlier release to blobs, on both databases: with deaths between all steps, and objects that are lost.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::StatusCode;
use protocol::job::Job;
use protocol::{AccountId, BlobId, ByteSize, Digest, JobId, RunId, Timestamp};
use sea_orm::{ActiveValue::Set, ConnectionTrait as _, EntityTrait as _};
use serde_json::json;
use store::{Legacy, Store};

use super::{Moving, MovingError, Step};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::{artifacts, blocks, job_inputs, job_outputs, log_blocks};
use crate::objects::{Address, Stores, open, read_whole};
use crate::tests::harness::{Client, Ground, config, suite};

suite!(
    wherever_it_dies_all_is_moved_and_the_old_store_goes,
    what_is_lost_is_left_and_the_rest_goes_on,
    a_job_and_an_upload_have_one_blob,
    the_old_store_of_another_database_is_left,
    it_stays_while_the_release_before_may_still_write,
    nothing_is_moved_onto_a_disk_that_is_nearly_full,
    a_file_that_fails_holds_up_nothing,
);

/// Where it dies on an object.
const STEPS: [&str; 3] = ["moving.put", "moving.switched", "moving.moved"];
const CHUNK: usize = 256 * 1024;

/// The same platform, with what an earlier release has left.
async fn with_legacy(ground: Ground) -> Ground {
    let folder = ground.folder.path();
    let config = config(folder, ground.app.config.database.clone(), ground.node);
    let store = Store::disk(folder.join("store")).unwrap();
    let stores = Stores { store, legacy: Some(Legacy::disk(folder.join("legacy"))), copies: None };
    let app = App::open(config, stores, None).await.unwrap();
    app.db.write().execute_unprepared("UPDATE store_horizon SET rooted = TRUE").await.unwrap();
    Ground { router: crate::router(app.clone()), app, ..ground }
}

fn chunk(ground: &Ground, digest: Digest) -> PathBuf {
    let name = digest.to_string();
    ground.folder.path().join("legacy/chunks").join(&name[..2]).join(name)
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// As an earlier release has put it; its root.
fn put(ground: &Ground, bytes: &[u8]) -> Digest {
    let size = u64::try_from(bytes.len()).unwrap();
    let mut manifest = [&b"CCM\x01"[..], &size.to_le_bytes(), &Digest::of(bytes).0].concat();
    for piece in bytes.chunks(CHUNK) {
        let digest = Digest::of(piece);
        write(&chunk(ground, digest), piece);
        manifest.extend_from_slice(&digest.0);
        manifest.extend_from_slice(&u32::try_from(piece.len()).unwrap().to_le_bytes());
    }
    let root = Digest::of(&manifest);
    write(&chunk(ground, root), &manifest);
    root
}

fn noise(length: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

/// One row of each table, with an object of its own.
struct Rows {
    account: AccountId,
    job: JobId,
    /// What the artifact, the job's input and output, the block and the block of logs hold.
    bytes: [Vec<u8>; 5],
    roots: [Digest; 5],
}

impl Rows {
    async fn new(ground: &Ground, client: &Client) -> Self {
        let account = client.account().await;
        ground.function(client, "hello").await;
        let submitted = client.post("/jobs", json!({"function": "hello"})).await;
        assert_eq!(submitted.status, StatusCode::ACCEPTED, "{submitted:?}");
        let job = submitted.read::<Job>().id;
        let bytes = [(0, 700_000), (1, 70_000), (2, CHUNK), (3, 1), (4, 300_000)].map(|(seed, size)| noise(size, seed));
        let roots = bytes.each_ref().map(|bytes| put(ground, bytes));
        let rows = Self { account, job, bytes, roots };
        rows.insert(&ground.app).await;
        rows
    }

    async fn insert(&self, app: &App) {
        let (db, now, run) = (app.db.write(), Timestamp::now(), RunId::new());
        let [artifact, input, output, block, log_block] = self.roots;
        artifacts::Entity::insert(artifacts::ActiveModel {
            account_id: Set(self.account.into()),
            digest: Set(Digest::of(&self.bytes[0]).into()),
            size: Set(ByteSize(self.bytes[0].len() as u64).into()),
            blob: Set(None),
            root: Set(Some(artifact.into())),
            created: Set(now.into()),
        })
        .exec_without_returning(db)
        .await
        .unwrap();
        job_inputs::Entity::update_many()
            .set(job_inputs::ActiveModel { body: Set(None), root: Set(Some(input.into())), ..Default::default() })
            .exec(db)
            .await
            .unwrap();
        job_outputs::Entity::insert(job_outputs::ActiveModel {
            job_id: Set(self.job.into()),
            status: Set(200),
            headers: Set(Col(Vec::new())),
            body: Set(None),
            blob: Set(None),
            root: Set(Some(output.into())),
        })
        .exec_without_returning(db)
        .await
        .unwrap();
        blocks::Entity::insert(blocks::ActiveModel {
            account_id: Set(self.account.into()),
            number: Set(1),
            first_run: Set(run.into()),
            last_run: Set(run.into()),
            runs: Set(1),
            began: Set(now.into()),
            ended: Set(now.into()),
            origin: Set(now.into()),
            surely_over: Set(now.into()),
            corrects: Set(false),
            summary: Set(String::new()),
            header: Set("{}".to_owned()),
            blob: Set(None),
            root: Set(Some(block.into())),
            bytes: Set(1),
        })
        .exec_without_returning(db)
        .await
        .unwrap();
        log_blocks::Entity::insert(log_blocks::ActiveModel {
            account_id: Set(self.account.into()),
            number: Set(1),
            first_line: Set(1),
            last_line: Set(1),
            first_run: Set(run.into()),
            last_run: Set(run.into()),
            began: Set(now.into()),
            ended: Set(now.into()),
            lines: Set(1),
            bytes: Set(1),
            blob: Set(None),
            root: Set(Some(log_block.into())),
            packed: Set(now.into()),
            functions: Set(None),
            run_filter: Set(Vec::new()),
        })
        .exec_without_returning(db)
        .await
        .unwrap();
    }

    /// Where each of the objects is now.
    async fn addresses(&self, app: &App) -> [Address; 5] {
        let db = app.db.read();
        let id = (Col(self.account), Col(Digest::of(&self.bytes[0])));
        let artifact = artifacts::Entity::find_by_id(id).one(db).await.unwrap().unwrap();
        let input = job_inputs::Entity::find_by_id(Col(self.job)).one(db).await.unwrap().unwrap();
        let output = job_outputs::Entity::find_by_id(Col(self.job)).one(db).await.unwrap().unwrap();
        let block = blocks::Entity::find_by_id((Col(self.account), 1_i64)).one(db).await.unwrap().unwrap();
        let log_block = log_blocks::Entity::find_by_id((Col(self.account), 1_i64)).one(db).await.unwrap().unwrap();
        let columns = [
            (artifact.blob, artifact.root),
            (input.blob, input.root),
            (output.blob, output.root),
            (block.blob, block.root),
            (log_block.blob, log_block.root),
        ];
        for (blob, root) in columns {
            assert!(blob.is_some() != root.is_some(), "either it is moved or it is not");
        }
        columns.map(|(blob, root)| Address::of(blob, root).unwrap())
    }

    /// All that can be read is what was put.
    async fn can_be_read(&self, app: &App) -> [bool; 5] {
        let mut read = [false; 5];
        for ((address, bytes), read) in self.addresses(app).await.into_iter().zip(&self.bytes).zip(&mut read) {
            if let Ok(found) = read_whole(app, app.db.read(), address, ByteSize::mib(1)).await {
                assert!(found == *bytes, "{address:?}");
                *read = true;
            }
        }
        read
    }

    async fn blobs(&self, app: &App) -> [Option<BlobId>; 5] {
        self.addresses(app).await.map(|address| match address {
            Address::Blob(id) => Some(id),
            Address::Legacy(_) => None,
        })
    }
}

/// Whatever the disk of the tests has left.
fn moving(app: &App) -> Moving {
    Moving { reserve: |_| 0, ..Moving::new(app.clone(), app.objects.legacy().unwrap().clone()) }
}

/// A whole pass; how many objects could not be read.
async fn pass(app: &App) -> usize {
    let mut moving = moving(app);
    loop {
        if let Step::Passed { left } = moving.step().await.unwrap() {
            return left;
        }
    }
}

async fn remove(app: &App) -> bool {
    moving(app).remove().await.unwrap()
}

async fn wherever_it_dies_all_is_moved_and_the_old_store_goes(ground: Ground) {
    let ground = with_legacy(ground).await;
    let app = &ground.app;
    let ada = ground.user("ada@example.org", "ada").await;
    let rows = Rows::new(&ground, &ada).await;
    assert_eq!((rows.blobs(app).await, rows.can_be_read(app).await), ([None; 5], [true; 5]));
    let old = ground.folder.path().join("legacy/chunks");
    // In each three lives one object is moved; what is not moved can be read still.
    let deaths = std::iter::repeat_n(STEPS, 5).flatten().chain(["moving.removed"]);
    for point in deaths {
        let life = {
            let app = app.clone();
            async move {
                pass(&app).await;
                remove(&app).await
            }
        };
        let ended = tokio::spawn(fabric::fault::die_at(point, life)).await;
        assert!(ended.unwrap_err().is_panic(), "{point}");
        assert_eq!(rows.can_be_read(app).await, [true; 5], "{point}");
    }
    assert!(!old.exists());
    let blobs = rows.blobs(app).await.map(Option::unwrap);
    assert_eq!(rows.can_be_read(app).await, [true; 5]);
    assert!(pass(app).await == 0 && remove(app).await, "again is fine");

    // Whose they are; and what was put by those that died goes.
    for blob in blobs {
        let row = crate::db::entities::blobs::Entity::find_by_id(Col(blob)).one(app.db.read()).await.unwrap().unwrap();
        assert_eq!(row.account_id, Some(Col(rows.account)));
    }
    let left = super::left_after_sweeps(app).await;
    assert!(blobs.iter().all(|blob| left.contains(blob)), "{left:?}");
    // The function's own artifact was put as a blob.
    assert_eq!(left.len(), blobs.len() + 1, "{left:?}");
    assert_eq!(rows.can_be_read(app).await, [true; 5]);
}

async fn what_is_lost_is_left_and_the_rest_goes_on(ground: Ground) {
    let ground = with_legacy(ground).await;
    let app = &ground.app;
    let ada = ground.user("ada@example.org", "ada").await;
    let rows = Rows::new(&ground, &ada).await;
    // A manifest is missing, and of another object the last chunk is damaged.
    let (manifest, last) = (chunk(&ground, rows.roots[1]), chunk(&ground, Digest::of(&rows.bytes[0][2 * CHUNK..])));
    let lost = std::fs::read(&manifest).unwrap();
    std::fs::remove_file(&manifest).unwrap();
    write(&last, b"something else");
    for _ in 0..2 {
        assert_eq!(pass(app).await, 2);
        assert!(!remove(app).await, "rows need it still");
        assert_eq!(rows.can_be_read(app).await, [false, false, true, true, true]);
        assert_eq!(rows.blobs(app).await.map(|blob| blob.is_some()), [false, false, true, true, true]);
    }
    // Somebody brings one back, and the other one's row is deleted.
    write(&manifest, &lost);
    assert_eq!(pass(app).await, 1);
    artifacts::Entity::delete_by_id((Col(rows.account), Col(Digest::of(&rows.bytes[0]))))
        .exec(app.db.write())
        .await
        .unwrap();
    assert_eq!(pass(app).await, 0);
    assert!(remove(app).await && !ground.folder.path().join("legacy/chunks").exists());
}

async fn a_job_and_an_upload_have_one_blob(ground: Ground) {
    let ground = with_legacy(ground).await;
    let app = &ground.app;
    let (ada, eve) = (ground.user("ada@example.org", "ada").await, ground.user("eve@example.org", "eve").await);
    let bytes = noise(100_000, 9);
    let (root, digest) = (put(&ground, &bytes), Digest::of(&bytes));
    ground.function(&ada, "hello").await;
    let accounts = [ada.account().await, eve.account().await];
    for account in accounts {
        artifacts::Entity::insert(artifacts::ActiveModel {
            account_id: Set(account.into()),
            digest: Set(digest.into()),
            size: Set(ByteSize(100_000).into()),
            blob: Set(None),
            root: Set(Some(root.into())),
            created: Set(Timestamp::now().into()),
        })
        .exec_without_returning(app.db.write())
        .await
        .unwrap();
    }
    // A job that takes its root over, before it is moved.
    let asked = json!({"function": "hello", "input": {"upload": digest}});
    let job = ada.post("/jobs", asked.clone()).await.read::<Job>().id;
    let input = async |job: JobId| job_inputs::Entity::find_by_id(Col(job)).one(app.db.read()).await.unwrap().unwrap();
    assert_eq!(input(job).await.root, Some(Col(root)));
    assert_eq!(pass(app).await, 0);
    assert!(remove(app).await);
    let mut opened = Vec::new();
    for account in accounts {
        let row = artifacts::Entity::find_by_id((Col(account), Col(digest))).one(app.db.read()).await.unwrap().unwrap();
        opened.push(open(app, app.db.read(), row.blob.unwrap().0).await.unwrap());
    }
    assert!(opened[0].id != opened[1].id && opened[0].key != opened[1].key, "each account has its own");
    assert_eq!(input(job).await.blob, Some(Col(opened[0].id)));
    let later = ada.post("/jobs", asked).await.read::<Job>().id;
    assert_eq!((input(later).await.blob, input(later).await.root), (Some(Col(opened[0].id)), None));
}

/// A database of its own was begun beside it, or the data is of two platforms.
async fn the_old_store_of_another_database_is_left(ground: Ground) {
    let ground = with_legacy(ground).await;
    let app = &ground.app;
    let root = put(&ground, &noise(1_000, 1));
    app.db.write().execute_unprepared("UPDATE store_horizon SET rooted = FALSE").await.unwrap();
    assert_eq!(pass(app).await, 0);
    assert!(!remove(app).await && chunk(&ground, root).exists());
    app.db.write().execute_unprepared("UPDATE store_horizon SET rooted = TRUE").await.unwrap();
    assert!(remove(app).await && !chunk(&ground, root).exists());
}

/// The turns of a pass, and the pause after it.
async fn turns(moving: &mut Moving) -> Duration {
    loop {
        let pause = moving.turn().await;
        if pause != super::PAUSE {
            return pause;
        }
    }
}

async fn it_stays_while_the_release_before_may_still_write(ground: Ground) {
    let ground = with_legacy(ground).await;
    let app = &ground.app;
    let ada = ground.user("ada@example.org", "ada").await;
    let rows = Rows::new(&ground, &ada).await;
    let old = ground.folder.path().join("legacy/chunks");
    let mut moving = moving(app);
    assert_eq!(turns(&mut moving).await, super::PASS_EVERY);
    assert!(rows.blobs(app).await.iter().all(Option::is_some) && moving.clear_since.is_some() && old.exists());
    // An old control plane writes one more row: the time begins anew.
    let root = put(&ground, b"late");
    let late =
        |root: Digest| log_blocks::ActiveModel { root: Set(Some(root.into())), blob: Set(None), ..Default::default() };
    log_blocks::Entity::update_many().set(late(root)).exec(app.db.write()).await.unwrap();
    while rows.blobs(app).await[4].is_none() {
        assert_eq!(moving.turn().await, super::PAUSE);
    }
    assert!(moving.clear_since.is_none() && old.exists());
    moving.kept_for = Duration::ZERO;
    assert_eq!(turns(&mut moving).await, super::PASS_EVERY);
    assert!(!old.exists());
    // It looks still, and moves what comes even now.
    let root = put(&ground, b"later still");
    log_blocks::Entity::update_many().set(late(root)).exec(app.db.write()).await.unwrap();
    assert_eq!(turns(&mut moving).await, super::PASS_EVERY);
    assert!(rows.blobs(app).await[4].is_some() && !old.exists());
}

async fn nothing_is_moved_onto_a_disk_that_is_nearly_full(ground: Ground) {
    let ground = with_legacy(ground).await;
    let app = &ground.app;
    let ada = ground.user("ada@example.org", "ada").await;
    let rows = Rows::new(&ground, &ada).await;
    // As much is to stay free as the disk is large.
    let mut moving = Moving { reserve: |space| space.total, ..moving(app) };
    let refused = moving.step().await;
    let Err(MovingError::NoRoom { missing }) = refused else { panic!("{refused:?}") };
    assert!(missing >= ByteSize(700_000), "{missing}");
    assert_eq!(turns(&mut moving).await, super::PASS_EVERY);
    assert_eq!((rows.blobs(app).await, rows.can_be_read(app).await), ([None; 5], [true; 5]));
    // There is more.
    moving.reserve = |_| 0;
    assert_eq!(turns(&mut moving).await, super::PASS_EVERY);
    assert!(rows.blobs(app).await.iter().all(Option::is_some));
    let space = |free, total| store::Space { free, total };
    assert_eq!([super::kept_free(space(0, 1 << 40)), super::kept_free(space(0, 5))], [(1 << 40) / 10, 1 << 30]);
}

async fn a_file_that_fails_holds_up_nothing(ground: Ground) {
    let ground = with_legacy(ground).await;
    let app = &ground.app;
    let ada = ground.user("ada@example.org", "ada").await;
    let rows = Rows::new(&ground, &ada).await;
    // Two on one page, of which each is tried for itself; and neither is said to be missing.
    let other = put(&ground, &noise(1_000, 7));
    artifacts::Entity::insert(artifacts::ActiveModel {
        account_id: Set(rows.account.into()),
        digest: Set(Digest::of(&noise(1_000, 7)).into()),
        size: Set(ByteSize(1_000).into()),
        blob: Set(None),
        root: Set(Some(other.into())),
        created: Set(Timestamp::now().into()),
    })
    .exec_without_returning(app.db.write())
    .await
    .unwrap();
    let files = [rows.roots[0], other].map(|root| chunk(&ground, root));
    let kept = files.each_ref().map(|file| std::fs::read(file).unwrap());
    for file in &files {
        std::fs::remove_file(file).unwrap();
        std::fs::create_dir(file).unwrap();
    }
    let mut moving = moving(app);
    for _ in 1..2 * super::TRIES_MAX - 1 {
        assert_eq!(turns(&mut moving).await, super::RETRY_AFTER);
    }
    assert_eq!(turns(&mut moving).await, super::PASS_EVERY);
    assert_eq!(rows.blobs(app).await.map(|blob| blob.is_some()), [false, true, true, true, true]);
    assert!(moving.clear_since.is_none() && !moving.remove().await.unwrap());
    // They can be read again.
    for (file, bytes) in files.iter().zip(kept) {
        std::fs::remove_dir(file).unwrap();
        write(file, &bytes);
    }
    assert_eq!(turns(&mut moving).await, super::PASS_EVERY);
    assert!(rows.blobs(app).await[0].is_some() && moving.remove().await.unwrap());
}
