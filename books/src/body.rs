//! Bodies as they are stored: a table, and frames that are unpacked one by one.

mod table;

use std::sync::Arc;

use bytes::Bytes;
use protocol::{AccountId, Digest, RunId};

use crate::line::{self, Lines};
use crate::tally::Tally;
use crate::{Error, Header, Run};

pub(crate) use table::Packer;

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
    /// Of its bytes as they are stored, where they are, and how many.
    digest: Digest,
    pub(crate) offset: usize,
    pub(crate) length: usize,
}

impl Body {
    /// Reads the table. Frames are neither unpacked nor checked yet.
    ///
    /// # Errors
    /// [`Error::Format`] of another form, [`Error::Body`] where it is no body or its table is damaged.
    pub fn open(bytes: impl Into<Bytes>) -> Result<Self, Error> {
        let bytes = bytes.into();
        let (account, number, frames) = table::read(&bytes)?;
        Ok(Self { account, number, frames: frames.into(), bytes })
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
        self.lines(index)?.all().map(|line| self.run(index, line)).collect()
    }

    /// The text of a frame: its lines, each with a line feed.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the frame is.
    pub fn frame_text(&self, index: usize) -> Result<Vec<u8>, Error> {
        self.lines(index).map(Lines::into_text)
    }

    /// A run by its id. At most one frame is unpacked.
    ///
    /// # Errors
    /// [`Error::Damaged`] where its frame is.
    pub fn find(&self, run: RunId) -> Result<Option<Run>, Error> {
        let index = self.frames.partition_point(|frame| frame.last < run);
        if self.frames.get(index).is_none_or(|frame| run < frame.first) {
            return Ok(None);
        }
        let lines = self.lines(index)?;
        let at = lines.below(run);
        match lines.line(at) {
            Some(line) if lines.id(at) == Some(run) => self.run(index, line).map(Some),
            _ => Ok(None),
        }
    }

    /// The whole text, which a header's `body` is the digest of.
    ///
    /// # Errors
    /// [`Error::Damaged`] where a frame is.
    pub fn text(&self) -> Result<Vec<u8>, Error> {
        let mut text = Vec::new();
        for index in 0..self.frames.len() {
            text.append(&mut self.frame_text(index)?);
        }
        Ok(text)
    }

    /// Checks all of it against its header: account, number, digest, ids, times and sums.
    ///
    /// # Errors
    /// [`Error::Damaged`] where they differ or a frame is damaged.
    pub fn check(&self, header: &Header) -> Result<(), Error> {
        if self.account != header.account || self.number != header.number {
            return Err(self.damaged(None, "it is the body of another block"));
        }
        let mut tally = Tally::default();
        for index in 0..self.frames.len() {
            for line in self.lines(index)?.all() {
                tally.add_line(line);
                tally.add_run(&self.run(index, line)?);
            }
        }
        tally.differs(header).map_or(Ok(()), |why| Err(self.damaged(None, why)))
    }

    /// The lines of a frame, each known by its id and not read yet.
    pub(crate) fn lines(&self, index: usize) -> Result<Lines, Error> {
        let wrong = |why: &str| self.damaged(Some(index), why);
        let frame = self.frames.get(index).ok_or_else(|| wrong("there is no such frame"))?;
        let lines = Lines::of(self.unpack(index, frame)?).map_err(wrong)?;
        let runs = usize::try_from(frame.runs).unwrap_or(usize::MAX);
        if lines.count() != runs || lines.span() != Some((frame.first, frame.last)) {
            return Err(wrong("its runs are not those that the table says"));
        }
        Ok(lines)
    }

    /// Reads a line of a frame.
    pub(crate) fn run(&self, index: usize, line: &[u8]) -> Result<Run, Error> {
        let run = line::read(line).map_err(|why| self.damaged(Some(index), why))?;
        if run.account != self.account {
            return Err(self.damaged(Some(index), "a run is of another account"));
        }
        Ok(run)
    }

    fn unpack(&self, index: usize, frame: &Frame) -> Result<Vec<u8>, Error> {
        let wrong = |why: &str| self.damaged(Some(index), why);
        let end = frame.offset.saturating_add(frame.length);
        let packed = self.bytes.get(frame.offset..end).ok_or_else(|| wrong("it is cut off"))?;
        if Digest::of(packed) != frame.digest {
            return Err(wrong("its bytes are not those that were stored"));
        }
        let length = usize::try_from(frame.text_bytes).unwrap_or(usize::MAX);
        let text = zstd::bulk::decompress(packed, length).map_err(|_| wrong("it cannot be unpacked"))?;
        if text.len() != length {
            return Err(wrong("it is shorter than the table says"));
        }
        Ok(text)
    }

    fn damaged(&self, frame: Option<usize>, why: impl Into<String>) -> Error {
        Error::Damaged { block: self.number, frame, why: why.into() }
    }
}
