//! Files with holes, as GNU tar and bsdtar store them: the data alone, and a map of where it lies. There are four ways to
//! write the map; whatever it claims is checked before it is believed.

use std::collections::VecDeque;
use std::io::{self, Read};

use tar::{GnuExtSparseHeader, GnuSparseHeader};

use crate::error::Error;
use crate::limits::Gauge;

/// Pieces of data in one file.
const SEGMENTS_MAX: usize = 65_536;
const BLOCK_BYTES: usize = 512;
/// A line of a map has one number.
const LINE_BYTES_MAX: usize = 32;

/// Where data lies in a file: offset and length of each piece.
#[derive(Debug, Default)]
pub(crate) struct Map(Vec<(u64, u64)>);

/// What PAX records say of a file with holes.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// Its name: the member has another.
    pub(crate) name: Option<Vec<u8>>,
    size: Option<u64>,
    map: Map,
    /// An offset whose length comes next.
    offset: Option<u64>,
    /// The map stands before the data.
    before_data: bool,
    any: bool,
}

impl Records {
    /// Takes a record whose key follows `GNU.sparse.`.
    pub(crate) fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let number = || text(value).ok_or_else(broken);
        self.any = true;
        match key {
            b"major" => self.before_data = number()? > 0,
            b"name" => self.name = Some(value.to_vec()),
            b"realsize" | b"size" => self.size = Some(number()?),
            b"offset" => self.offset = Some(number()?),
            b"numbytes" => {
                let offset = self.offset.take().ok_or_else(broken)?;
                self.map.add(offset, number()?)?;
            }
            b"map" => {
                let numbers: Option<Vec<u64>> = value.split(|byte| *byte == b',').map(text).collect();
                for piece in numbers.ok_or_else(broken)?.chunks(2) {
                    let [offset, length] = *piece else { return Err(broken()) };
                    self.map.add(offset, length)?;
                }
            }
            // How many pieces there are shows by itself.
            _ => {}
        }
        Ok(())
    }

    /// The file's size and its map, where it has holes. Reads the map where it stands before the data; also says how many
    /// bytes that took.
    pub(crate) fn finish(self, data: &mut dyn Read, gauge: &Gauge) -> Result<Option<(u64, Map, u64)>, Error> {
        if !self.any {
            return Ok(None);
        }
        let size = self.size.ok_or_else(broken)?;
        if !self.before_data {
            return Ok(Some((size, self.map, 0)));
        }
        let mut lines = Lines { data, gauge, block: [0; BLOCK_BYTES], at: BLOCK_BYTES, taken: 0 };
        let mut map = Map::default();
        for _ in 0..lines.number()? {
            map.add(lines.number()?, lines.number()?)?;
        }
        Ok(Some((size, map, lines.taken)))
    }
}

impl Map {
    /// Takes what GNU tar writes into a header.
    pub(crate) fn take(&mut self, pieces: &[GnuSparseHeader]) -> Result<(), Error> {
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            let numbers = piece.offset().and_then(|offset| Ok((offset, piece.length()?)));
            let (offset, length) = numbers.map_err(|_| broken())?;
            self.add(offset, length)?;
        }
        Ok(())
    }

    /// Takes a further block of it; whether another one follows.
    pub(crate) fn take_more(&mut self, block: &[u8; BLOCK_BYTES]) -> Result<bool, Error> {
        let mut more = GnuExtSparseHeader::new();
        more.as_mut_bytes().copy_from_slice(block);
        self.take(more.sparse())?;
        Ok(more.is_extended())
    }

    fn add(&mut self, offset: u64, length: u64) -> Result<(), Error> {
        if self.0.len() >= SEGMENTS_MAX {
            return Err(Error::unreadable(format!("a file has more than {SEGMENTS_MAX} holes")));
        }
        self.0.push((offset, length));
        Ok(())
    }

    /// A reader of the whole file, holes and all, of which `stored` bytes are data. The holes count as bytes.
    pub(crate) fn fill<'d>(
        self,
        size: u64,
        stored: u64,
        data: &'d mut dyn Read,
        gauge: &Gauge,
    ) -> Result<Filled<'d>, Error> {
        let mut end = 0_u64;
        let mut sum = 0_u64;
        for (offset, length) in &self.0 {
            if *offset < end {
                return Err(broken());
            }
            end = offset.checked_add(*length).ok_or_else(broken)?;
            sum = sum.checked_add(*length).ok_or_else(broken)?;
        }
        if end > size || sum != stored {
            return Err(broken());
        }
        gauge.add_bytes(size - stored)?;
        Ok(Filled { data, pieces: self.0.into(), at: 0, size })
    }
}

/// Reads data and holes.
pub(crate) struct Filled<'d> {
    data: &'d mut dyn Read,
    pieces: VecDeque<(u64, u64)>,
    at: u64,
    size: u64,
}

impl Read for Filled<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.pieces.front().is_some_and(|(offset, length)| offset + length <= self.at) {
            self.pieces.pop_front();
        }
        let next = self.pieces.front().copied();
        let (in_hole, until) = match next {
            Some((offset, length)) if offset <= self.at => (false, offset + length),
            Some((offset, _)) => (true, offset),
            None => (true, self.size),
        };
        let most = usize::try_from(until.saturating_sub(self.at)).unwrap_or(usize::MAX).min(buf.len());
        let buf = &mut buf[..most];
        let count = if in_hole {
            buf.fill(0);
            most
        } else {
            self.data.read(buf)?
        };
        self.at += u64::try_from(count).unwrap_or(0);
        Ok(count)
    }
}

/// Lines of a map that stands before the data, in whole blocks.
struct Lines<'d, 'g> {
    data: &'d mut dyn Read,
    gauge: &'g Gauge,
    block: [u8; BLOCK_BYTES],
    at: usize,
    taken: u64,
}

impl Lines<'_, '_> {
    fn number(&mut self) -> Result<u64, Error> {
        let mut line = Vec::new();
        loop {
            if self.at == BLOCK_BYTES {
                self.data.read_exact(&mut self.block).map_err(|error| self.gauge.explain(&error))?;
                (self.at, self.taken) = (0, self.taken + BLOCK_BYTES as u64);
            }
            let byte = self.block[self.at];
            self.at += 1;
            if byte == b'\n' {
                return text(&line).ok_or_else(broken);
            }
            if line.len() >= LINE_BYTES_MAX {
                return Err(broken());
            }
            line.push(byte);
        }
    }
}

fn text(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

fn broken() -> Error {
    Error::unreadable("the map of a sparse file is broken")
}
