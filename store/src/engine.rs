//! Engines: what keeps chunks. They know only put, read, has and delete; nothing of objects, accounts or checks.

mod disk;
mod jetstream;

use bytes::Bytes;
use futures::future::BoxFuture;
use protocol::Digest;

pub use disk::Disk;
pub use jetstream::JetStream;

/// An engine could not do it.
#[derive(Debug, thiserror::Error)]
#[error("the {engine} engine cannot {verb}: {source}")]
pub struct EngineError {
    /// Which engine.
    pub engine: &'static str,
    /// What it was to do.
    pub verb: &'static str,
    /// Why not.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Keeps chunks by their digest. Every engine passes the same suite (`tests/conformance.rs`).
pub trait Engine: Send + Sync {
    /// Its name in errors and logs.
    fn name(&self) -> &'static str;

    /// Keeps the chunk under its digest, instead of what may be there; durable, and seen by `read`, when it returns.
    /// Interrupted, it leaves nothing or the whole chunk.
    fn put(&self, digest: Digest, chunk: Bytes) -> BoxFuture<'_, Result<(), EngineError>>;

    /// The bytes as they are kept, unchecked; none where there are none.
    fn read(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Bytes>, EngineError>>;

    /// Whether there is something under this digest.
    fn has(&self, digest: Digest) -> BoxFuture<'_, Result<bool, EngineError>>;

    /// Forgets it, if it is there.
    fn delete(&self, digest: Digest) -> BoxFuture<'_, Result<(), EngineError>>;
}
