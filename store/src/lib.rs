//! Bytes as encrypted blobs: each upload is one, sealed by a key of its own, cut into segments, and kept by some engines.
//!
//! ```text
//! put_stream: bytes -> chunks of 64 KiB, sealed -> segments of 4 MiB -> each on `copies` engines -> Blob (id and key)
//! get, range: Blob -> parts of segments, of 1 MiB, or the chunks needed -> opened -> bytes; at a whole's end its digest
//! ```
//!
//! An operator sees engines as disks (`disks.rs`), and segments are copied from one to another (`repair.rs`).
//!
//! No index is kept here: a blob's size says the names of all its segments, and its owner keeps its id and key. Engines see
//! sealed bytes alone. A segment that an engine lacks, has damaged or does not give in time is read from the next one.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod claim;
mod copies;
mod disk_calls;
mod disk_service;
mod disks;
pub mod engine;
mod error;
mod known;
pub mod legacy;
mod name;
mod node_disks;
mod object;
mod plan;
mod put;
mod repair;
mod room;
mod sealing;
mod segments;
mod unsure;

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use protocol::{Blob, BlobId, BlobKey, Epoch};

pub use claim::{ClaimError, Claims, Taken};
use copies::Copies;
pub use copies::CopyState;
pub use disk_service::{DiskError, DiskFolder, DiskService};
pub use disks::{DiskState, Failing};
pub use engine::{Engine, Listed, Space};
pub use error::{Error, Piece};
pub use legacy::Legacy;
pub use name::{ParseSegmentNameError, SegmentName};
pub use node_disks::NodeDisks;
pub use object::Object;
pub use plan::Kept;
pub use repair::{Mended, Segments, kept_by_size};
pub use sealing::{BLOB_SIZE_MAX, SEGMENT_SIZE};
pub use segments::Deleted;

/// Blobs, and the engines that keep them. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    copies: Copies,
}

impl Store {
    /// On a folder of this machine, which is made where it is missing.
    ///
    /// # Errors
    /// When the folder cannot be made or written.
    pub fn disk(folder: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self::on(vec![Arc::new(engine::Disk::open(folder.as_ref())?)], NonZeroUsize::MIN))
    }

    /// In a JetStream stream with so many replicas, which is made where it is missing.
    ///
    /// # Errors
    /// When JetStream does not answer, refuses the stream, or has something else under its name.
    pub async fn jetstream(client: async_nats::Client, bucket: &str, replicas: usize) -> Result<Self, Error> {
        let engine = engine::JetStream::open(client, bucket, replicas).await?;
        Ok(Self::on(vec![Arc::new(engine)], NonZeroUsize::MIN))
    }

    /// On these engines. Each segment is kept by so many of them, no two of one failure domain, until another number is told
    /// ([`Self::set_copies`]).
    #[must_use]
    pub fn on(disks: Vec<Arc<dyn Engine>>, copies: NonZeroUsize) -> Self {
        Self { copies: Copies::new(disks, copies) }
    }

    /// On engines that are told while it runs ([`Self::set_engines`]). As long as there are none, readers wait a little.
    #[must_use]
    pub fn changing(copies: NonZeroUsize) -> Self {
        Self { copies: Copies::changing(copies) }
    }

    /// Nothing is put on an engine before it is known to be this store's ([`Self::claim`]).
    #[must_use]
    pub fn claimed_only(self) -> Self {
        self.copies.claimed_only.store(true, Ordering::Relaxed);
        self
    }

    /// Whether its engines are told while it runs.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        self.copies.is_changing()
    }

    /// From now on it is on these engines, and so is every clone of it. What has begun goes on with those that it has.
    pub fn set_engines(&self, engines: Vec<Arc<dyn Engine>>) {
        self.copies.replace(engines);
    }

    /// The same store on the engines that it has now, whatever it is told later: for whoever goes by their places.
    #[must_use]
    pub fn as_of_now(&self) -> Self {
        Self { copies: self.copies.as_of_now() }
    }

    /// Whether it has been told of no other engines since.
    #[must_use]
    pub fn is_of_now(&self) -> bool {
        self.copies.is_of_now()
    }

    /// How long an engine may take for one segment before another one is tried; 20 s where nothing is said.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.copies.patience = patience;
        self
    }

    /// The engines that it is on now.
    #[must_use]
    pub fn engines(&self) -> Vec<Arc<dyn Engine>> {
        self.copies.engines()
    }
}
