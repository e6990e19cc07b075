//! Machine code on disk. A file is believed only if it carries the mark of a key that this node alone has: code
//! that is loaded runs with the node's own rights.
//!
//! A file: 32 bytes of keyed BLAKE3 over all that follows and the artifact's digest; the header's length (big
//! endian, 32 bits); the header in JSON; the code.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use protocol::{AccountId, ByteSize, Digest};
use serde::{Deserialize, Serialize};

use super::evict::{Item, victims};
use crate::wasm::Format;

const EXTENSION: &str = "code";
const MARK_BYTES: usize = blake3::OUT_LEN;

/// An artifact, compiled.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Compiled {
    pub(crate) format: Format,
    pub(crate) compile_ms: u64,
    pub(crate) code: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    v: u8,
    /// Engine, its settings and this machine's features: code for another is of no use.
    engine: String,
    format: Format,
    compile_ms: u64,
    /// Who needed it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<AccountId>,
}

/// A header is short: what is longer is none.
const HEADER_BYTES_MAX: u64 = 4 << 10;

/// A folder of machine code with a limit; the least recently used of the account that has the most here goes first.
#[derive(Debug, Clone)]
pub(crate) struct DiskCache {
    folder: PathBuf,
    key: [u8; blake3::KEY_LEN],
    engine: String,
    limit: Arc<AtomicU64>,
}

