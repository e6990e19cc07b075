//! Why bytes cannot be stored or had.

use protocol::{ByteSize, Digest};

use crate::engine::EngineError;

/// Why bytes cannot be stored or had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No engine has this chunk.
    #[error("there is no chunk {digest}")]
    Missing { digest: Digest },
    /// The bytes are not those that were put.
    #[error("chunk {digest} is damaged on {engine}")]
    Corrupt { digest: Digest, engine: &'static str },
    /// All chunks are right, but together they are not the object.
    #[error("object {root} is not made of the bytes that it says")]
    CorruptObject { root: Digest },
    /// The chunk is not a manifest.
    #[error("chunk {root} is not a manifest: {why}")]
    NotAManifest { root: Digest, why: &'static str },
    /// More bytes than allowed.
    #[error("more than {max}")]
    TooLarge { max: ByteSize },
    /// A chunk beyond `CHUNK_SIZE_MAX`.
    #[error("a chunk of {size} bytes is too large")]
    ChunkTooLarge { size: usize },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The stream that was to be stored failed.
    #[error("the upload broke off: {0}")]
    Source(#[source] Box<dyn std::error::Error + Send + Sync>),
}
