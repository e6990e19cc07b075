//! Three disks, one of which goes, is damaged, or is to be taken out: reads go on, the operator is told, and copies come back.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use http::{Method, StatusCode};
use protocol::api::{StoreCheckLine, StoreDiskState, StoreStatus};
use protocol::epoch::EpochLease;
use protocol::{AccountId, Blob, BlobId, ByteSize, Code, InstanceId};
use sea_orm::EntityTrait as _;
use serde_json::json;
use store::engine::Disk;
use store::{Deleted, Engine, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{disown, in_hours, read, stored, sweep};
use crate::App;
use crate::db::entities::{store_drains, store_engines};
use crate::leader::{Lease, Office};
use crate::objects::extent;
use crate::objects::pace::Pace;
use crate::objects::repair::Repair;
use crate::objects::scrub::Scrub;
use crate::objects::{Care, Stores};
use crate::tests::harness::{Answer, Client, Ground, suite};

suite!(
    a_disk_that_is_gone_is_told_and_made_up_for,
    copies_that_come_back_are_not_kept_twice,
    the_leader_repairs_by_itself,
    a_check_names_what_is_damaged_and_mends_it,
    a_slow_check_says_that_it_goes_on,
    the_scrub_goes_through_all,
    a_drained_disk_is_emptied,
    disks_come_and_go_while_it_runs,
    the_number_of_copies_is_the_databases,
    one_copy_is_called_one_copy,
);

pub(super) const DISKS: [&str; 3] = ["a", "b", "c"];

pub(super) fn two() -> NonZeroUsize {
    NonZeroUsize::new(2).unwrap()
}

pub(super) fn disks(ground: &Ground) -> [Arc<dyn Engine>; 3] {
    let folder = ground.folder.path();
    DISKS.map(|name| Arc::new(Disk::open(&folder.join(name)).unwrap().in_domain(name)) as Arc<dyn Engine>)
}

/// The same platform, with two copies on three disks.
pub(super) async fn on_disks(ground: Ground) -> Ground {
    let store = Store::on(disks(&ground).to_vec(), two());
    on(ground, store).await
}

/// The same platform on this store alone.
pub(super) async fn on(ground: Ground, store: Store) -> Ground {
    store_engines::Entity::delete_many().exec(ground.app.db.write()).await.unwrap();
    let mut config = ground.app.config.clone();
    config.store_repair_rate = ByteSize(1 << 40);
    let app = App::open(config, store, None).await.unwrap();
    Ground { router: crate::router(app.clone()), app, ..ground }
}

/// Twelve small blobs, and one of two segments.
pub(super) async fn some_blobs(app: &App, account: AccountId) -> Vec<Blob> {
    let mut blobs = Vec::new();
    for number in 0..12_u8 {
        blobs.push(stored(app, account, &[number; 3_000]).await);
    }
    blobs.push(stored(app, account, &vec![77; 5 << 20]).await);
    blobs
}

/// The path by which an empty disk takes the place of this one.
fn replace(ground: &Ground, disk: &str) -> String {
    let folder = ground.folder.path().join(disk).display().to_string();
    format!("/operator/store/disks/{}/replace", folder.replace('/', "%2F"))
}

pub(super) async fn office(app: &App) -> i64 {
    let lease = Lease::take(&app.db, Office::Store, app.instance, Duration::from_secs(60)).await.unwrap();
    lease.unwrap().epoch()
}

/// Whole copies of a blob.
pub(super) async fn copies(app: &App, blob: &Blob) -> usize {
    app.store.check(blob).await.iter().filter(|copy| copy.is_whole()).count()
}

async fn status(operator: &Client) -> StoreStatus {
    operator.get("/operator/store").await.read()
}

/// The files of a blob's segments, on all disks.
pub(super) fn files(ground: &Ground, blob: BlobId) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for disk in DISKS {
        let shards = std::fs::read_dir(ground.folder.path().join(disk).join("blobs")).unwrap();
        files.extend(shards.flat_map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap()));
    }
    let mut files: Vec<PathBuf> = files.into_iter().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.file_name().unwrap().to_string_lossy().starts_with(&blob.to_string()));
    files
}

