//! Two copies on three disks, and two control planes, from seeds: they write, own, sweep, repair, check and drain, and die
//! at any point of it, while one disk after the other is injured. What a row refers to can always be read; in the end all
//! of it is there twice, and nothing else is.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use protocol::{AccountId, ByteSize, InstanceId, Millis};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use sea_orm::EntityTrait as _;
use serde_json::json;
use store::{Error, Kept, Store};
use tokio::time::Instant;

use super::faults::{SWEEP_POINTS, WRITE_POINTS, all_is_there, end_all, ended, process, seeds, sweep};
use super::repair::{DISKS, disks, on_disks, two};
use super::{commit, disown, in_index, in_store, own};
use crate::db::entities::{artifacts, store_notes};
use crate::leader::{self, Lease, Office};
use crate::objects::check::{Checked, Checker};
use crate::objects::pace::Pace;
use crate::objects::repair::Repair;
use crate::objects::scrub::Scrub;
use crate::objects::{Care, Epochs, claim, drains};
use crate::tests::harness::{Client, Ground, suite};
use crate::{App, Config};

suite!(whatever_dies_and_whichever_disk_fails_nothing_is_lost);

const SEEDS: u64 = 6;
/// From so many on, each point has killed somebody.
const SEEDS_OF_ALL: u64 = 500;
/// Where repairs die; mostly they do not.
const REPAIR_POINTS: [&str; 8] =
    ["", "", "", "segment.copied", "segment.trimmed", "repair.trimmed", "repair.looked", "repair.noted"];
const SCRUB_POINTS: [&str; 4] = ["", "", "segment.copied", "scrub.noted"];
const DRAIN_POINTS: [&str; 4] = ["", "", "drain.noted", "drain.undone"];
/// No pace is kept.
const RATE: ByteSize = ByteSize(1 << 40);

async fn whatever_dies_and_whichever_disk_fails_nothing_is_lost(ground: Ground) {
    // A delete has a third of the lease, on a busy machine.
    let change = |config: &mut Config| (config.store_doomed_for, config.lease) = (Millis(0), Millis::seconds(30));
    let ground = Ground::on(ground.app.config.database.clone(), change).await;
    let mut scene = Box::pin(Scene::new(on_disks(ground).await)).await;
    for seed in 0..seeds(SEEDS) {
        scene.seed = seed;
        let mut random = StdRng::seed_from_u64(seed);
        Box::pin(scene.live(&mut random)).await;
        Box::pin(scene.settle()).await;
    }
    if seeds(SEEDS) >= SEEDS_OF_ALL {
        let points = [&WRITE_POINTS[..], &SWEEP_POINTS, &REPAIR_POINTS, &SCRUB_POINTS, &DRAIN_POINTS].concat();
        let missed: Vec<&str> =
            points.into_iter().filter(|point| !point.is_empty() && !scene.deaths.contains(*point)).collect();
        assert!(missed.is_empty(), "nobody has died at {missed:?}");
    }
}

/// Two control planes of one platform, and its disks, of which one at most is injured.
struct Scene {
    ground: Ground,
    apps: [App; 2],
    operators: [Client; 2],
    /// As leaders.
    instances: [InstanceId; 2],
    injured: Option<usize>,
    /// What is to come back, and where it is.
    away: Option<(PathBuf, PathBuf)>,
    /// The points at which somebody has died.
    deaths: BTreeSet<String>,
    seed: u64,
}

impl Scene {
    async fn new(ground: Ground) -> Self {
        let store = Store::on(disks(&ground).to_vec(), two());
        let other = App::open(ground.app.config.clone(), store, None).await.unwrap();
        let operator = ground.operator().await;
        let operators = [operator.clone(), operator.on(crate::router(other.clone()))];
        let instances = [InstanceId::new(), InstanceId::new()];
        let apps = [ground.app.clone(), other];
        Self { ground, apps, operators, instances, injured: None, away: None, deaths: BTreeSet::new(), seed: 0 }
    }

