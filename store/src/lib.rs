//! Bytes as content-addressed chunks: split, kept by an engine, and never handed out without a check of their digest.
//!
//! ```text
//! put_stream: bytes -> chunks of at most 256 KiB -> engine.put(BLAKE3, chunk) ... -> manifest (a chunk itself) = root
//! get:        root -> manifest -> engine.read(digest) -> digest checked -> bytes -> whole digest checked at the end
//! ```
//!
//! Engines know only put, read, has and delete. With several engines each one has every chunk: a chunk that one of
//! them lost or damaged is read from the next, and put right.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

pub mod engine;
mod error;
mod manifest;
mod object;
mod upload;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use protocol::{ByteSize, Digest};

pub use engine::Engine;
pub use error::Error;
pub use manifest::{ChunkRef, MANIFEST_CHUNKS_MAX, Manifest};
pub use object::Object;

/// The most bytes of a chunk: one message of NATS, far below its largest payload.
pub const CHUNK_SIZE_MAX: usize = 256 * 1024;

/// The most bytes of an object: what one manifest can list.
pub const OBJECT_SIZE_MAX: ByteSize = ByteSize((MANIFEST_CHUNKS_MAX * CHUNK_SIZE_MAX) as u64);

/// What was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// BLAKE3 of all bytes.
    pub digest: Digest,
    /// How many.
    pub size: ByteSize,
    /// The digest of the manifest: the address to `get` them by.
    pub root: Digest,
}

/// Chunks, objects made of them, and the engines that keep them. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    engines: Arc<[Arc<dyn Engine>]>,
}

impl Store {
    /// On a folder of this machine; made where it is missing.
    ///
    /// # Errors
    /// When the folder cannot be made or written.
    pub fn disk(folder: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self::on(vec![Arc::new(engine::Disk::open(folder.as_ref())?)]))
    }

    /// In a JetStream stream, with so many replicas; made where it is missing.
    ///
    /// # Errors
    /// When JetStream does not answer or refuses the stream.
    pub async fn jetstream(client: async_nats::Client, bucket: &str, replicas: usize) -> Result<Self, Error> {
        Ok(Self::on(vec![Arc::new(engine::JetStream::open(client, bucket, replicas).await?)]))
    }

    /// On these engines, each of which gets every chunk; read in this order.
    #[must_use]
    pub fn on(engines: Vec<Arc<dyn Engine>>) -> Self {
        Self { engines: engines.into() }
    }

    /// Keeps a chunk; durable on every engine when this returns. Putting it again changes nothing.
    ///
    /// # Errors
    /// When it is too large, or an engine fails.
    pub async fn put(&self, chunk: Bytes) -> Result<Digest, Error> {
        if chunk.len() > CHUNK_SIZE_MAX {
            return Err(Error::ChunkTooLarge { size: chunk.len() });
        }
        let digest = Digest::of(&chunk);
        for engine in self.engines.iter() {
            if !Self::holds(&**engine, digest).await {
                engine.put(digest, chunk.clone()).await?;
            }
        }
        Ok(digest)
    }

    /// A chunk, its digest checked. What an engine lacks or has damaged comes from the next engine, and is put right.
    ///
    /// # Errors
    /// The first engine's error, when no engine has it whole.
    pub async fn get_chunk(&self, digest: Digest) -> Result<Bytes, Error> {
        let mut first_error = None;
        for (place, engine) in self.engines.iter().enumerate() {
            match checked(&**engine, digest).await {
                Ok(chunk) => {
                    for broken in &self.engines[..place] {
                        if let Err(error) = broken.put(digest, chunk.clone()).await {
                            tracing::warn!(%digest, engine = broken.name(), %error, "a chunk could not be repaired");
                        }
                    }
                    return Ok(chunk);
                }
                Err(error) => {
                    if !matches!(error, Error::Missing { .. }) {
                        tracing::error!(%digest, engine = engine.name(), %error, "a chunk could not be read");
                    }
                    first_error.get_or_insert(error);
                }
            }
        }
        Err(first_error.unwrap_or(Error::Missing { digest }))
    }

    /// Whether some engine has the chunk; its bytes are not looked at.
    ///
    /// # Errors
    /// When an engine fails and none has it.
    pub async fn has(&self, digest: Digest) -> Result<bool, Error> {
        let mut failed = None;
        for engine in self.engines.iter() {
            match engine.has(digest).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(false), |error| Err(error.into()))
    }

    /// Forgets a chunk on every engine; no error where there is none. For tests that damage a store: equal bytes are one
    /// chunk, so that nobody can know of a single object that nothing else uses its chunks. That takes a sweep over all
    /// objects, and until there is one, nothing deletes chunks.
    #[cfg(test)]
    pub(crate) async fn delete(&self, digest: Digest) -> Result<(), Error> {
        for engine in self.engines.iter() {
            engine.delete(digest).await?;
        }
        Ok(())
    }

    /// Whether the engine has the chunk, undamaged. What cannot be read is written again.
    async fn holds(engine: &dyn Engine, digest: Digest) -> bool {
        matches!(engine.has(digest).await, Ok(true)) && checked(engine, digest).await.is_ok()
    }
}

/// The only way out of an engine.
async fn checked(engine: &dyn Engine, digest: Digest) -> Result<Bytes, Error> {
    let chunk = engine.read(digest).await?.ok_or(Error::Missing { digest })?;
    if Digest::of(&chunk) == digest { Ok(chunk) } else { Err(Error::Corrupt { digest, engine: engine.name() }) }
}
