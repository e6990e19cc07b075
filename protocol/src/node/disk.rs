//! The disks of the operator's nodes, on which segments of blobs are: how a node tells of them, and what is told of their
//! content. (Segments themselves are bodies.)

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::blob::BlobId;
use crate::ids::{DiskId, ParseIdError, StoreId};
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

/// What stands on whatever keeps segments: whose they are, and which place it is, by whatever names it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Whose.
    pub store: StoreId,
    /// Which one; none where somebody has marked it by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskId>,
}

impl Mark {
    /// Of a new place.
    #[cfg(feature = "mint")]
    #[must_use]
    pub fn new(store: StoreId) -> Self {
        Self { store, disk: Some(DiskId::new()) }
    }
}

/// A line for each.
impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.store)?;
        self.disk.map_or(Ok(()), |disk| writeln!(f, "{disk}"))
    }
}

impl FromStr for Mark {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let mut words = text.split_whitespace();
        let store = words.next().unwrap_or_default().parse()?;
        let disk = words.next().map(str::parse).transpose()?;
        Ok(Self { store, disk })
    }
}

/// The mark of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskMark {
    /// None: it is new, and nobody has marked it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
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
