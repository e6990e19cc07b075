//! Where bytes come from: windows into files, decompressors, and one spill file for what had to be unpacked.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::error::Error;
use crate::limits::{Gauge, Metered};

/// The largest window that a zstd stream may ask for: 128 MiB, as the command line tool allows.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
const COPY_BYTES: usize = 128 * 1024;

/// Which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    /// The input, uncompressed.
    Input,
    /// What was unpacked from it.
    Spill,
    /// A base image's, which is not read here.
    Base,
}

/// A piece of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) store: Store,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// A window into a file, with a place of its own.
#[derive(Debug, Clone)]
pub(crate) struct Window<'a> {
    file: &'a File,
    offset: u64,
    len: u64,
    position: u64,
}

impl<'a> Window<'a> {
    pub(crate) fn new(file: &'a File, offset: u64, len: u64) -> Self {
        Self { file, offset, len, position: 0 }
    }
}

impl Read for Window<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let most = buf.len().min(left);
        let buf = &mut buf[..most];
        let count = self.file.read_at(buf, self.offset.saturating_add(self.position))?;
        self.position += u64::try_from(count).unwrap_or(0);
        Ok(count)
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// How bytes are packed, seen from how they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    /// # Errors
    /// Names a packing that is not offered.
    pub(crate) fn of(head: &[u8]) -> Result<Self, Error> {
        let unsupported = |what: &str| {
            Err(Error::Unsupported(format!("{what}; offered are tar archives, plain or packed by gzip or zstd")))
        };
        match head {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => unsupported("it is packed by xz"),
            [b'B', b'Z', b'h', ..] => unsupported("it is packed by bzip2"),
            [b'P', b'K', 3 | 5, ..] => unsupported("it is a ZIP archive"),
            _ => Ok(Self::Plain),
        }
    }

    /// A reader of what is inside, counted against the limits.
    pub(crate) fn unpack<'a, R: Read + 'a>(
        self,
        packed: R,
        packed_len: u64,
        gauge: &'a Gauge,
    ) -> Result<Box<dyn Read + 'a>, Error> {
        let packed = BufReader::with_capacity(COPY_BYTES, packed);
        Ok(match self {
            Self::Plain => Box::new(Metered::new(packed, gauge, None)),
            Self::Gzip => Box::new(Metered::new(flate2::bufread::MultiGzDecoder::new(packed), gauge, Some(packed_len))),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(Metered::new(decoder, gauge, Some(packed_len)))
            }
        })
    }
}

/// A file without a name that only grows.
pub(crate) struct Spill {
    file: File,
    end: Cell<u64>,
}

impl Spill {
    pub(crate) fn new(folder: &Path) -> Result<Self, Error> {
        Ok(Self { file: tempfile::tempfile_in(folder)?, end: Cell::new(0) })
    }

    /// Keeps all that a reader gives.
    pub(crate) fn keep(&self, mut from: impl Read, gauge: &Gauge) -> Result<Blob, Error> {
        let offset = self.end.get();
        let mut buf = vec![0; COPY_BYTES];
        loop {
            let count = match from.read(&mut buf) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(gauge.explain(&error)),
            };
            // Here the host is to blame, not the archive.
            self.file.write_all_at(&buf[..count], self.end.get())?;
            self.end.set(self.end.get() + u64::try_from(count).unwrap_or(0));
        }
        Ok(Blob { store: Store::Spill, offset, len: self.end.get() - offset })
    }
}

/// The stores of one conversion.
pub(crate) struct Stores {
    input: File,
    input_len: u64,
    spill: Spill,
    packing: Packing,
}

impl Stores {
    /// Takes an input, and unpacks it where it is packed as a whole.
    pub(crate) fn open(input: File, folder: &Path, gauge: &Gauge) -> Result<Self, Error> {
        let mut input_len = input.metadata()?.len();
        let mut input = input;
        let packing = Packing::of(&head(&input, 0, input_len)?)?;
        if packing != Packing::Plain {
            let unpacked = Spill::new(folder)?;
            let window = Window::new(&input, 0, input_len);
            unpacked.keep(packing.unpack(window, input_len, gauge)?, gauge)?;
            gauge.restart();
            input_len = unpacked.end.get();
            input = unpacked.file;
        }
        Ok(Self { input, input_len, spill: Spill::new(folder)?, packing })
    }

    pub(crate) fn spill(&self) -> &Spill {
        &self.spill
    }

    /// Whether the input came packed.
    pub(crate) fn was_packed(&self) -> bool {
        self.packing != Packing::Plain
    }

    /// The whole input.
    pub(crate) fn whole(&self) -> Blob {
        Blob { store: Store::Input, offset: 0, len: self.input_len }
    }

    /// A reader of a piece.
    pub(crate) fn read(&self, blob: Blob) -> Window<'_> {
        match blob.store {
            Store::Input => Window::new(&self.input, blob.offset, blob.len),
            Store::Spill => Window::new(&self.spill.file, blob.offset, blob.len),
            Store::Base => Window::new(&self.input, 0, 0),
        }
    }

    /// How a piece begins, up to a tar header.
    pub(crate) fn head(&self, blob: Blob) -> Result<Vec<u8>, Error> {
        self.all(Blob { len: blob.len.min(HEAD_BYTES), ..blob })
    }

    /// A small piece as a whole. The caller has checked its length.
    pub(crate) fn all(&self, blob: Blob) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.read(blob).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

const HEAD_BYTES: u64 = 512;

fn head(file: &File, offset: u64, len: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    Window::new(file, offset, len.min(HEAD_BYTES)).read_to_end(&mut bytes)?;
    Ok(bytes)
}
