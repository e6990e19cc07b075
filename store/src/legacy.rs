//! What lay in stores before there were blobs: content-addressed chunks, and manifests that list them. Only read, until
//! all of it has been put again.
//!
//! An object's address is the digest of its manifest, which is a chunk itself. Every chunk is checked by its digest.

mod manifest;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fabric::subjects;
use futures::StreamExt as _;
use protocol::Digest;

pub use manifest::{ChunkRef, Manifest};

use crate::engine::{Bucket, EngineError, Trouble};
use crate::{Error, Object, Piece};

/// The most bytes of a chunk.
pub const CHUNK_SIZE_MAX: usize = 256 * 1024;

/// Chunks fetched ahead of the reader.
const AHEAD_MAX: usize = 3;

/// A store before there were blobs. Cheap to clone.
#[derive(Clone)]
pub struct Legacy {
    source: Arc<Source>,
}

enum Source {
    /// A file for each chunk, `chunks/<2 hex digits>/<64 hex digits>`.
    Disk(PathBuf),
    /// A message for each chunk.
    JetStream { bucket: Box<Bucket>, stream: String },
    /// There was none.
    Nothing,
}

impl Legacy {
    /// In this folder of a store. Where it has none, it is empty.
    #[must_use]
    pub fn disk(folder: impl AsRef<Path>) -> Self {
        Self::of(Source::Disk(folder.as_ref().join("chunks")))
    }

    /// In this stream. Where there is no such stream, it is empty.
    ///
    /// # Errors
    /// When JetStream does not answer.
    pub async fn jetstream(client: async_nats::Client, stream: &str) -> Result<Self, Error> {
        Ok(Self::of(match Bucket::find(client, stream).await? {
            Some(bucket) => Source::JetStream { bucket: Box::new(bucket), stream: stream.to_owned() },
            None => Source::Nothing,
        }))
    }

    fn of(source: Source) -> Self {
        Self { source: Arc::new(source) }
    }

    /// The object at this address.
    ///
    /// # Errors
    /// When there is no manifest; the stream itself fails where a chunk is missing or damaged.
    pub async fn get(&self, root: Digest) -> Result<Object, Error> {
        let manifest = self.chunk(root).await?;
        let manifest = Manifest::parse(&manifest).map_err(|why| Error::NotAManifest { root, why })?;
        let Manifest { digest, size, chunks } = manifest;
        let legacy = self.clone();
        let pieces = futures::stream::iter(chunks)
            .map(move |wanted| fetch(legacy.clone(), root, wanted))
            .buffered(AHEAD_MAX)
            .boxed();
        Ok(Object::whole(Piece::Object(root), digest, size, pieces))
    }

    /// Whether it has no chunk.
    ///
    /// # Errors
    /// When the folder cannot be read or JetStream does not answer.
    pub async fn is_empty(&self) -> Result<bool, Error> {
        match &*self.source {
            Source::Disk(_) => self.files("read", |folder| has_no_file(&folder)).await,
            Source::JetStream { bucket, .. } => Ok(bucket.messages().await? == 0),
            Source::Nothing => Ok(true),
        }
    }

    /// Removes all of it: for when nothing refers to it any more.
    ///
    /// # Errors
    /// When it cannot be removed. Some of it may be gone.
    pub async fn remove(&self) -> Result<(), Error> {
        match &*self.source {
            Source::Disk(_) => self.files("remove", |folder| or_missing(std::fs::remove_dir_all(folder), ())).await,
            Source::JetStream { bucket, .. } => Ok(bucket.remove().await?),
            Source::Nothing => Ok(()),
        }
    }

    /// The only way to a chunk's bytes.
    async fn chunk(&self, digest: Digest) -> Result<Bytes, Error> {
        let (kept, engine) = match &*self.source {
            Source::Disk(folder) => {
                let name = digest.to_string();
                let path = folder.join(&name[..2]).join(&name);
                let read = move |_| or_missing(std::fs::read(path).map(Some), None);
                (self.files("read", read).await?.map(Bytes::from), folder.display().to_string())
            }
            Source::JetStream { bucket, stream } => {
                let kept = bucket.patiently(|| bucket.read(subjects::chunk(stream, digest))).await?;
                (kept, bucket.name().to_owned())
            }
            Source::Nothing => (None, String::new()),
        };
        let piece = Piece::Chunk(digest);
        let chunk = kept.ok_or(Error::Missing { piece })?;
        if Digest::of(&chunk) == digest { Ok(chunk) } else { Err(Error::Corrupt { piece, engine }) }
    }

    /// File calls block: they run on a thread of their own.
    async fn files<T: Send + 'static>(
        &self,
        verb: &'static str,
        work: impl FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let folder = match &*self.source {
            Source::Disk(folder) => folder.clone(),
            Source::JetStream { .. } | Source::Nothing => PathBuf::new(),
        };
        let engine = format!("disk {}", folder.display());
        let done = tokio::task::spawn_blocking(move || work(folder)).await.map_err(io::Error::other).flatten();
        Ok(done.map_err(|error| EngineError { engine, verb, trouble: Trouble::Failed, source: error.into() })?)
    }
}

async fn fetch(legacy: Legacy, root: Digest, wanted: ChunkRef) -> Result<Bytes, Error> {
    let chunk = legacy.chunk(wanted.digest).await?;
    if u32::try_from(chunk.len()) != Ok(wanted.length) {
        return Err(Error::CorruptObject { piece: Piece::Object(root) });
    }
    Ok(chunk)
}

fn has_no_file(chunks: &Path) -> io::Result<bool> {
    let Some(shards) = or_missing(std::fs::read_dir(chunks).map(Some), None)? else { return Ok(true) };
    for shard in shards {
        if std::fs::read_dir(shard?.path())?.next().is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn or_missing<T>(result: io::Result<T>, missing: T) -> io::Result<T> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(missing),
        result => result,
    }
}
