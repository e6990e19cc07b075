//! What the store is measured beside: files that are written and flushed by hand, and what the release before did with bytes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, ensure};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _};
use protocol::Digest;

pub(super) const BY_HAND: &str = "the plain bytes in one file, written and flushed, then its folder flushed; for two copies \
                                  on two threads at once; read without a check";
pub(super) const RELEASE_BEFORE: &str = "chunks of 256 KiB and a manifest, files named by their BLAKE3, each written beside, \
                                         flushed, renamed and its folder flushed, four at once, each one's copies one after the other, \
                                         in 256 folders that are there before; \
                                         each chunk and the whole checked when read; nothing encrypted";

/// The largest chunk of the release before, and how many it had on their way in and out at once.
const CHUNK: usize = 256 * 1024;
const PUTS_MAX: usize = 4;
const READS_MAX: usize = 3;
/// Of its manifest: magic, size and digest of the whole; then a digest and a length for each chunk.
const HEAD: usize = 4 + 8 + 32;
const ENTRY: usize = 32 + 4;

/// A name that no file has.
fn fresh() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("file-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Keeps the bytes in a file of this folder, durably; its path.
pub(super) fn keep_file(folder: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let path = folder.join(fresh());
    write(&path, bytes)?;
    flush(folder)?;
    Ok(path)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn flush(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// On a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// Makes the folders below this one that chunks are kept in.
pub(super) fn make_shards(folder: &Path) -> io::Result<()> {
    for shard in 0..=u8::MAX {
        fs::create_dir(folder.join(format!("{shard:02x}")))?;
    }
    flush(folder)
}

/// Keeps the bytes in each folder as the release before did; the manifest's name.
pub(super) async fn keep_chunks(folders: Arc<[PathBuf]>, bytes: Bytes) -> anyhow::Result<Digest> {
    let mut manifest = [&b"CCM\x01"[..], &(bytes.len() as u64).to_le_bytes(), &Digest::of(&bytes).0].concat();
    let chunks = (0..bytes.len()).step_by(CHUNK).map(|from| bytes.slice(from..bytes.len().min(from + CHUNK)));
    let keep = |chunk: Bytes| {
        let folders = Arc::clone(&folders);
        blocking(move || keep_chunk(&folders, &chunk))
    };
    let mut kept = futures::stream::iter(chunks.map(&keep)).buffered(PUTS_MAX);
    while let Some((digest, length)) = kept.try_next().await? {
        manifest.extend_from_slice(&digest.0);
        manifest.extend_from_slice(&length.to_le_bytes());
    }
    Ok(keep(manifest.into()).await?.0)
}

/// Its name and length.
fn keep_chunk(folders: &[PathBuf], chunk: &[u8]) -> anyhow::Result<(Digest, u32)> {
    let digest = Digest::of(chunk);
    for folder in folders {
        let place = place(folder, digest);
        if place.try_exists()? {
            continue;
        }
        let incoming = folder.join(format!("incoming-{}", fresh()));
        write(&incoming, chunk)?;
        let shard = place.parent().context("a chunk's file has no folder")?;
        fs::rename(&incoming, &place)?;
        flush(shard)?;
    }
    Ok((digest, u32::try_from(chunk.len())?))
}

fn place(folder: &Path, digest: Digest) -> PathBuf {
    let name = digest.to_string();
    folder.join(&name[..2]).join(&name)
}

/// Reads what `keep_chunks` has kept, and checks it.
pub(super) async fn read_chunks(folder: PathBuf, root: Digest) -> anyhow::Result<Bytes> {
    let folder: Arc<Path> = folder.into();
    let read = |digest: Digest| {
        let folder = Arc::clone(&folder);
        blocking(move || read_chunk(&folder, digest))
    };
    let manifest = read(root).await?;
    let (head, entries) = manifest.split_at_checked(HEAD).context("the manifest is cut")?;
    let digests = entries.chunks_exact(ENTRY).filter_map(|entry| entry.first_chunk().copied().map(Digest));
    let mut chunks = futures::stream::iter(digests.map(&read)).buffered(READS_MAX);
    let mut bytes = BytesMut::new();
    while let Some(chunk) = chunks.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    let whole = Digest(*head.last_chunk().context("the manifest is cut")?);
    ensure!(Digest::of(&bytes) == whole, "the chunks are not the whole");
    Ok(bytes.freeze())
}

fn read_chunk(folder: &Path, digest: Digest) -> anyhow::Result<Vec<u8>> {
    let chunk = fs::read(place(folder, digest))?;
    ensure!(Digest::of(&chunk) == digest, "a chunk is damaged");
    Ok(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_kept_comes_back_or_is_damaged() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let paths: Arc<[PathBuf]> = folders.iter().map(|folder| folder.path().to_owned()).collect();
        for path in paths.iter() {
            make_shards(path).unwrap();
        }
        for length in [0, 1, CHUNK, 5 * CHUNK + 5] {
            let bytes: Bytes = (0..length).map(|at| (at / CHUNK).to_le_bytes()[0]).collect();
            let root = keep_chunks(Arc::clone(&paths), bytes.clone()).await.unwrap();
            for path in paths.iter() {
                assert!(read_chunks(path.clone(), root).await.unwrap() == bytes, "{length}");
            }
            assert!(fs::read(keep_file(&paths[0], &bytes).unwrap()).unwrap() == bytes);
        }
        let root = keep_chunks(Arc::clone(&paths), Bytes::from_static(b"abc")).await.unwrap();
        fs::write(place(&paths[0], Digest::of(b"abc")), b"abd").unwrap();
        assert!(read_chunks(paths[0].clone(), root).await.is_err());
    }
}