fn flip_a_byte(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

fn lines(answer: &Answer) -> Vec<StoreCheckLine> {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let lines = answer.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

async fn a_disk_that_is_gone_is_told_and_made_up_for(ground: Ground) {
    let ground = on_disks(ground).await;
    let (app, operator) = (&ground.app, ground.operator().await);
    let blobs = some_blobs(app, AccountId::new()).await;
    let (mut repair, office) = (Repair::new(&Care::new(app)), office(app).await);
    let healthy = repair.whole(office).await.unwrap().last.unwrap();
    assert_eq!((healthy.blobs, healthy.of, healthy.found, healthy.copied, healthy.removed), (13, 13, 0, 0, 0));
    assert_eq!(status(&operator).await.summary, "2 copies, 3 disks: 1 disk may be lost");
    assert!(repair.next_pass_in() > Duration::from_secs(1_800));

    std::fs::remove_dir_all(ground.folder.path().join("a")).unwrap();
    for blob in &blobs {
        assert_eq!(read(app, blob.id).await.unwrap().len() as u64, blob.size.0, "reads go on");
    }
    let during = stored(app, AccountId::new(), b"and writes").await;
    let told = status(&operator).await;
    assert_eq!(told.disks[0].state, StoreDiskState::Failing, "{told:?}");
    assert!(told.disks[0].since.is_some() && told.disks[0].why.is_some() && told.disks[0].free.is_none());
    assert_eq!(told.summary, "2 copies, 3 disks: no further disk may be lost; 1 fails now");
    assert_eq!((told.blobs, told.doomed), (14, 0));

    let looked = repair.whole(office).await.unwrap().last.unwrap();
    assert!(looked.found > 0 && looked.copied >= looked.found && looked.copied_bytes > ByteSize(0), "{looked:?}");
    assert_eq!((looked.blobs, looked.fewer, looked.lost), (14, 0, 0));
    for blob in blobs.iter().chain([&during]) {
        assert_eq!(copies(app, blob).await, 2);
    }
    let told = status(&operator).await;
    assert_eq!(told.summary, "2 copies, 3 disks: 1 disk may be lost; 1 fails now");
    assert_eq!(told.last_look, Some(looked));

    // Of the next one that goes, no further disk makes up for.
    std::fs::remove_dir_all(ground.folder.path().join("b")).unwrap();
    let few = repair.whole(office).await.unwrap().last.unwrap();
    assert_eq!((few.found, few.fewer, few.lost, few.copied), (14, 14, 0, 0), "{few:?}");
    assert_eq!(read(app, during.id).await.unwrap().len(), 10);
    assert!(repair.next_pass_in() <= Duration::from_secs(600), "it does not wait an hour for a disk that takes some");
    // And with a new one in its place all is well, once somebody says so: it may only not be mounted.
    std::fs::create_dir_all(ground.folder.path().join("a")).unwrap();
    assert_eq!(status(&operator).await.disks[0].state, StoreDiskState::Failing);
    let replaced: StoreStatus = operator.post(&replace(&ground, "a"), json!({})).await.read();
    assert_eq!(replaced.disks[0].state, StoreDiskState::Serving, "{replaced:?}");
    assert_eq!(operator.post(&replace(&ground, "a"), json!({})).await.code(), Code::InvalidField, "it is there");
    let mended = repair.whole(office).await.unwrap().last.unwrap();
    assert_eq!((mended.found, mended.fewer, mended.copied), (14, 0, 15), "{mended:?}");
}

async fn copies_that_come_back_are_not_kept_twice(ground: Ground) {
    let ground = on_disks(ground).await;
    let app = &ground.app;
    let blobs = some_blobs(app, AccountId::new()).await;
    let (here, away) = (ground.folder.path().join("b/blobs"), ground.folder.path().join("away"));
    let (mut repair, office) = (Repair::new(&Care::new(app)), office(app).await);
    std::fs::rename(&here, &away).unwrap();
    let without = repair.whole(office).await.unwrap().last.unwrap();
    assert!(without.copied > 0 && without.fewer == 0 && without.removed == 0, "{without:?}");
    std::fs::rename(&away, &here).unwrap();
    // It is tried: by what a disk says that fails, nothing is deleted.
    app.store.disks().await;

    // Whoever does not lead deletes nothing.
    let other = repair.whole(office + 1).await.unwrap().last.unwrap();
    assert_eq!((other.found, other.removed), (0, 0));
    let with = repair.whole(office).await.unwrap().last.unwrap();
    assert_eq!((with.found, with.removed), (0, without.copied), "{with:?}");
    for blob in &blobs {
        assert_eq!(copies(app, blob).await, 2);
        assert_eq!(read(app, blob.id).await.unwrap().len() as u64, blob.size.0);
    }
}

async fn the_leader_repairs_by_itself(ground: Ground) {
    let ground = on_disks(ground).await;
    let app = &ground.app;
    let blob = stored(app, AccountId::new(), b"twice").await;
    std::fs::remove_file(&files(&ground, blob.id)[0]).unwrap();
    let stop = CancellationToken::new();
    let leaders = [(); 2].map(|()| tokio::spawn(crate::objects::repair(Care::new(app), stop.clone())));
    let mended = async {
        while copies(app, &blob).await < 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), mended).await.unwrap();
    stop.cancel();
    for leader in leaders {
        leader.await.unwrap();
    }
}

async fn a_check_names_what_is_damaged_and_mends_it(ground: Ground) {
    let ground = on_disks(ground).await;
    let (app, operator) = (&ground.app, ground.operator().await);
    let ada = ground.user("ada@example.org", "ada").await;
    let account = ada.account().await;
    let blobs = some_blobs(app, account).await;
    assert_eq!(ada.post("/operator/store/check", json!({})).await.code(), Code::Forbidden);
    let check = async || lines(&operator.post("/operator/store/check", json!({})).await);
    let all_well = check().await.pop().unwrap();
    assert_eq!((all_well.blobs, all_well.of, all_well.found, all_well.done), (13, 13, 0, true));
    assert!(all_well.bytes.0 > 2 * ((5 << 20) + 36_000), "each copy was read: {all_well:?}");

    let (flipped, missing) = (&blobs[12], &blobs[0]);
    flip_a_byte(&files(&ground, flipped.id)[0]);
    std::fs::remove_file(&files(&ground, missing.id)[0]).unwrap();
    let said = check().await;
    let findings: Vec<_> = said.iter().filter_map(|line| line.finding.as_ref()).collect();
    assert_eq!(findings.len(), 2, "{said:?}");
    let of = |blob: &Blob| findings.iter().find(|finding| finding.blob == blob.id).unwrap();
    for finding in &findings {
        assert_eq!((finding.copies, finding.copies_now, finding.lost), (1, 2, false), "{finding:?}");
        assert_eq!((finding.account, &finding.owners[..]), (Some(account), &["artifact".to_owned()][..]));
        assert_eq!(finding.account_name.as_ref().unwrap().as_str(), "ada");
    }
    assert_eq!((of(flipped).damaged_on.len(), of(missing).damaged_on.len()), (1, 0));
    let last = said.last().unwrap();
    assert_eq!((last.found, last.left, last.done), (2, 0, true));
    for blob in &blobs {
        assert_eq!(copies(app, blob).await, 2);
    }

    // What is damaged everywhere is named, and left.
    for file in files(&ground, missing.id) {
        flip_a_byte(&file);
    }
    let said = check().await;
    let lost = said.iter().find_map(|line| line.finding.as_ref()).unwrap();
    assert_eq!((lost.blob, lost.lost, lost.copies_now, lost.damaged_on.len()), (missing.id, true, 0, 2));
    assert_eq!(said.last().unwrap().left, 1);
    let looked = Repair::new(&Care::new(app)).whole(office(app).await).await.unwrap().last.unwrap();
    assert_eq!(looked.removed, 0, "it goes by lists, and deletes nothing");
}

/// However slow its pace is. It ends, and another may begin, when nobody reads any more.
async fn a_slow_check_says_that_it_goes_on(ground: Ground) {
    let ground = on_disks(ground).await;
    stored(&ground.app, AccountId::new(), &[1; 3_000]).await;
    let mut care = Care::new(&ground.app);
    care.rate = ByteSize(1);
    let mut lines = crate::objects::check(&care).await.unwrap();
    for _ in 0..2 {
        let line = tokio::time::timeout(Duration::from_secs(30), lines.next()).await.unwrap().unwrap().unwrap();
        let line: StoreCheckLine = serde_json::from_slice(&line).unwrap();
        assert_eq!((line.blobs, line.of, line.done), (0, 1, false), "{line:?}");
    }
    assert!(crate::objects::check(&care).await.is_err(), "one at once");
    drop(lines);
    let another = async {
        while crate::objects::check(&care).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), another).await.unwrap();
}

