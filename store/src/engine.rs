//! Engines: what keeps segments. They see names and sealed bytes; nothing of blobs, accounts or keys.

mod bucket;
mod disk;
mod jetstream;
mod node;
mod pages;
mod s3;

use std::ops::Range;

use bytes::Bytes;
use futures::future::BoxFuture;
use protocol::node::Mark;
use tokio::time::error::Elapsed;

pub(crate) use bucket::Bucket;
pub use disk::Disk;
pub use jetstream::JetStream;
pub use node::NodeDisk;
pub use s3::S3;

use crate::SegmentName;

/// What is wrong with an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It has no room.
    Full,
    /// It does not answer in time.
    Slow,
    /// Anything else: it is gone, may not be written, does not answer.
    Failed,
}

impl Trouble {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Slow => "slow",
            Self::Failed => "failed",
        }
    }
}

/// An engine could not do it.
#[derive(Debug, thiserror::Error)]
#[error("{engine} cannot {verb}: {source}")]
pub struct EngineError {
    /// Which engine.
    pub engine: String,
    /// What it was to do.
    pub verb: &'static str,
    /// What is wrong with it.
    pub trouble: Trouble,
    /// Why not.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl EngineError {
    pub(crate) fn slow(engine: &str, verb: &'static str, late: Elapsed) -> Self {
        Self { engine: engine.to_owned(), verb, trouble: Trouble::Slow, source: late.into() }
    }

    /// Nobody has told of an engine.
    pub(crate) fn none_known(verb: &'static str) -> Self {
        let source = "no disk is known".into();
        Self { engine: "the store".to_owned(), verb, trouble: Trouble::Failed, source }
    }
}

/// How much an engine can keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that it still has room for.
    pub free: u64,
    /// Bytes that it has room for when it is empty.
    pub total: u64,
}

/// A segment that an engine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Which one.
    pub name: SegmentName,
    /// Its bytes as they are kept; 0 for what was never put whole.
    pub bytes: u64,
}

/// Keeps segments by their names. Every engine passes the same suite (`tests/conformance.rs`).
pub trait Engine: Send + Sync {
    /// Its name in errors and logs, which no other engine of a store has.
    fn name(&self) -> &str;

    /// What fails as a whole: machine and device, as `machine/device`. Two engines of one domain are one failure domain. A
    /// further part behind them tells apart engines that share a device, and are to count as two all the same: the operator
    /// is told that it is one disk.
    fn domain(&self) -> &str;

    /// How many copies of a segment it keeps by itself, on servers that fail one by one; whether it does is its own affair.
    fn replicas(&self) -> usize {
        1
    }

    /// Keeps the segment under its name, instead of what may be there; durable, and seen by `read`, when it returns.
    /// Interrupted, it leaves nothing or the whole segment.
    fn put(&self, name: SegmentName, segment: Bytes) -> BoxFuture<'_, Result<(), EngineError>>;

    /// The bytes as they are kept, unchecked, or a range of them, cut where they end; none where there is no segment.
    fn read(&self, name: SegmentName, range: Option<Range<u64>>) -> BoxFuture<'_, Result<Option<Bytes>, EngineError>>;

    /// How many bytes are kept under this name; none where there is no segment.
    fn has(&self, name: SegmentName) -> BoxFuture<'_, Result<Option<u64>, EngineError>>;

    /// Forgets it, if it is there.
    fn delete(&self, name: SegmentName) -> BoxFuture<'_, Result<(), EngineError>>;

    /// The segments after this one, in the order of their names. Fewer than `most`: there are no more. What is put while
    /// somebody goes from page to page may be missing.
    fn list(&self, after: Option<SegmentName>, most: usize) -> BoxFuture<'_, Result<Vec<Listed>, EngineError>>;

    /// Whose segments it has; none where nobody has said so yet.
    fn mark(&self) -> BoxFuture<'_, Result<Option<Mark>, EngineError>>;

    /// Marks it as this store's, unless it has a mark; says whose it is then. Of several who do so at once one does; in a
    /// bucket the last one, and others may have been told of themselves.
    fn set_mark(&self, mark: Mark) -> BoxFuture<'_, Result<Mark, EngineError>>;

    /// How much room it has.
    fn space(&self) -> BoxFuture<'_, Result<Space, EngineError>>;
}