impl DiskCache {
    /// Opens the folder, or makes it.
    pub(crate) fn open(folder: &Path, key: [u8; blake3::KEY_LEN], engine: String, limit: ByteSize) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let cache = Self { folder: folder.to_owned(), key, engine, limit: Arc::new(AtomicU64::new(limit.0)) };
        cache.forget_unfinished()?;
        Ok(cache)
    }

    /// Where something may be written before it is complete. Never found by a later start.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.partial"))
    }

    /// The compiled artifact, if it is here and genuine. Anything else is removed.
    pub(crate) fn get(&self, digest: Digest) -> Option<Compiled> {
        let path = self.path(digest);
        let mut bytes = fs::read(&path).ok()?;
        let Some((header, start)) = self.open_file(digest, &bytes) else {
            tracing::warn!(%digest, "a cached artifact is not genuine or of another engine");
            drop(fs::remove_file(&path));
            return None;
        };
        let now = SystemTime::now();
        drop(fs::File::open(&path).and_then(|file| file.set_modified(now)));
        bytes.drain(..start);
        Some(Compiled { format: header.format, compile_ms: header.compile_ms, code: bytes })
    }

    /// Keeps a compiled artifact, and makes room for it.
    pub(crate) fn put(&self, digest: Digest, compiled: &Compiled, owner: Option<AccountId>) -> io::Result<()> {
        let (engine, format, compile_ms) = (self.engine.clone(), compiled.format, compiled.compile_ms);
        let header = Header { v: 1, engine, format, compile_ms, owner };
        let header = serde_json::to_vec(&header)?;
        let length = u32::try_from(header.len()).map_err(io::Error::other)?;
        let mut rest = length.to_be_bytes().to_vec();
        rest.extend_from_slice(&header);
        rest.extend_from_slice(&compiled.code);
        let mut file = self.mark(digest, &rest).as_bytes().to_vec();
        file.append(&mut rest);
        self.make_room(u64::try_from(file.len()).unwrap_or(u64::MAX), owner)?;
        let scratch = self.scratch(&digest.to_string());
        fs::write(&scratch, file)?;
        fs::rename(scratch, self.path(digest))
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.to_string()).with_extension(EXTENSION)
    }

    fn mark(&self, digest: Digest, rest: &[u8]) -> blake3::Hash {
        blake3::Hasher::new_keyed(&self.key).update(&digest.0).update(rest).finalize()
    }

    fn open_file(&self, digest: Digest, bytes: &[u8]) -> Option<(Header, usize)> {
        let (mark, rest) = bytes.split_first_chunk::<MARK_BYTES>()?;
        // The comparison takes the same time wherever they differ.
        if self.mark(digest, rest) != blake3::Hash::from_bytes(*mark) {
            return None;
        }
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let header: Header = serde_json::from_slice(after.get(..length)?).ok()?;
        (header.v == 1 && header.engine == self.engine).then_some((header, MARK_BYTES + 4 + length))
    }

    /// What is here, the most recently used first.
    pub(crate) fn recent(&self, count_max: usize) -> io::Result<Vec<Digest>> {
        let digest = |path: &Path| path.file_stem()?.to_str()?.parse().ok();
        let files = self.files()?;
        Ok(files.iter().rev().filter_map(|(_, _, path)| digest(path)).take(count_max).collect())
    }

    fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Says whether it is less than before: then [`Self::shrink`] makes room.
    pub(crate) fn set_limit(&self, limit: ByteSize) -> bool {
        self.limit.swap(limit.0, Ordering::Relaxed) > limit.0
    }

    /// What is beyond the limit goes.
    pub(crate) fn shrink(&self) {
        if let Err(error) = self.make_room(0, None) {
            tracing::warn!(%error, "compiled artifacts stay on disk beyond what is lent");
        }
    }

    pub(crate) fn used(&self) -> ByteSize {
        ByteSize(self.files().map_or(0, |files| files.iter().map(|(_, size, _)| size).sum()))
    }

    fn make_room(&self, needed: u64, owner: Option<AccountId>) -> io::Result<()> {
        let files = self.files()?;
        if files.iter().map(|(_, size, _)| size).sum::<u64>().saturating_add(needed) <= self.limit() {
            return Ok(());
        }
        let kept = files.into_iter().map(|(_, weight, path)| Item { owner: owner_of(&path), weight, name: Some(path) });
        let newest = Item { owner, weight: needed, name: None };
        for path in victims(kept.chain([newest]), self.limit()) {
            fs::remove_file(&path)?;
        }
        Ok(())
    }

    /// By their last use: size, file.
    fn files(&self) -> io::Result<Vec<(SystemTime, u64, PathBuf)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                let meta = fs::metadata(&path)?;
                files.push((meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), meta.len(), path));
            }
        }
        files.sort();
        Ok(files)
    }

    fn forget_unfinished(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.is_dir() {
                fs::remove_dir_all(path)?;
            } else if path.extension().is_none_or(|extension| extension != EXTENSION) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// Who needed it first, as the file says. It is not believed for anything but the order in which files go.
fn owner_of(path: &Path) -> Option<AccountId> {
    let start = u64::try_from(MARK_BYTES + 4).unwrap_or(0);
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(start + HEADER_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let (length, after) = bytes.get(MARK_BYTES..)?.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    serde_json::from_slice::<Header>(after.get(..length)?).ok()?.owner
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(folder: &Path, limit: u64) -> DiskCache {
        DiskCache::open(folder, [7; 32], "engine-1".to_owned(), ByteSize(limit)).unwrap()
    }

    fn compiled(size: usize) -> Compiled {
        Compiled { format: Format::Module, compile_ms: 12, code: vec![0xc3; size] }
    }

    #[test]
    fn what_was_put_comes_back_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"a");
        cache(folder.path(), 1 << 20).put(digest, &compiled(1000), None).unwrap();
        let unfinished = folder.path().join("b.work");
        fs::create_dir(&unfinished).unwrap();
        assert_eq!(cache(folder.path(), 1 << 20).get(digest), Some(compiled(1000)));
        assert_eq!(cache(folder.path(), 1 << 20).get(Digest::of(b"b")), None);
        assert!(!unfinished.exists());
    }

    #[test]
    fn a_changed_moved_or_foreign_file_is_never_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let own = cache(folder.path(), 1 << 20);
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        own.put(a, &compiled(100), None).unwrap();
        let genuine = fs::read(own.path(a)).unwrap();

        for position in [0, 33, 60, genuine.len() - 1] {
            let mut changed = genuine.clone();
            changed[position] ^= 1;
            fs::write(own.path(a), changed).unwrap();
            assert_eq!(own.get(a), None, "byte {position} was changed");
            assert!(!own.path(a).exists());
        }
        fs::write(own.path(b), &genuine).unwrap();
        assert_eq!(own.get(b), None, "another artifact's code");
        for (key, engine) in [([8; 32], "engine-1"), ([7; 32], "engine-2")] {
            fs::write(own.path(a), &genuine).unwrap();
            let other = DiskCache::open(folder.path(), key, engine.to_owned(), ByteSize(1 << 20)).unwrap();
            assert_eq!(other.get(a), None);
        }
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), 4000);
        let digests: Vec<Digest> = [b"a", b"b", b"c"].iter().map(|name| Digest::of(*name)).collect();
        for (age, digest) in digests.iter().enumerate() {
            cache.put(*digest, &compiled(1000), None).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(age as u64);
            fs::File::open(cache.path(*digest)).unwrap().set_modified(time).unwrap();
        }
        assert!(cache.get(digests[0]).is_some(), "now the youngest");
        cache.put(Digest::of(b"d"), &compiled(1000), None).unwrap();
        let here: Vec<bool> = digests.iter().map(|digest| cache.path(*digest).exists()).collect();
        assert_eq!(here, [true, false, true]);
    }
}