async fn the_scrub_goes_through_all(ground: Ground) {
    let ground = on_disks(ground).await;
    let (app, operator) = (&ground.app, ground.operator().await);
    let account = AccountId::new();
    let (one, two) = (stored(app, account, b"one").await, stored(app, account, b"two").await);
    flip_a_byte(&files(&ground, two.id)[0]);
    let (mut scrub, mut pace) = (Scrub::new(&Care::new(app)), Pace::new(ByteSize(1 << 40)));
    let until = Instant::now() + Duration::from_secs(60);
    assert!(!scrub.go_on(&mut pace, until).await.unwrap(), "it has just started");
    for _ in 0..3 {
        // The next leader goes on where the last one was.
        scrub = Scrub::new(&Care::new(app));
        scrub.hurry();
        assert!(!scrub.go_on(&mut pace, until).await.unwrap(), "a share is done");
    }
    let scrubbed = status(&operator).await.scrub.unwrap();
    assert_eq!((scrubbed.blobs, scrubbed.found, scrubbed.lost), (2, 1, 0));
    assert!(scrubbed.ended.is_some() && scrubbed.bytes > ByteSize(0));
    assert_eq!((copies(app, &one).await, copies(app, &two).await), (2, 2));
    scrub.hurry();
    scrub.go_on(&mut pace, until).await.unwrap();
    assert_eq!(status(&operator).await.scrub, Some(scrubbed), "the next one is due in a month");
}

