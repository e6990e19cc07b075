//! The table at a body's beginning. All numbers are little endian.
//!
//! ```text
//! "ccbody\0\0"  format u32  frames u32  account 16  block u64                          40 bytes
//! for each frame:  first 16  last 16  runs u32  text bytes u32  bytes u32  digest 32   76 bytes
//! digest of all this                                                                   32 bytes
//! the frames, each compressed by itself with zstd
//! ```
//!
//! Digests are BLAKE3; a frame's is that of its bytes as they are stored here.

use protocol::{AccountId, Digest, RunId};

use super::Frame;
use crate::{BLOCK_RUNS_MAX, BODY_BYTES_MAX, Error, FORMAT, FRAME_RUNS_MAX, LINE_BYTES_MAX, Run};

const MAGIC: [u8; 8] = *b"ccbody\0\0";
const FRAMES_MAX: usize = BLOCK_RUNS_MAX / FRAME_RUNS_MAX;
const TEXT_BYTES_MAX: usize = FRAME_RUNS_MAX * (LINE_BYTES_MAX + 1);
const LEVEL: i32 = 3;

const fn wrong(why: &'static str) -> Error {
    Error::Body { why }
}

/// Reads account, number and frames.
pub(super) fn read(bytes: &[u8]) -> Result<(AccountId, u64, Vec<Frame>), Error> {
    if bytes.len() > BODY_BYTES_MAX {
        return Err(wrong("it is larger than any"));
    }
    let mut fields = Fields { rest: bytes };
    let magic: [u8; MAGIC.len()] = fields.take()?;
    if magic != MAGIC {
        return Err(wrong("it does not begin as one"));
    }
    let format = fields.u32()?;
    if format != FORMAT {
        return Err(Error::Format { format });
    }
    let count = fields.length()?;
    if !(1..=FRAMES_MAX).contains(&count) {
        return Err(wrong("so many frames are in none"));
    }
    let account = AccountId::from_uuid(uuid::Uuid::from_bytes(fields.take()?));
    let number = u64::from_le_bytes(fields.take()?);
    let mut frames = Vec::<Frame>::with_capacity(count);
    for _ in 0..count {
        let frame = Frame {
            first: fields.run()?,
            last: fields.run()?,
            runs: fields.u32()?,
            text_bytes: fields.u32()?,
            length: fields.length()?,
            digest: Digest(fields.take()?),
            offset: 0,
        };
        frames.push(frame);
    }
    let table = bytes.len() - fields.rest.len();
    let digest = Digest(fields.take()?);
    if bytes.get(..table).map(Digest::of) != Some(digest) {
        return Err(wrong("its table is damaged"));
    }
    place(&mut frames, bytes.len() - fields.rest.len(), bytes.len())?;
    Ok((account, number, frames))
}

/// Sets the frames' offsets, from where the first begins, and checks what the table says of them.
fn place(frames: &mut [Frame], first: usize, end: usize) -> Result<(), Error> {
    let mut offset = first;
    let mut last = None;
    for frame in frames {
        let runs = usize::try_from(frame.runs).unwrap_or(usize::MAX);
        let text = usize::try_from(frame.text_bytes).unwrap_or(usize::MAX);
        let sizes = (1..=FRAME_RUNS_MAX).contains(&runs) && (1..=TEXT_BYTES_MAX).contains(&text);
        let ordered = frame.first <= frame.last && last.is_none_or(|last| last < frame.first);
        if !sizes || !ordered {
            return Err(wrong("its table contradicts itself"));
        }
        frame.offset = offset;
        offset = offset.checked_add(frame.length).ok_or(wrong("its table contradicts itself"))?;
        last = Some(frame.last);
    }
    if offset == end { Ok(()) } else { Err(wrong("it is cut off, or longer than its table says")) }
}

/// Takes a body apart.
struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (field, rest) = self.rest.split_first_chunk().ok_or(wrong("it is cut off"))?;
        self.rest = rest;
        Ok(*field)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.take().map(u32::from_le_bytes)
    }

    fn length(&mut self) -> Result<usize, Error> {
        usize::try_from(self.u32()?).map_err(|_| wrong("it is larger than any"))
    }

    fn run(&mut self) -> Result<RunId, Error> {
        Ok(RunId::from_uuid(uuid::Uuid::from_bytes(self.take()?)))
    }
}

/// Makes a body, frame by frame.
pub(crate) struct Packer {
    zstd: zstd::bulk::Compressor<'static>,
    account: AccountId,
    number: u64,
    frames: u32,
    table: Vec<u8>,
    packed: Vec<u8>,
}

impl Packer {
    /// A body of this block.
    pub(crate) fn new(account: AccountId, number: u64) -> Result<Self, Error> {
        let zstd = zstd::bulk::Compressor::new(LEVEL).map_err(|_| wrong("it cannot be compressed"))?;
        Ok(Self { zstd, account, number, frames: 0, table: Vec::new(), packed: Vec::new() })
    }

    /// Adds a frame: runs by ascending id, and their text.
    pub(crate) fn add(&mut self, runs: &[Run], text: &[u8]) -> Result<(), Error> {
        let ([first, ..], [.., last]) = (runs, runs) else { return Err(Error::Empty) };
        let length = |length: usize| u32::try_from(length).map_err(|_| wrong("it is larger than any"));
        let packed = self.zstd.compress(text).map_err(|_| wrong("it cannot be compressed"))?;
        let ids = [first.run.uuid(), last.run.uuid()];
        ids.iter().for_each(|id| self.table.extend_from_slice(id.as_bytes()));
        for number in [length(runs.len())?, length(text.len())?, length(packed.len())?] {
            self.table.extend_from_slice(&number.to_le_bytes());
        }
        self.table.extend_from_slice(&Digest::of(&packed).0);
        self.packed.extend_from_slice(&packed);
        self.frames += 1;
        Ok(())
    }

    /// The whole.
    pub(crate) fn finish(self) -> Result<Vec<u8>, Error> {
        let mut body = MAGIC.to_vec();
        body.extend_from_slice(&FORMAT.to_le_bytes());
        body.extend_from_slice(&self.frames.to_le_bytes());
        body.extend_from_slice(self.account.uuid().as_bytes());
        body.extend_from_slice(&self.number.to_le_bytes());
        body.extend_from_slice(&self.table);
        let digest = Digest::of(&body);
        body.extend_from_slice(&digest.0);
        body.extend_from_slice(&self.packed);
        if body.len() > BODY_BYTES_MAX { Err(wrong("it is larger than any")) } else { Ok(body) }
    }
}
