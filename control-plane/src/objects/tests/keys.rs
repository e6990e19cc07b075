//! Master keys: gone over to a newer one, wherever that dies; lost, and brought back from an export.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use protocol::{AccountId, Blob, InstanceId};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _};
use store::Store;

use super::{commit, disown, in_hours, in_store, is_refused, own, put, read, stored, sweep};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::{blobs, store_keys};
use crate::error::Result;
use crate::leader::{self, Office};
use crate::objects::ReadError;
use crate::objects::keys::{KeyFolder, KeyNumber, MasterSecret, Rotation};
use crate::objects::seal::MasterKey;
use crate::tests::harness::{Ground, config, sqlite_url, suite};
use crate::tests::warnings::warnings;

suite!(
    a_newer_key_takes_over_all_blobs,
    wherever_a_rotation_dies_all_blobs_can_be_read,
    two_leaders_and_writers_lose_nothing,
    a_restored_platform_reads_with_the_exported_key_alone,
    blobs_of_the_derived_key_are_read_and_taken_over,
    another_key_of_the_same_number_is_not_taken,
    a_retired_key_stays_until_exports_have_it_and_the_newest,
    another_databases_keys_stay,
    what_is_no_key_ends_no_start,
    a_key_that_only_a_follower_has_is_told,
);

/// Where a rotation dies.
const STEPS: [&str; 5] = ["keys.registered", "keys.wrapping", "keys.wrapped", "keys.retired", "keys.deleted"];

fn folder(app: &App) -> &KeyFolder {
    app.objects.keys.folder()
}

/// Until there is nothing to do.
async fn rotate(app: &App) {
    let mut rotation = Rotation::new(app.clone());
    while Box::pin(rotation.turn()).await.unwrap() {}
}

/// All keys of the folder are kept elsewhere, too.
fn export(app: &App) {
    folder(app).note(&folder(app).export(None).unwrap()).unwrap();
}

/// What is logged until there is nothing to do.
async fn warned(app: &App) -> Vec<String> {
    warnings(Box::pin(rotate(app))).await.1
}

/// The numbers of the keys in the folder, of those that are registered, and of those that rows are sealed under.
async fn numbers(app: &App) -> [BTreeSet<i32>; 3] {
    let files = folder(app).read().unwrap().keys.into_keys().map(|number| number.0).collect();
    let registered = store_keys::Entity::find().all(app.db.read()).await.unwrap();
    let rows = blobs::Entity::find().all(app.db.read()).await.unwrap();
    let registered = registered.into_iter().map(|row| row.number).collect();
    [files, registered, rows.into_iter().map(|row| row.master).collect()]
}

fn only(number: i32) -> [BTreeSet<i32>; 3] {
    [(); 3].map(|()| BTreeSet::from([number]))
}

async fn all_are_read(app: &App, blobs: &[Blob]) {
    for blob in blobs {
        let opened = crate::objects::open(app, app.db.read(), blob.id).await;
        assert_eq!(opened.unwrap(), *blob);
    }
}

async fn a_newer_key_takes_over_all_blobs(ground: Ground) {
    let (app, account) = (&ground.app, AccountId::new());
    let mut blobs = Vec::new();
    let mut held = Vec::new();
    // More than one step wraps.
    for number in 0..250_u32 {
        let (writing, blob) = put(app, &number.to_le_bytes()).await;
        held.push(writing);
        blobs.push(blob);
    }
    let tx = app.db.begin().await.unwrap();
    for blob in &blobs {
        crate::objects::keep(app, &tx, Some(account), blob).await.unwrap();
        own(&tx, account, blob).await;
    }
    tx.commit().await.unwrap();
    rotate(app).await;
    assert_eq!(numbers(app).await, only(1), "there is none that is newer");

    assert_eq!(folder(app).rotate().unwrap(), KeyNumber(2));
    export(app);
    rotate(app).await;
    assert_eq!(numbers(app).await, only(2));
    all_are_read(app, &blobs).await;
    assert_eq!(&read(app, blobs[7].id).await.unwrap()[..], 7_u32.to_le_bytes());
}

