//! The `disk` engine: a file for each chunk, `chunks/<2 hex digits>/<64 hex digits>`.
//!
//! A chunk is written to `incoming/`, flushed, and renamed: its name never stands for half of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use protocol::Digest;

use super::{Engine, EngineError};

const NAME: &str = "disk";

/// A file in `incoming/` this old belongs to a process that died.
const LEFT_BEHIND_AFTER: Duration = Duration::from_secs(3600);

/// Chunks in a folder. Several processes may share it.
pub struct Disk {
    place: Arc<Place>,
}

struct Place {
    chunks: PathBuf,
    incoming: PathBuf,
}

impl Disk {
    /// Opens the folder, makes it where it is missing, and clears what dead processes left behind.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn open(folder: &Path) -> Result<Self, EngineError> {
        let place = Place { chunks: folder.join("chunks"), incoming: folder.join("incoming") };
        place.prepare().map_err(failed("open"))?;
        Ok(Self { place: Arc::new(place) })
    }

    /// File calls block: they run on a thread of their own.
    fn run<T: Send + 'static>(
        &self,
        verb: &'static str,
        work: impl FnOnce(&Place) -> io::Result<T> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, EngineError>> {
        let place = Arc::clone(&self.place);
        let task = tokio::task::spawn_blocking(move || work(&place));
        async move { task.await.map_err(io::Error::other).flatten().map_err(failed(verb)) }.boxed()
    }
}

impl Engine for Disk {
    fn name(&self) -> &'static str {
        NAME
    }

    fn put(&self, digest: Digest, chunk: Bytes) -> BoxFuture<'_, Result<(), EngineError>> {
        self.run("put", move |place| place.put(digest, &chunk))
    }

    fn read(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Bytes>, EngineError>> {
        self.run("read", move |place| unless_missing(fs::read(place.path(digest))).map(|file| file.map(Bytes::from)))
    }

    fn has(&self, digest: Digest) -> BoxFuture<'_, Result<bool, EngineError>> {
        self.run("find", move |place| place.path(digest).try_exists())
    }

    fn delete(&self, digest: Digest) -> BoxFuture<'_, Result<(), EngineError>> {
        self.run("delete", move |place| unless_missing(fs::remove_file(place.path(digest))).map(drop))
    }
}

impl Place {
    fn prepare(&self) -> io::Result<()> {
        fs::create_dir_all(&self.chunks)?;
        fs::create_dir_all(&self.incoming)?;
        for entry in fs::read_dir(&self.incoming)? {
            let entry = entry?;
            // Another process may clear at the same time.
            let Some(meta) = unless_missing(entry.metadata())? else { continue };
            if meta.modified()?.elapsed().is_ok_and(|age| age > LEFT_BEHIND_AFTER) {
                unless_missing(fs::remove_file(entry.path()))?;
            }
        }
        Ok(())
    }

    fn shard(&self, name: &str) -> PathBuf {
        self.chunks.join(&name[..2])
    }

    fn path(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.shard(&name).join(name)
    }

    fn put(&self, digest: Digest, chunk: &[u8]) -> io::Result<()> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = digest.to_string();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let incoming = Incoming(self.incoming.join(format!("{name}.{}.{count}", std::process::id())));
        let mut file = OpenOptions::new().write(true).create_new(true).open(&incoming.0)?;
        file.write_all(chunk)?;
        file.sync_all()?;
        let shard = self.shard(&name);
        if unless_exists(fs::create_dir(&shard))? {
            sync_folder(&self.chunks)?;
        }
        fs::rename(&incoming.0, shard.join(name))?;
        // The name must outlive a power cut too.
        sync_folder(&shard)
    }
}

/// A file that is not there yet: removed unless it was renamed.
struct Incoming(PathBuf);

impl Drop for Incoming {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn unless_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether it was made just now.
fn unless_exists(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn failed(verb: &'static str) -> impl FnOnce(io::Error) -> EngineError {
    move |error| EngineError { engine: NAME, verb, source: error.into() }
}