async fn a_drained_disk_is_emptied(ground: Ground) {
    let ground = on_disks(ground).await;
    let (app, operator) = (&ground.app, ground.operator().await);
    let account = AccountId::new();
    let blobs = some_blobs(app, account).await;
    let doomed = stored(app, account, b"doomed, and still read").await;
    disown(app, account, &doomed).await;
    sweep(app, in_hours(2)).await;
    let path = |disk: &str| {
        let name = ground.folder.path().join(disk).display().to_string().replace('/', "%2F");
        format!("/operator/store/disks/{name}/drain")
    };
    let ada = ground.user("ada@example.org", "ada").await;
    assert_eq!(ada.post(&path("a"), json!({})).await.code(), Code::Forbidden);
    assert_eq!(operator.post(&path("none"), json!({})).await.code(), Code::NotFound);
    assert_eq!(operator.delete(&path("a")).await.code(), Code::NotFound);

    let begun: StoreStatus = operator.post(&path("a"), json!({})).await.read();
    assert_eq!(begun.disks[0].state, StoreDiskState::Draining);
    assert_eq!(
        operator.post(&path("b"), json!({})).await.code(),
        Code::InvalidField,
        "one disk has no room for two copies"
    );
    for number in 100..110_u8 {
        stored(app, account, &[number; 10]).await;
    }
    let (mut repair, office) = (Repair::new(&Care::new(app)), office(app).await);
    let looks = repair.whole(office).await.unwrap();
    let name = &begun.disks[0].name;
    assert_eq!((looks.left.get(name), looks.last.unwrap().fewer), (Some(&0), 0));
    assert!(app.store.list_on(0, None, 10).await.unwrap().is_empty());
    assert_eq!(status(&operator).await.disks[0].state, StoreDiskState::Draining, "somebody may not know of it yet");

    let long_ago = store_drains::Entity::update_many().col_expr(store_drains::Column::Since, 0_i64.into());
    long_ago.exec(app.db.write()).await.unwrap();
    repair.whole(office).await.unwrap();
    let emptied = status(&operator).await;
    assert_eq!(emptied.disks[0].words(), "drained: it may be taken out");
    // Whoever is started without it does not wait for it.
    let without = Store::on(disks(&ground)[1..].to_vec(), two());
    let other = App::open(app.config.clone(), without, None).await.unwrap();
    assert!(other.store.absent().into_keys().eq([name.clone()]));
    extent::let_go(&Care::new(&other)).await.unwrap();
    assert!(other.store.absent().is_empty());
    std::fs::remove_dir_all(ground.folder.path().join("a")).unwrap();
    for blob in blobs.iter().chain([&doomed]) {
        assert_eq!(copies(app, blob).await, 2);
    }

    let kept: StoreStatus = operator.post(&replace(&ground, "a"), json!({})).await.read();
    assert_eq!((kept.disks[0].state, kept.disks[0].left), (StoreDiskState::Serving, None), "it is drained no more");
    let begun: StoreStatus = operator.post(&path("a"), json!({})).await.read();
    assert_eq!(begun.disks[0].state, StoreDiskState::Draining);
    let kept: StoreStatus = operator.delete(&path("a")).await.read();
    assert_eq!((kept.disks[0].state, kept.disks[0].left), (StoreDiskState::Serving, None));
}

