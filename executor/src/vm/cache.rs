//! Images on disk, with a limit: the least recently used of the account that has the most go first. A run that has one open keeps it until it ends.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;
use protocol::{AccountId, ByteSize, Digest};
use serde::{Deserialize, Serialize};

use super::convert::Converted;
use crate::artifacts::evict::{Item, victims};
use crate::compile::WORK;

const DESCRIPTION: &str = "json";
const IMAGE: &str = "squashfs";

/// What is kept of an image, beside it.
#[derive(Serialize, Deserialize)]
struct Description {
    /// What it was made from; none where an earlier build made it.
    #[serde(default)]
    artifact: Option<Digest>,
    /// Who needed it first.
    #[serde(default)]
    owner: Option<AccountId>,
    #[serde(flatten)]
    converted: Converted,
}

impl Description {
    fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }
}

/// A folder of images. What is converted from what stands in a description beside each.
#[derive(Debug)]
pub(super) struct ImageCache {
    folder: PathBuf,
    limit: AtomicU64,
    changing: Mutex<()>,
}

impl ImageCache {
    /// Opens the folder, or makes it; what was not finished goes.
    pub(super) fn open(folder: &Path, limit: ByteSize) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let cache = Self { folder: folder.to_owned(), limit: AtomicU64::new(limit.0), changing: Mutex::default() };
        let known: Vec<PathBuf> = cache.descriptions()?.into_iter().map(|(_, _, path)| cache.image(&path)).collect();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            // One that cannot be read is of another build.
            let described = path.extension().is_some_and(|extension| extension == DESCRIPTION)
                && Description::read(&path).is_some();
            if path.extension().is_some_and(|extension| extension == WORK) {
                fs::remove_dir_all(path)?;
            } else if !described && !known.contains(&path) && path.is_file() {
                fs::remove_file(path)?;
            }
        }
        Ok(cache)
    }

    /// Where something may be written before it is complete.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The image that was made from this, if it is here.
    pub(super) fn get(&self, key: Digest) -> Option<Converted> {
        let path = self.path(key);
        let Description { converted, .. } = Description::read(&path)?;
        let size = fs::metadata(&converted.image.rootfs.path).ok()?.len();
        if size < converted.image.rootfs.size.0 {
            return None;
        }
        let now = SystemTime::now();
        drop(fs::File::open(&path).and_then(|file| file.set_modified(now)));
        Some(converted)
    }

    /// Keeps a description of an image that is in the folder already, and makes room.
    pub(super) fn put(
        &self,
        key: Digest,
        artifact: Digest,
        converted: Converted,
        owner: Option<AccountId>,
    ) -> io::Result<()> {
        let _changing = self.changing.lock();
        let scratch = self.folder.join(format!("{key}.partial"));
        let description = Description { artifact: Some(artifact), owner, converted };
        fs::write(&scratch, serde_json::to_vec(&description)?)?;
        fs::rename(scratch, self.path(key))?;
        self.make_room(Some(key))
    }

    /// What the images that are here were made from, the most recently used first.
    pub(super) fn recent(&self, count_max: usize) -> io::Result<Vec<Digest>> {
        let descriptions = self.descriptions()?;
        let made_from = |(_, _, path): &(SystemTime, u64, PathBuf)| Description::read(path)?.artifact;
        Ok(descriptions.iter().rev().filter_map(made_from).take(count_max).collect())
    }

    fn path(&self, key: Digest) -> PathBuf {
        self.folder.join(key.to_string()).with_extension(DESCRIPTION)
    }

    fn image(&self, description: &Path) -> PathBuf {
        Description::read(description).map(|read| read.converted.image.rootfs.path).unwrap_or_default()
    }

    /// By their last use: size, description.
    fn descriptions(&self) -> io::Result<Vec<(SystemTime, u64, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != DESCRIPTION) {
                continue;
            }
            let Some(Description { converted, .. }) = Description::read(&path) else { continue };
            let used = fs::metadata(&path)?.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            found.push((used, converted.image.rootfs.size.0, path));
        }
        found.sort();
        Ok(found)
    }

    /// Says whether it is less than before: then [`Self::shrink`] makes room.
    pub(super) fn set_limit(&self, limit: ByteSize) -> bool {
        self.limit.swap(limit.0, Ordering::Relaxed) > limit.0
    }

    /// What is beyond the limit goes.
    pub(super) fn shrink(&self) {
        let _changing = self.changing.lock();
        if let Err(error) = self.make_room(None) {
            tracing::warn!(%error, "images stay on disk beyond what is lent");
        }
    }

    pub(super) fn used(&self) -> ByteSize {
        ByteSize(self.descriptions().map_or(0, |found| found.iter().map(|(_, size, _)| size).sum()))
    }

    fn make_room(&self, newest: Option<Digest>) -> io::Result<()> {
        let descriptions = self.descriptions()?;
        let kept = newest.map(|newest| self.path(newest));
        let items = descriptions.iter().map(|(_, weight, path)| {
            let owner = Description::read(path).and_then(|read| read.owner);
            Item { owner, weight: *weight, name: (Some(path) != kept.as_ref()).then_some(path) }
        });
        for path in victims(items, self.limit.load(Ordering::Relaxed)) {
            let image = self.image(path);
            fs::remove_file(path)?;
            // Two artifacts may have become one image.
            let shared = descriptions.iter().any(|(_, _, other)| other.exists() && self.image(other) == image);
            if !shared && image.extension().is_some_and(|extension| extension == IMAGE) {
                fs::remove_file(image)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use images::{Architecture, Dropped, Identity, Image, ImageConfig, InputKind, Report, RootFs, User};

    use super::*;

    fn converted(folder: &Path, name: &str, size: u64) -> Converted {
        let path = folder.join(format!("{name}.squashfs"));
        fs::File::create(&path).unwrap().set_len(size).unwrap();
        let rootfs = RootFs { path, size: ByteSize(size), digest: Digest::of(name.as_bytes()) };
        let config = ImageConfig {
            program: "/app/function".to_owned(),
            entrypoint: Vec::new(),
            cmd: Vec::new(),
            env: Vec::new(),
            working_dir: "/".to_owned(),
            identity: Identity { user: User::FUNCTION, groups: Vec::new(), home: "/".to_owned() },
            exposed_ports: Vec::new(),
            architecture: Architecture::HOST,
        };
        let kind = InputKind::Executable;
        let report =
            Report { kind, layers: 1, entries: 1, bytes: ByteSize(size), dropped: Dropped::default(), choice: None };
        Converted { image: Image { rootfs, base: None, config, report }, hosted: None, convert_ms: 1 }
    }

    #[test]
    fn the_least_recently_used_goes_with_its_image_and_unfinished_work_goes_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ImageCache::open(folder.path(), ByteSize(250)).unwrap();
        let keys = ["a", "b", "c"].map(|name| Digest::of(name.as_bytes()));
        for (age, key) in keys.iter().take(2).enumerate() {
            cache.put(*key, *key, converted(folder.path(), ["a", "b"][age], 100), None).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(age as u64);
            fs::File::open(cache.path(*key)).unwrap().set_modified(time).unwrap();
        }
        assert!(cache.get(keys[0]).is_some(), "now the youngest");
        cache.put(keys[2], keys[2], converted(folder.path(), "c", 100), None).unwrap();
        let there = |name: &str| folder.path().join(format!("{name}.squashfs")).exists();
        assert_eq!(keys.map(|key| cache.get(key).is_some()), [true, false, true]);
        assert_eq!(["a", "b", "c"].map(there), [true, false, true]);
        let mut listed = cache.recent(9).unwrap();
        listed.sort();
        let mut left = vec![keys[0], keys[2]];
        left.sort();
        assert_eq!(listed, left);

        fs::write(folder.path().join("half.squashfs"), "x").unwrap();
        let half = folder.path().join("half").with_extension(WORK);
        fs::create_dir(&half).unwrap();
        let again = ImageCache::open(folder.path(), ByteSize(250)).unwrap();
        assert!(!half.exists() && !there("half") && there("a") && again.get(keys[0]).is_some());
        fs::remove_file(folder.path().join("a.squashfs")).unwrap();
        assert!(again.get(keys[0]).is_none(), "a description without its image is nothing");
    }
}
