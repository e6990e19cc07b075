//! What only the disk promises: no half segment under a name, whenever its writer dies.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use super::{EPOCH, files_below, noise, read, segment};
use crate::engine::Disk;
use crate::{Engine, Error, SegmentName, Store};

/// Where the child of the test below writes to.
const CHILD_FOLDER: &str = "STORE_TEST_CHILD_FOLDER";

/// Not a test of its own: run by the next one in a process that it kills. Writes until then.
#[tokio::test]
async fn child_that_writes() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    let store = Store::disk(folder).unwrap();
    loop {
        store.put_bytes(EPOCH, noise(200_000, 1)).await.unwrap();
    }
}

#[test]
fn a_killed_writer_leaves_no_half_segment() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = folder.path().join("blobs");
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::disk::child_that_writes"])
            .env(CHILD_FOLDER, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let before = if round == 0 { 0 } else { files_below(&blobs).len() };
        let deadline = SystemTime::now() + Duration::from_secs(20);
        while !blobs.exists() || files_below(&blobs).len() < before + 3 {
            assert!(SystemTime::now() < deadline, "the child writes nothing");
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_micros(700 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        for file in files_below(&blobs) {
            let name: SegmentName = file.file_name().unwrap().to_str().unwrap().parse().unwrap();
            assert_eq!(fs::metadata(&file).unwrap().len(), 8 + 200_000 + 4 * 16);
            let shard = format!("{:02x}", name.blob.random()[0]);
            assert_eq!(file.parent().unwrap().file_name().unwrap().to_str().unwrap(), shard);
        }
    }
}

#[tokio::test]
async fn what_dead_writers_left_is_cleared_and_the_living_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::disk(folder.path()).unwrap();
    let blob = store.put_bytes(EPOCH, noise(100, 1)).await.unwrap();
    let (dead, living) = (folder.path().join("incoming/dead.1.0"), folder.path().join("incoming/living.2.0"));
    fs::write(&dead, "half").unwrap();
    fs::write(&living, "half").unwrap();
    File::open(&dead).unwrap().set_modified(SystemTime::now() - Duration::from_secs(7200)).unwrap();
    let reopened = Store::disk(folder.path()).unwrap();
    assert!(!dead.exists() && living.exists());
    assert_eq!(read(&reopened, &blob).await.unwrap(), noise(100, 1));
}

#[tokio::test]
async fn two_on_one_folder_see_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (Store::disk(folder.path()).unwrap(), Store::disk(folder.path()).unwrap());
    let blob = one.put_bytes(EPOCH, noise(600_000, 2)).await.unwrap();
    assert_eq!(read(&other, &blob).await.unwrap(), noise(600_000, 2));
    assert_eq!(files_below(&folder.path().join("incoming")), Vec::<PathBuf>::new());
}

/// Files of others in the folder are neither listed nor in the way.
#[tokio::test]
async fn only_segments_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(folder.path()).unwrap();
    let name = segment(1, 1, 0);
    disk.put(name, noise(10, 1)).await.unwrap();
    fs::write(folder.path().join("blobs/01/notes.txt"), "x").unwrap();
    fs::write(folder.path().join("blobs/notes.txt"), "x").unwrap();
    let listed = disk.list(None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|listed| listed.name).collect::<Vec<_>>(), [name]);
}

/// A disk that is not there any more has not lost its segments.
#[tokio::test]
async fn a_folder_that_is_gone_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::disk(folder.path()).unwrap();
    let blob = store.put_bytes(EPOCH, noise(10, 1)).await.unwrap();
    fs::rename(folder.path().join("blobs"), folder.path().join("elsewhere")).unwrap();
    assert!(matches!(store.get(&blob).await, Err(Error::Engine(_))));
    assert!(matches!(store.delete(blob.id, blob.size).await, Err(Error::Engine(_))));
    assert!(matches!(store.list(None, 10).await, Err(Error::Engine(_))));
    let refused = store.put_bytes(EPOCH, noise(10, 1)).await;
    assert!(matches!(refused, Err(Error::TooFewDisks { wanted: 1, left: 0 })), "{refused:?}");
    fs::rename(folder.path().join("elsewhere"), folder.path().join("blobs")).unwrap();
    assert_eq!(read(&store, &blob).await.unwrap(), noise(10, 1));
}

/// Before the first put, and durable: no put has to see to the folder of its segment.
#[test]
fn all_folders_are_there_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        Disk::open(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path().join("blobs")).unwrap().count(), 256);
        assert!(folder.path().join("blobs/ff").is_dir());
    }
}

#[tokio::test]
async fn two_folders_of_one_device_are_one_domain() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| Disk::open(&folder.path().join(name)).unwrap();
    let (one, other) = (open("one"), open("other"));
    assert_eq!(one.domain(), other.domain());
    assert_ne!(one.name(), other.name());
    assert_eq!(open("third").in_domain("rack 3").domain(), "rack 3");
}

#[test]
fn a_folder_that_cannot_be_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Store::disk(file.path().join("store")).err().unwrap();
    let begins = format!("disk {}/store cannot open", file.path().display());
    assert!(error.to_string().starts_with(&begins), "{error}");
}
