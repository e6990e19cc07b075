//! The disks of the operator's nodes, on which segments of blobs are: how a node tells of them, and what is told of their
//! content. (Segments themselves are bodies.)

use serde::{Deserialize, Serialize};

use crate::blob::BlobId;
use crate::ids::{DiskId, StoreId};
use crate::units::ByteSize;

/// Disks of one node.
pub const DISKS_MAX: usize = 16;

/// A disk that a node has for blobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreDisk {
    /// Which one: it is written on the disk itself. An emptied one is another one.
    pub id: DiskId,
    /// What fails as a whole. Two disks of one domain count as one.
    pub domain: String,
}

/// How much room a disk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskSpace {
    /// That it still has room for.
    pub free: ByteSize,
    /// That it has room for when it is empty.
    pub total: ByteSize,
}

/// Whose segments a disk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskMark {
    /// None: it is new, and nobody has said so yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreId>,
}

/// A segment that a disk has. A page of them is an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskSegment {
    /// Of which blob.
    pub blob: BlobId,
    /// Which of its segments.
    pub number: u32,
    /// Its bytes, as they are kept.
    pub size: ByteSize,
}
