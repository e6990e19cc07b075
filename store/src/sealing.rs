//! The committed form of segments: what is in each, and how it is sealed and opened.
//!
//! ```text
//! segment: head, then up to 64 chunks          head: "CCB", form (1), log2 of the chunk size (16), 3 zero bytes
//! chunk:   64 KiB of ciphertext (the blob's last one: what is left), 16 bytes of tag
//! ```
//!
//! Chunks are sealed with AES-256-GCM. The nonce is the chunk's index within the blob (u64, big endian), three zero bytes,
//! and whether it is the blob's last one (0 or 1); the associated data is the blob's id. So no chunk can stand for another
//! one, and no blob can be cut or prolonged. An empty blob has one segment with one empty chunk.

use std::ops::Range;

use bytes::{Buf as _, Bytes, BytesMut};
use protocol::{Blob, BlobId, BlobKey, ByteSize};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::{Error, SegmentName};

/// The most plaintext of a segment.
pub const SEGMENT_SIZE: u64 = 4 << 20;

/// The most bytes of a blob: so many segments that their count is a `u32`, as their numbers are.
pub const BLOB_SIZE_MAX: ByteSize = ByteSize(SEGMENT_SIZE * u32::MAX as u64);

/// The most plaintext that is read at once.
pub(crate) const PART_SIZE: u64 = 1 << 20;

pub(crate) const CHUNK_SIZE: u64 = 64 << 10;
pub(crate) const HEAD: [u8; 8] = *b"CCB\x01\x10\0\0\0";
pub(crate) const TAG_SIZE: u64 = 16;

const CHUNK_BYTES: usize = 64 << 10;
const CHUNKS_PER_SEGMENT: u64 = SEGMENT_SIZE / CHUNK_SIZE;
const HEAD_SIZE: u64 = HEAD.len() as u64;

/// The most bytes of a segment as it is kept.
pub(crate) const SEALED_SIZE_MAX: usize = HEAD.len() + 64 * (CHUNK_BYTES + 16);

/// Seals one blob's plaintext as it comes.
pub(crate) struct Sealer {
    key: LessSafeKey,
    id: BlobId,
    /// The segment that is being filled: its head, sealed chunks, and the open one.
    filling: BytesMut,
    number: u32,
    /// Where in the segment the open chunk begins.
    open_at: usize,
    /// Its index within the blob.
    chunk: u64,
}

impl Sealer {
    pub(crate) fn new(id: BlobId, key: &BlobKey) -> Result<Self, Error> {
        let filling = BytesMut::from(&HEAD[..]);
        Ok(Self { key: cipher(key)?, id, filling, number: 0, open_at: HEAD.len(), chunk: 0 })
    }

    /// Takes from the front of `piece`, until it is empty or a segment is full. A full chunk stays open until something
    /// follows: only then it is known not to be the last one.
    pub(crate) fn fill(&mut self, piece: &mut Bytes) -> Result<Option<(SegmentName, Bytes)>, Error> {
        while !piece.is_empty() {
            if self.filling.len() - self.open_at == CHUNK_BYTES {
                self.close(false)?;
                if self.filling.len() == SEALED_SIZE_MAX {
                    return self.next_segment().map(Some);
                }
            }
            let room = CHUNK_BYTES - (self.filling.len() - self.open_at);
            let taken = piece.split_to(room.min(piece.len()));
            self.filling.extend_from_slice(&taken);
        }
        Ok(None)
    }

    /// The last segment.
    pub(crate) fn finish(mut self) -> Result<(SegmentName, Bytes), Error> {
        self.close(true)?;
        Ok((SegmentName { blob: self.id, number: self.number }, self.filling.freeze()))
    }

    fn close(&mut self, last: bool) -> Result<(), Error> {
        let open = &mut self.filling[self.open_at..];
        let aad = Aad::from(self.id.bytes());
        let tag = self.key.seal_in_place_separate_tag(nonce(self.chunk, last), aad, open)?;
        self.filling.extend_from_slice(tag.as_ref());
        self.open_at = self.filling.len();
        self.chunk += 1;
        Ok(())
    }

    fn next_segment(&mut self) -> Result<(SegmentName, Bytes), Error> {
        let name = SegmentName { blob: self.id, number: self.number };
        self.number = self.number.checked_add(1).ok_or(Error::TooLarge { max: BLOB_SIZE_MAX })?;
        let mut next = BytesMut::with_capacity(SEALED_SIZE_MAX);
        next.extend_from_slice(&HEAD);
        self.open_at = next.len();
        Ok((name, std::mem::replace(&mut self.filling, next).freeze()))
    }
}

/// Chunks of one segment, and which bytes of them are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) name: SegmentName,
    /// Bytes of the segment as it is kept: with its head before the first chunk, and with one more than there is behind
    /// the last one, so that what does not belong there is noticed.
    pub(crate) kept: Range<u64>,
    /// How many of them there are.
    kept_size: u64,
    has_head: bool,
    /// Indices within the blob.
    chunks: Range<u64>,
    /// How much of the first chunk is not wanted.
    skip: usize,
    /// How many bytes are wanted.
    take: usize,
}