    /// Everybody at once, and then those who are left.
    async fn live(&mut self, random: &mut StdRng) {
        let account = AccountId::new();
        let mut writers = [0, 1].map(|at| process(&self.apps[at]));
        for _ in 0..random.random_range(3..8) {
            let mut tasks = Vec::new();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..2_usize);
                let (app, writer) = (self.apps[at].clone(), writers[at].clone());
                tasks.push(tokio::spawn(write(app, writer, account, random.random())));
            }
            for at in 0..2 {
                let (app, leaders) = (&self.apps[at], [self.instances[at], self.instances[1 - at]]);
                if random.random_bool(0.4) {
                    let other = self.apps[1 - at].store.clone();
                    tasks.push(tokio::spawn(repair(
                        app.clone(),
                        other,
                        leaders,
                        REPAIR_POINTS.choose(random).unwrap(),
                    )));
                }
                if random.random_bool(0.25) {
                    tasks.push(tokio::spawn(sweep(app.clone(), SWEEP_POINTS.choose(random).unwrap())));
                }
                if random.random_bool(0.25) {
                    tasks.push(tokio::spawn(scrub(app.clone(), SCRUB_POINTS.choose(random).unwrap())));
                }
            }
            if random.random_bool(0.3) {
                let (drained, operator) = (self.drained().await, self.operators.choose(random).unwrap().clone());
                let path = self.drain_path(drained.unwrap_or_else(|| random.random_range(0..3)));
                let point = *DRAIN_POINTS.choose(random).unwrap();
                tasks.push(tokio::spawn(drain(operator, path, drained.is_some(), point)));
            }
            if random.random_bool(0.2) {
                end_all(&self.apps[0]).await;
            }
            if self.injured.is_none() && random.random_bool(0.5) {
                self.injure(random);
            }
            if random.random_bool(0.4) {
                self.disown_one(random).await;
            }
            for task in tasks {
                self.deaths.extend(ended(task, self.seed).await);
            }
            for (writer, app) in writers.iter_mut().zip(&self.apps) {
                match random.random_range(0..3) {
                    0 => *writer = process(app),
                    1 => writer.tend().await.unwrap(),
                    _ => {}
                }
            }
            all_is_there(self.apps.choose(random).unwrap(), self.seed).await;
            if self.injured.is_some() && random.random_bool(0.5) {
                Box::pin(self.heal()).await;
            }
        }
    }

    async fn disown_one(&self, random: &mut StdRng) {
        let app = &self.apps[0];
        let rows = artifacts::Entity::find().all(app.db.read()).await.unwrap();
        if let Some(row) = rows.choose(random) {
            let blob = crate::objects::open(app, app.db.read(), row.blob.unwrap().0).await.unwrap();
            disown(app, row.account_id.0, &blob).await;
        }
    }

    fn folder(&self, disk: usize) -> PathBuf {
        self.ground.folder.path().join(DISKS[disk])
    }

    fn drain_path(&self, disk: usize) -> String {
        format!("/operator/store/disks/{}/drain", self.folder(disk).display().to_string().replace('/', "%2F"))
    }

    /// The disk that is to be taken out.
    async fn drained(&self) -> Option<usize> {
        let (name, _) = drains::known(self.apps[0].db.read()).await.unwrap().pop_first()?;
        (0..DISKS.len()).find(|disk| name.ends_with(&self.folder(*disk).display().to_string()))
    }

    /// Something happens to a disk.
    fn injure(&mut self, random: &mut StdRng) {
        let disk = random.random_range(0..DISKS.len());
        self.injured = Some(disk);
        let folder = self.folder(disk);
        let (blobs, away) = (folder.join("blobs"), folder.with_extension("away"));
        match random.random_range(0..6) {
            0 => self.take_away(folder, away),
            1 => self.take_away(blobs, away),
            2 => {
                // Somebody may put something there just now.
                while blobs.exists() {
                    drop(std::fs::remove_dir_all(&blobs));
                }
            }
            injury => {
                for file in files(&blobs) {
                    if random.random_bool(0.6) {
                        damage(&file, injury);
                    }
                }
            }
        }
    }

    fn take_away(&mut self, place: PathBuf, away: PathBuf) {
        std::fs::rename(&place, &away).unwrap();
        self.away = Some((place, away));
    }

    /// The disk works again, with what it has; all is checked and repaired, and then is whole.
    async fn heal(&mut self) {
        if let Some((place, away)) = self.away.take() {
            // A disk that has its mark makes its folder anew.
            drop(std::fs::remove_dir_all(&place));
            std::fs::rename(away, place).unwrap();
        }
        if let Some(disk) = self.injured.take() {
            for first in 0..=u8::MAX {
                std::fs::create_dir_all(self.folder(disk).join(format!("blobs/{first:02x}"))).unwrap();
            }
        }
        for app in &self.apps {
            claim::look(&app.db, &app.store).await.unwrap();
            let states = app.store.disks().await;
            assert!(states.iter().all(|state| state.failing.is_none()), "seed {}: {states:?}", self.seed);
        }
        let care = Care::new(&self.apps[0]);
        let (mut checker, mut pace) = (Checker::new(&care, None), Pace::new(RATE));
        while !matches!(Box::pin(checker.step(&mut pace)).await.unwrap(), Checked::End) {}
        let office = lead(&self.apps[0], &self.apps[1].store, self.instances).await.unwrap();
        let look = Repair::new(&care).whole(office).await.unwrap().last.unwrap();
        assert_eq!((look.fewer, look.lost), (0, 0), "seed {}: {look:?}", self.seed);
        self.all_is_there_twice().await;
    }

    /// Each row's bytes are on two disks that stay, and on no other.
    async fn all_is_there_twice(&self) {
        let app = &self.apps[0];
        for id in all_is_there(app, self.seed).await {
            let blob = crate::objects::open(app, app.db.read(), id).await.unwrap();
            let segments = app.store.segments(&blob).unwrap();
            for number in segments.numbers() {
                let mended = segments.mend(number, &BTreeSet::new()).await;
                let missing = mended.kept.iter().filter(|kept| **kept == Kept::Missing).count();
                assert_eq!((mended.before, missing), (2, 1), "seed {}: {id}: {mended:?}", self.seed);
            }
        }
    }

    /// All writers have gone, and no disk is injured: two sweeps later there is nothing that nobody needs.
    async fn settle(&mut self) {
        Box::pin(self.heal()).await;
        self.sweep_twice().await;
        self.all_is_there_twice().await;
        if let Some(disk) = self.drained().await {
            let left = self.apps[0].store.list_on(disk, None, 10).await.unwrap();
            assert!(left.is_empty(), "seed {}: {left:?}", self.seed);
            assert!(self.operators[0].delete(&self.drain_path(disk)).await.status.is_success());
        }
        for app in &self.apps {
            drains::apply(&Care::new(app), app.db.read()).await.unwrap();
            let writing = process(app).writing().await.unwrap();
            app.store.put_bytes(writing.epoch(), Bytes::from_static(b"it takes all again")).await.unwrap();
        }
        let app = &self.apps[0];
        store_notes::Entity::delete_many().exec(app.db.write()).await.unwrap();
        artifacts::Entity::delete_many().exec(app.db.write()).await.unwrap();
        self.sweep_twice().await;
        assert!(in_store(app).await.is_empty(), "seed {}", self.seed);
    }

    async fn sweep_twice(&self) {
        let app = &self.apps[0];
        end_all(app).await;
        for _ in 0..2 {
            sweep(app.clone(), "").await;
        }
        let needed = all_is_there(app, self.seed).await;
        assert_eq!(in_store(app).await, needed, "seed {}", self.seed);
        assert_eq!(in_index(app).await, needed, "seed {}", self.seed);
    }
}