async fn wherever_a_rotation_dies_all_blobs_can_be_read(ground: Ground) {
    let (app, account) = (&ground.app, AccountId::new());
    let mut blobs = vec![stored(app, account, b"before").await];
    for (number, step) in (2..).zip(STEPS) {
        assert_eq!(folder(app).rotate().unwrap(), KeyNumber(number));
        export(app);
        let dying = {
            let app = app.clone();
            async move { fabric::fault::die_at(step, Box::pin(async { rotate(&app).await })).await }
        };
        let died = tokio::spawn(dying).await;
        assert!(died.is_err_and(|error| error.is_panic()), "it comes to {step}");
        blobs.push(stored(app, account, step.as_bytes()).await);
        all_are_read(app, &blobs).await;
        // A process that starts in the middle.
        let other = App::open(app.config.clone(), app.store.clone(), None).await.unwrap();
        assert!(other.objects.keys.is_whole(), "{step}");
        all_are_read(&other, &blobs).await;
        rotate(app).await;
        assert_eq!(numbers(app).await, only(number), "{step}");
        all_are_read(app, &blobs).await;
    }
}

async fn two_leaders_and_writers_lose_nothing(ground: Ground) {
    let (app, account) = (&ground.app, AccountId::new());
    // Another control plane, which does not look after its keys by itself.
    let other = App::open(app.config.clone(), app.store.clone(), None).await.unwrap();
    let mut blobs = vec![stored(app, account, b"one").await, stored(&other, account, b"other").await];
    for number in 2..5_u8 {
        assert_eq!(folder(app).rotate().unwrap(), KeyNumber(i32::from(number)));
        export(app);
        let leaders = [(); 2].map(|()| {
            let app = app.clone();
            tokio::spawn(async move { rotate(&app).await })
        });
        let writers = [app, &other].map(|app| {
            let app = app.clone();
            tokio::spawn(async move {
                let mut blobs = Vec::new();
                for one in 0..10_u8 {
                    blobs.push(stored(&app, AccountId::new(), &[number, one]).await);
                }
                blobs
            })
        });
        for leader in leaders {
            leader.await.unwrap();
        }
        for writer in writers {
            blobs.extend(writer.await.unwrap());
        }
        rotate(app).await;
        assert_eq!(numbers(app).await, only(i32::from(number)));
        all_are_read(app, &blobs).await;
        all_are_read(&other, &blobs).await;
        // Its last look was before the rotation.
        blobs.push(stored(&other, account, &[number]).await);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The database and the store as a backup has them, in this folder, and nothing else.
async fn restore(ground: &Ground, folder: &Path) -> App {
    let app = &ground.app;
    app.epochs.close().await.unwrap();
    let url = match app.config.database.clone() {
        sqlite if sqlite.starts_with("sqlite:") => {
            let sql = format!("VACUUM INTO '{}'", folder.join("test.db").display());
            app.db.write().execute_unprepared(&sql).await.unwrap();
            sqlite_url(folder)
        }
        // In its place.
        postgres => postgres,
    };
    copy(&ground.folder.path().join("store"), &folder.join("store"));
    let store = Store::disk(folder.join("store")).unwrap();
    let config = crate::Config { ticket_key_new: true, ..config(folder, url, ground.node) };
    App::open(config, store, None).await.unwrap()
}

async fn a_restored_platform_reads_with_the_exported_key_alone(ground: Ground) {
    let account = AccountId::new();
    let (kept, gone) = {
        let app = &ground.app;
        (stored(app, account, b"kept").await, stored(app, account, b"gone").await)
    };
    disown(&ground.app, account, &gone).await;
    let export = folder(&ground.app).export(Some("correct horse")).unwrap();
    let backup = tempfile::tempdir().unwrap();
    let app = &restore(&ground, backup.path()).await;

    assert!(!app.objects.keys.is_whole());
    assert!(folder(app).read().unwrap().keys.is_empty(), "no other key is made");
    let refused = read(app, kept.id).await.unwrap_err();
    assert!(matches!(refused, ReadError::NoKey { number: KeyNumber(1), .. }) && refused.passes(), "{refused}");
    is_refused(Result::<()>::Err(refused.into()));
    let (writing, lost) = put(app, b"never committed").await;
    is_refused(commit(app, account, &lost).await);
    drop(writing);
    app.epochs.close().await.unwrap();
    for hours in [2, 30] {
        sweep(app, in_hours(hours)).await;
    }
    assert_eq!(in_store(app).await, BTreeSet::from([kept.id, gone.id, lost.id]), "nothing is deleted meanwhile");

    assert!(folder(app).import(&export.text, Some("correct donkey")).is_err());
    assert_eq!(folder(app).import(&export.text, Some("correct horse")).unwrap().numbers, [KeyNumber(1)]);
    rotate(app).await;
    assert!(app.objects.keys.is_whole());
    assert_eq!(&read(app, kept.id).await.unwrap()[..], b"kept");
    let new = stored(app, account, b"new").await;
    disown(app, account, &new).await;
    app.epochs.close().await.unwrap();
    for hours in [2, 30] {
        sweep(app, in_hours(hours)).await;
    }
    assert_eq!(in_store(app).await, BTreeSet::from([kept.id]));
}

/// Rows of before there were numbers.
async fn blobs_of_the_derived_key_are_read_and_taken_over(ground: Ground) {
    let app = &ground.app;
    let blob = stored(app, AccountId::new(), b"of before").await;
    let derived = MasterKey::new(&app.tickets.master_key());
    blobs::Entity::update_many()
        .set(blobs::ActiveModel {
            sealed_key: Set(derived.seal(blob.id, &blob.key)),
            master: Set(0),
            ..Default::default()
        })
        .filter(blobs::Column::Id.eq(Col(blob.id)))
        .exec(app.db.write())
        .await
        .unwrap();
    store_keys::Entity::delete_many().exec(app.db.write()).await.unwrap();
    std::fs::remove_dir_all(folder(app).path()).unwrap();

    for _ in 0..2 {
        let again = App::open(app.config.clone(), app.store.clone(), None).await.unwrap();
        assert_eq!(numbers(&again).await, only(0));
        all_are_read(&again, std::slice::from_ref(&blob)).await;
        // It is derived again at the next start.
        std::fs::remove_dir_all(folder(app).path()).unwrap();
    }
    let again = App::open(app.config.clone(), app.store.clone(), None).await.unwrap();
    assert_eq!(folder(app).rotate().unwrap(), KeyNumber(1));
    export(app);
    rotate(&again).await;
    assert_eq!(numbers(&again).await, only(1));
    all_are_read(&again, &[blob]).await;
}

async fn another_key_of_the_same_number_is_not_taken(ground: Ground) {
    let app = &ground.app;
    let blob = stored(app, AccountId::new(), b"some").await;
    // Another control plane has gone over to a key of its own.
    let other = store_keys::ActiveModel { number: Set(2), fingerprint: Set("another's".to_owned()) };
    store_keys::Entity::insert(other).exec_without_returning(app.db.write()).await.unwrap();
    assert_eq!(folder(app).rotate().unwrap(), KeyNumber(2));
    let warned = warned(app).await;
    let told =
        warned.iter().filter(|line| line.contains("another key's") && line.contains("2.key has been moved away"));
    assert!(told.clone().any(|line| line.contains("rotate again")), "{warned:?}");
    assert_eq!(told.count(), 1, "{warned:?}");
    assert!(!app.objects.keys.is_whole());
    let [files, registered, used] = numbers(app).await;
    assert_eq!((files, registered), (BTreeSet::from([1, 2]), BTreeSet::from([1, 2])));
    assert_eq!(used, BTreeSet::from([1]));
    let more = stored(app, AccountId::new(), b"more").await;
    all_are_read(app, &[blob, more]).await;
}

/// Turns until there is nothing to do, and gives what is said of retired keys.
async fn told_of_retired(rotation: &mut Rotation) -> Vec<String> {
    let turns = async { while rotation.turn().await.unwrap() {} };
    let all = warnings(Box::pin(turns)).await.1;
    all.into_iter().filter(|line| line.contains("retired master keys are kept")).collect()
}

async fn a_retired_key_stays_until_exports_have_it_and_the_newest(ground: Ground) {
    let app = &ground.app;
    let blob = stored(app, AccountId::new(), b"some").await;
    let mut rotation = Rotation::new(app.clone());
    let stay = [BTreeSet::from([1, 2]), BTreeSet::from([2]), BTreeSet::from([2])];

    let first = folder(app).export(None).unwrap();
    folder(app).rotate().unwrap();
    let told = told_of_retired(&mut rotation).await;
    assert!(told.len() == 1 && told[0].contains("crowdcloud store key export"), "{told:?}");
    assert_eq!(numbers(app).await, stay, "no export has either");
    folder(app).note(&first).unwrap();
    assert!(told_of_retired(&mut rotation).await.is_empty(), "it is said once");
    assert_eq!(numbers(app).await, stay, "no export has the newest one");
    export(app);
    assert!(told_of_retired(&mut rotation).await.is_empty());
    assert_eq!(numbers(app).await, only(2));
    all_are_read(app, &[blob]).await;
}

/// A folder with the keys of another platform, which an empty database is started with once.
async fn another_databases_keys_stay(ground: Ground) {
    let app = &ground.app;
    folder(app).rotate().unwrap();
    store_keys::Entity::delete_many().exec(app.db.write()).await.unwrap();
    let new = App::open(app.config.clone(), app.store.clone(), None).await.unwrap();
    export(&new);
    rotate(&new).await;
    let all = [BTreeSet::from([1, 2]), BTreeSet::from([2]), BTreeSet::new()];
    assert_eq!(numbers(&new).await, all, "the newest one alone is registered, and nothing is deleted");

    // Its own rotation takes nothing of theirs either.
    folder(&new).rotate().unwrap();
    export(&new);
    rotate(&new).await;
    assert_eq!(numbers(&new).await, [BTreeSet::from([1, 3]), BTreeSet::from([3]), BTreeSet::new()]);
}

async fn what_is_no_key_ends_no_start(ground: Ground) {
    let app = &ground.app;
    let blob = stored(app, AccountId::new(), b"some").await;
    for file in ["0.key", "7.key"] {
        std::fs::write(folder(app).path().join(file), b"short").unwrap();
    }
    std::fs::set_permissions(folder(app).path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (again, told) = warnings(Box::pin(App::open(app.config.clone(), app.store.clone(), None))).await;
    let again = again.unwrap();
    assert!(again.objects.keys.is_whole(), "nothing needs them");
    for expected in ["others than its owner may open", "not a master key"] {
        assert!(told.iter().any(|line| line.contains(expected)), "{told:?}");
    }
    all_are_read(&again, std::slice::from_ref(&blob)).await;

    // The derived key is registered, and its file has something else.
    let derived = MasterSecret::of(app.tickets.master_key()).fingerprint();
    let row = store_keys::ActiveModel { number: Set(0), fingerprint: Set(derived) };
    store_keys::Entity::insert(row).exec_without_returning(app.db.write()).await.unwrap();
    for bytes in [b"short".to_vec(), vec![9; 32]] {
        std::fs::write(folder(app).path().join("0.key"), &bytes).unwrap();
        let opened = Box::pin(App::open(app.config.clone(), app.store.clone(), None));
        let (again, warned) = warnings(opened).await;
        let again = again.unwrap();
        assert!(warned.iter().any(|line| line.contains("master key 0 is missing: its file is")), "{warned:?}");
        assert!(!again.objects.keys.is_whole());
        all_are_read(&again, std::slice::from_ref(&blob)).await;
    }
    std::fs::remove_file(folder(app).path().join("0.key")).unwrap();
    let again = App::open(app.config.clone(), app.store.clone(), None).await.unwrap();
    assert!(again.objects.keys.is_whole());

    // So does one that goes bad while the platform runs.
    std::fs::write(folder(app).path().join("1.key"), b"short").unwrap();
    let warned = warned(&again).await;
    assert!(warned.iter().any(|line| line.contains("master key 1 is missing: its file is no key")), "{warned:?}");
}

async fn a_key_that_only_a_follower_has_is_told(ground: Ground) {
    let app = &ground.app;
    let (other, lease) = (InstanceId::new(), app.config.lease.duration());
    folder(app).rotate().unwrap();
    let mut rotation = Rotation::new(app.clone());
    let mut told = Vec::new();
    for _ in 0..6 {
        assert!(leader::lead(&app.db, Office::Store, other, lease).await.unwrap().is_some());
        let (turned, warned) = warnings(Box::pin(rotation.turn())).await;
        assert!(!turned.unwrap());
        told.extend(warned.into_iter().filter(|line| line.contains("newer master key 2")));
    }
    assert!(told.len() == 1 && told[0].contains("store key export"), "{told:?}");
    assert_eq!(numbers(app).await[1], BTreeSet::from([1]));
}
