//! Bodies as they are stored: a table, and frames that are unpacked one by one.

use std::sync::Arc;

use bytes::Bytes;
use protocol::{AccountId, Digest, RunId};

use crate::{Error, Header, Run};

/// A block's body. Cheap to clone; frames are unpacked when they are asked for, and not kept.
#[derive(Debug, Clone)]
pub struct Body {
    account: AccountId,
    number: u64,
    frames: Arc<[Frame]>,
    bytes: Bytes,
}

/// A frame: runs that are compressed together, in the order of their ids. A frame's ids are greater than those of the
/// frame before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The least id of a run.
    pub first: RunId,
    /// The greatest id of a run.
    pub last: RunId,
    /// How many runs.
    pub runs: u32,
    /// Its text, in bytes.
    pub text_bytes: u32,
    digest: Digest,
    offset: usize,
    length: usize,
}

impl Body {
    /// Reads the table. Frames are neither unpacked nor checked yet.
    ///
    /// # Errors
    /// [`Error::Format`] of another form, [`Error::Body`] where it is no body or its table is damaged.
    pub fn open(bytes: impl Into<Bytes>) -> Result<Self, Error> {
        todo!()
    }

    /// Whose block it is of.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        self.account
    }

    /// The number of its block.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Its size as stored, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Its frames, oldest first; there is one at least.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The runs of a frame, by ascending id.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the frame is.
    pub fn frame(&self, index: usize) -> Result<Vec<Run>, Error> {
        todo!()
    }

    /// The text of a frame: its lines, each with a line feed.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the frame is.
    pub fn frame_text(&self, index: usize) -> Result<Vec<u8>, Error> {
        todo!()
    }

    /// A run by its id. At most one frame is unpacked.
    ///
    /// # Errors
    /// [`Error::Damaged`] where its frame is.
    pub fn find(&self, run: RunId) -> Result<Option<Run>, Error> {
        todo!()
    }

    /// The whole text, which a header's `body` is the digest of.
    ///
    /// # Errors
    /// [`Error::Damaged`] where a frame is.
    pub fn text(&self) -> Result<Vec<u8>, Error> {
        todo!()
    }

    /// Checks all of it against its header: account, number, digest, ids, times and sums.
    ///
    /// # Errors
    /// [`Error::Damaged`] where they differ or a frame is damaged.
    pub fn check(&self, header: &Header) -> Result<(), Error> {
        todo!()
    }
}