/// Opens segments of one blob.
pub(crate) struct Opener {
    key: LessSafeKey,
    id: BlobId,
    size: u64,
}

impl Opener {
    pub(crate) fn new(blob: &Blob) -> Result<Self, Error> {
        if blob.size > BLOB_SIZE_MAX {
            return Err(Error::TooLarge { max: BLOB_SIZE_MAX });
        }
        Ok(Self { key: cipher(&blob.key)?, id: blob.id, size: blob.size.0 })
    }

    /// All of the segment of this number.
    pub(crate) fn segment(&self, number: u32) -> Part {
        let start = u64::from(number) * SEGMENT_SIZE;
        self.cut(&(start..self.size.min(start + SEGMENT_SIZE)))
    }

    /// Of the wanted bytes, those that are read as the part of this number.
    pub(crate) fn part(&self, number: u64, wanted: &Range<u64>) -> Part {
        let start = number * PART_SIZE;
        self.cut(&(wanted.start.max(start)..wanted.end.min(start + PART_SIZE)))
    }

    /// The chunks that these bytes of one segment are in.
    fn cut(&self, wanted: &Range<u64>) -> Part {
        let start = wanted.start / CHUNK_SIZE;
        // An empty blob's chunk is wanted though it has no bytes.
        let end = wanted.end.div_ceil(CHUNK_SIZE).max(start + 1);
        let number = start / CHUNKS_PER_SEGMENT;
        let first = number * CHUNKS_PER_SEGMENT;
        let sealed = self.size.min(end * CHUNK_SIZE) - start * CHUNK_SIZE + (end - start) * TAG_SIZE;
        let kept_at = HEAD_SIZE + (start - first) * (CHUNK_SIZE + TAG_SIZE);
        let (kept_from, kept_to) = (if start == first { 0 } else { kept_at }, kept_at + sealed);
        let is_last = end == chunks(self.size).min(first + CHUNKS_PER_SEGMENT);
        Part {
            name: SegmentName { blob: self.id, number: u32::try_from(number).unwrap_or(u32::MAX) },
            kept: kept_from..kept_to + u64::from(is_last),
            kept_size: kept_to - kept_from,
            has_head: start == first,
            skip: length(wanted.start - start * CHUNK_SIZE),
            take: length(wanted.end - wanted.start),
            chunks: start..end,
        }
    }

    /// The wanted bytes, in pieces; none where any chunk of the part is not what was sealed.
    pub(crate) fn open(&self, part: &Part, kept: Bytes) -> Option<Vec<Bytes>> {
        if kept.len() as u64 != part.kept_size {
            return None;
        }
        let mut rest = BytesMut::from(kept);
        if part.has_head && rest.split_to(HEAD.len())[..] != HEAD {
            return None;
        }
        let (mut skip, mut left) = (part.skip, part.take);
        let mut pieces = Vec::new();
        for chunk in part.chunks.clone() {
            let mut sealed = rest.split_to(rest.len().min(length(CHUNK_SIZE + TAG_SIZE)));
            let nonce = nonce(chunk, chunk + 1 == chunks(self.size));
            let plain = self.key.open_in_place(nonce, Aad::from(self.id.bytes()), &mut sealed).ok()?.len();
            sealed.truncate(plain);
            sealed.advance(skip.min(plain));
            sealed.truncate(left);
            skip = 0;
            left -= sealed.len();
            if !sealed.is_empty() {
                pieces.push(sealed.freeze());
            }
        }
        Some(pieces)
    }
}

/// The numbers of the segments of a blob of this size.
pub(crate) fn segments(size: ByteSize) -> Result<Range<u32>, Error> {
    let count = size.0.div_ceil(SEGMENT_SIZE).max(1);
    u32::try_from(count).map(|count| 0..count).map_err(|_| Error::TooLarge { max: BLOB_SIZE_MAX })
}

/// How many bytes the segment of this number has as it is kept, of a blob of this size.
pub(crate) fn kept_size(size: ByteSize, number: u32) -> u64 {
    let plain = size.0.saturating_sub(u64::from(number) * SEGMENT_SIZE).min(SEGMENT_SIZE);
    HEAD_SIZE + plain + chunks(plain) * TAG_SIZE
}

/// The numbers of the parts that these bytes are read in.
pub(crate) fn parts(wanted: &Range<u64>) -> Range<u64> {
    if wanted.is_empty() { 0..0 } else { wanted.start / PART_SIZE..wanted.end.div_ceil(PART_SIZE) }
}

/// How many chunks a blob of this size has.
fn chunks(size: u64) -> u64 {
    size.div_ceil(CHUNK_SIZE).max(1)
}

fn cipher(key: &BlobKey) -> Result<LessSafeKey, Error> {
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key.0)?))
}

fn nonce(chunk: u64, last: bool) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[..8].copy_from_slice(&chunk.to_be_bytes());
    bytes[NONCE_LEN - 1] = u8::from(last);
    Nonce::assume_unique_for_key(bytes)
}

/// A part of a segment, as a length in memory.
fn length(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
