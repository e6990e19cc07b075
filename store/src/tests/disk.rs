//! What only the disk promises: no half chunk under a name, whenever its writer dies.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use protocol::Digest;

use super::noise;
use crate::Store;

/// Where the child of the test below writes to.
const CHILD_FOLDER: &str = "STORE_TEST_CHILD_FOLDER";

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

/// Not a test of its own: run by the next one in a process that it kills. Writes until then.
#[tokio::test]
async fn child_that_writes() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    let store = Store::disk(folder).unwrap();
    for number in 0_u32.. {
        let mut chunk = number.to_le_bytes().to_vec();
        chunk.extend(noise(200_000, 1));
        store.put(chunk.into()).await.unwrap();
    }
}

#[test]
fn a_killed_writer_leaves_no_half_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let chunks = folder.path().join("chunks");
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::disk::child_that_writes"])
            .env(CHILD_FOLDER, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let before = if round == 0 { 0 } else { files_below(&chunks).len() };
        let deadline = SystemTime::now() + Duration::from_secs(20);
        while !chunks.exists() || files_below(&chunks).len() < before + 3 {
            assert!(SystemTime::now() < deadline, "the child writes nothing");
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_micros(700 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        for file in files_below(&chunks) {
            let name = file.file_name().unwrap().to_str().unwrap();
            assert_eq!(Digest::of(&fs::read(&file).unwrap()).to_string(), name);
            assert_eq!(file.parent().unwrap().file_name().unwrap().to_str().unwrap(), &name[..2]);
        }
    }
}

#[tokio::test]
async fn what_dead_writers_left_is_cleared_and_the_living_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::disk(folder.path()).unwrap();
    let digest = store.put(noise(100, 1)).await.unwrap();
    let (dead, living) = (folder.path().join("incoming/dead.1.0"), folder.path().join("incoming/living.2.0"));
    fs::write(&dead, "half").unwrap();
    fs::write(&living, "half").unwrap();
    File::open(&dead).unwrap().set_modified(SystemTime::now() - Duration::from_secs(7200)).unwrap();
    let reopened = Store::disk(folder.path()).unwrap();
    assert!(!dead.exists() && living.exists());
    assert_eq!(reopened.get_chunk(digest).await.unwrap(), noise(100, 1));
}

#[tokio::test]
async fn two_on_one_folder_see_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (Store::disk(folder.path()).unwrap(), Store::disk(folder.path()).unwrap());
    let stored = one.put_bytes(noise(600_000, 2)).await.unwrap();
    let object = other.get(stored.root).await.unwrap();
    assert_eq!(object.collect(stored.size).await.unwrap(), noise(600_000, 2));
    assert_eq!(files_below(&folder.path().join("incoming")), Vec::<PathBuf>::new());
}

#[test]
fn a_folder_that_cannot_be_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Store::disk(file.path().join("store")).err().unwrap();
    assert!(error.to_string().starts_with("the disk engine cannot open"), "{error}");
}