async fn disks_come_and_go_while_it_runs(ground: Ground) {
    let [a, b, c] = disks(&ground);
    let store = Store::changing(two());
    store.set_engines(vec![Arc::clone(&a), Arc::clone(&b)]);
    let ground = on(ground, store).await;
    let (app, operator) = (&ground.app, ground.operator().await);
    let blobs = some_blobs(app, AccountId::new()).await;
    let (mut repair, office) = (Repair::new(&Care::new(app)), office(app).await);
    assert_eq!(repair.whole(office).await.unwrap().last.unwrap().found, 0);

    // Another one comes, in another place of the order, and one is on record no more.
    app.store.set_engines(vec![Arc::clone(&c), Arc::clone(&a)]);
    let looked = repair.whole(office).await.unwrap().last.unwrap();
    assert_eq!((looked.blobs, looked.found, looked.fewer, looked.copied), (13, 13, 0, 14), "{looked:?}");
    for blob in &blobs {
        assert_eq!(copies(app, blob).await, 2);
    }
    let told = status(&operator).await;
    let gone = &told.disks[2];
    assert_eq!((told.disks.len(), gone.state, gone.name.as_str()), (3, StoreDiskState::Failing, b.name()));
    assert!(gone.why.as_ref().unwrap().contains("not among the disks"), "{gone:?}");
    let path = |engine: &Arc<dyn Engine>| {
        format!("/operator/store/disks/{}", engine.name().strip_prefix("disk ").unwrap().replace('/', "%2F"))
    };
    // What it has is not known to be deleted, until the operator says that it does not come back.
    let deleted = app.store.delete(blobs[0].id, blobs[0].size).await.unwrap();
    assert!(matches!(&deleted, Deleted::InPart(error) if error.engine == b.name()), "{deleted:?}");
    assert_eq!(operator.delete(&path(&c)).await.code(), Code::InvalidField, "it is there");
    assert_eq!(operator.delete("/operator/store/disks/another").await.code(), Code::NotFound);
    assert_eq!(operator.key(&["admin"]).await.delete(&path(&b)).await.code(), Code::Forbidden);
    let forgotten: StoreStatus = operator.delete(&path(&b)).await.read();
    assert_eq!((forgotten.summary.as_str(), forgotten.disks.len()), ("2 copies, 2 disks: 1 disk may be lost", 2));
    assert!(matches!(app.store.delete(blobs[0].id, blobs[0].size).await.unwrap(), Deleted::Everywhere));
    app.store.set_engines(vec![c]);
    let few = repair.whole(office).await.unwrap().last.unwrap();
    assert_eq!((few.found, few.fewer, few.lost, few.removed), (13, 13, 0, 0), "{few:?}");
    let told = status(&operator).await.summary;
    let few = "no further disk may be lost; too few take more; 1 fails now; 13 blobs with fewer copies";
    assert_eq!(told, format!("2 copies, 2 disks: {few}"));
}

