//! Why bytes cannot be stored or had.

use std::fmt;
use std::ops::Range;

use protocol::{BlobId, ByteSize, Code, Digest};

use crate::SegmentName;
use crate::engine::EngineError;

/// What an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// A whole blob.
    Blob(BlobId),
    /// A segment of one.
    Segment(SegmentName),
    /// A whole object of a store before there were blobs, by its manifest.
    Object(Digest),
    /// A chunk of one, or its manifest.
    Chunk(Digest),
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob(id) => write!(f, "blob {id}"),
            Self::Segment(name) => write!(f, "segment {name}"),
            Self::Object(root) => write!(f, "object {root}"),
            Self::Chunk(digest) => write!(f, "chunk {digest}"),
        }
    }
}

/// Why bytes cannot be stored or had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No engine has this.
    #[error("there is no {piece}")]
    Missing { piece: Piece },
    /// The bytes are not those that were put.
    #[error("{piece} is damaged on {engine}")]
    Corrupt { piece: Piece, engine: String },
    /// All pieces are right, but together they are not the whole.
    #[error("{piece} is not made of the bytes that its digest says")]
    CorruptObject { piece: Piece },
    /// The chunk is not a manifest.
    #[error("chunk {root} is not a manifest: {why}")]
    NotAManifest { root: Digest, why: &'static str },
    /// More bytes than allowed.
    #[error("more than {max}")]
    TooLarge { max: ByteSize },
    /// A range that ends before it begins, or beyond the blob.
    #[error("bytes {} to {} are not within {size}", .range.start, .range.end)]
    OutOfRange { range: Range<u64>, size: ByteSize },
    /// So few engines have room that not enough copies could be kept.
    #[error("the disks are full: {left} of {wanted} copies can be kept")]
    NoRoom { wanted: usize, left: usize },
    /// So few engines work that not enough copies could be kept.
    #[error("too few disks work: {left} of {wanted} copies can be kept")]
    TooFewDisks { wanted: usize, left: usize },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The stream that was to be stored failed.
    #[error("the upload broke off: {0}")]
    Source(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No random bytes, or a key that is none.
    #[error("the cipher refuses its key")]
    Cipher,
}

impl From<ring::error::Unspecified> for Error {
    fn from(_: ring::error::Unspecified) -> Self {
        Self::Cipher
    }
}

impl Error {
    /// What it is called where somebody asked for something to be kept.
    #[must_use]
    pub fn code(&self) -> Code {
        if matches!(self, Self::NoRoom { .. }) { Code::DisksFull } else { Code::StorageUnavailable }
    }
}