/// The segments of a disk.
fn files(blobs: &Path) -> Vec<PathBuf> {
    let shards = std::fs::read_dir(blobs).unwrap().map(|shard| shard.unwrap().path());
    shards.flat_map(|shard| std::fs::read_dir(shard).unwrap()).map(|file| file.unwrap().path()).collect()
}

/// A file is gone, too short, or has a bit that is wrong. It may be deleted just now.
fn damage(file: &Path, injury: u32) {
    if injury == 3 {
        drop(std::fs::remove_file(file));
        return;
    }
    let Ok(opened) = OpenOptions::new().read(true).write(true).open(file) else { return };
    let middle = opened.metadata().unwrap().len() / 2;
    if injury == 4 {
        opened.set_len(middle).unwrap();
        return;
    }
    let mut byte = [0];
    opened.read_exact_at(&mut byte, middle).unwrap();
    opened.write_all_at(&[byte[0] ^ 16], middle).unwrap();
}

/// Takes the lead from the other one; none where that one has just taken it.
async fn lead(app: &App, others: &Store, [own, other]: [InstanceId; 2]) -> Option<i64> {
    drop(leader::resign(&app.db, Office::Store, other).await);
    let lease = Lease::take(&app.db, Office::Store, own, Duration::from_secs(60)).await.unwrap();
    // By itself a lease ends after what was deleted in it.
    let until = Instant::now() + Duration::from_secs(10);
    while others.has_unsure_deletes() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    lease.map(|lease| lease.epoch())
}