/// Whatever number a process is started with, or with none.
async fn the_number_of_copies_is_the_databases(ground: Ground) {
    let ground = on_disks(ground).await;
    let (app, operator) = (&ground.app, ground.operator().await);
    let blob = stored(app, AccountId::new(), b"twice").await;
    for said in [None, Some(NonZeroUsize::MIN)] {
        let store = Store::on(disks(&ground).to_vec(), NonZeroUsize::MIN);
        let stores = Stores { store, legacy: None, copies: said };
        let other = App::open(app.config.clone(), stores, None).await.unwrap();
        assert_eq!(other.store.copies_wanted(), 2);
        let looked = Repair::new(&Care::new(&other)).whole(office(&other).await).await.unwrap().last.unwrap();
        assert_eq!((looked.blobs, looked.removed, copies(&other, &blob).await), (1, 0, 2));
        crate::leader::resign(&other.db, Office::Store, other.instance).await.unwrap();
    }
    // More are kept as soon as somebody says so, by every process.
    let stores = Stores::from(Store::on(disks(&ground).to_vec(), NonZeroUsize::new(3).unwrap()));
    let other = App::open(app.config.clone(), stores, None).await.unwrap();
    assert_eq!((other.store.copies_wanted(), app.store.copies_wanted()), (3, 2));
    assert_eq!(status(&operator).await.copies, 3);
    let asked = json!({"holder": InstanceId::new()});
    let lease = ground.anonymous().send(Method::POST, "/internal/store/epochs", Some(asked)).await;
    assert_eq!(lease.read::<EpochLease>().copies, NonZeroUsize::new(3));

    // Fewer, once the operator does.
    let set = async |number: u32| operator.put("/operator/store/copies", json!({"copies": number})).await;
    for wrong in [0, 4, 17] {
        assert_eq!(set(wrong).await.code(), Code::InvalidField, "{wrong}");
    }
    let with_key = operator.key(&["admin"]).await;
    assert_eq!(with_key.put("/operator/store/copies", json!({"copies": 1})).await.code(), Code::Forbidden);
    assert_eq!(set(1).await.read::<StoreStatus>().copies, 1);
    let looked = Repair::new(&Care::new(&other)).whole(office(&other).await).await.unwrap().last.unwrap();
    assert_eq!((looked.removed, copies(&other, &blob).await), (1, 1), "the other one has heard of it");
}

async fn one_copy_is_called_one_copy(ground: Ground) {
    let (app, operator) = (&ground.app, ground.operator().await);
    let blob = stored(app, AccountId::new(), b"once").await;
    let told = status(&operator).await;
    assert_eq!((told.summary.as_str(), told.copies), ("1 copy, 1 disk: what a disk loses is lost", 1));
    assert_eq!((told.blobs, told.bytes, told.last_look.as_ref()), (1, blob.size, None));
    assert!(told.disks[0].free.is_some() && told.disks[0].total > told.disks[0].free);
    let name = told.disks[0].name.replace('/', "%2F").replace(' ', "%20");
    let refused = operator.post(&format!("/operator/store/disks/{name}/drain"), json!({})).await;
    assert_eq!(refused.code(), Code::InvalidField);
    let (mut repair, office) = (Repair::new(&Care::new(app)), office(app).await);
    std::fs::remove_file(&ground.segments(blob.id)[0]).unwrap();
    let looked = repair.whole(office).await.unwrap().last.unwrap();
    assert_eq!((looked.found, looked.fewer, looked.lost), (1, 1, 1));
    let ada = ground.user("ada@example.org", "ada").await;
    assert_eq!(ada.get("/operator/store").await.code(), Code::Forbidden);
    assert_eq!(operator.key(&["admin"]).await.get("/operator/store").await.code(), Code::Forbidden);
}