/// Whoever led before, and still repairs, goes on with that.
async fn repair(app: App, other: Store, leaders: [InstanceId; 2], point: &'static str) {
    let repaired = async {
        if let Some(office) = lead(&app, &other, leaders).await {
            Repair::new(&Care::new(&app)).whole(office).await.unwrap();
        }
    };
    fabric::fault::die_at(point, Box::pin(repaired)).await;
}

/// A few shares of it.
async fn scrub(app: App, point: &'static str) {
    let scrubbed = async {
        let (mut scrub, mut pace) = (Scrub::new(&Care::new(&app)), Pace::new(RATE));
        for _ in 0..5 {
            scrub.hurry();
            scrub.go_on(&mut pace, Instant::now() + Duration::from_secs(60)).await.unwrap();
        }
    };
    fabric::fault::die_at(point, Box::pin(scrubbed)).await;
}

/// An operator has a disk emptied, or changes their mind.
async fn drain(operator: Client, path: String, is_drained: bool, point: &'static str) {
    let asked = async {
        if is_drained {
            operator.delete(&path).await;
        } else {
            operator.post(&path, json!({})).await;
        }
    };
    fabric::fault::die_at(point, Box::pin(asked)).await;
}

/// Puts something and commits it, at times with a second row that refers to it; or dies, or comes too late.
async fn write(app: App, writer: Epochs, account: AccountId, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let point = *WRITE_POINTS.choose(&mut random).unwrap();
    let size = if random.random_bool(0.05) { 5 << 20 } else { random.random_range(0..200_000) };
    let mut bytes = vec![0_u8; size];
    random.fill(&mut bytes[..]);
    let is_shared = random.random_bool(0.3);
    let written = async {
        let writing = writer.writing().await.unwrap();
        let blob = match app.store.put_bytes(writing.epoch(), Bytes::from(bytes)).await {
            Ok(blob) => blob,
            // One disk is to be taken out, and another one is injured.
            Err(Error::TooFewDisks { .. }) => return,
            Err(error) => panic!("{error}"),
        };
        fabric::fault::point("blob.put");
        // Its lease may have ended.
        if commit(&app, account, &blob).await.is_err() {
            return;
        }
        fabric::fault::point("blob.committed");
        if is_shared {
            let tx = app.db.begin().await.unwrap();
            // Its first row may be gone, and it doomed.
            if crate::objects::refer(&tx, blob.id).await.is_ok() {
                own(&tx, AccountId::new(), &blob).await;
                tx.commit().await.unwrap();
            }
        }
    };
    fabric::fault::die_at(point, Box::pin(written)).await;
}
