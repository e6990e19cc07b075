//! Tar members, read with bounds. The `tar` crate reads long names and PAX records whole into memory, whatever size
//! they claim; so its headers alone are used, and members are put together here.

use std::io::{self, Read};

use tar::EntryType;

use crate::error::{Bound, Error};
use crate::limits::Gauge;
use crate::sparse::{Map, Records};

/// Records of one file: more is no honest archive's.
const RECORDS_MAX: u64 = 1 << 20;
const BLOCK_BYTES: usize = 512;
/// What records of a file with holes begin with.
const SPARSE: &[u8] = b"GNU.sparse.";

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberKind {
    File,
    Directory,
    Symlink,
    HardLink,
    /// A character device of number 0/0 is how overlay file systems note a removal.
    Removal,
    Device,
    Pipe,
}

/// One file of an archive, before its contents are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) kind: MemberKind,
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: u32,
    pub(crate) size: u64,
    /// Where its contents begin in the archive.
    pub(crate) offset: u64,
    /// Its holes are not in the archive, so that its contents can only be read.
    pub(crate) is_sparse: bool,
    /// Extended attributes that it carries.
    pub(crate) attributes: u64,
    /// Whether one of them says that the folder hides all below it.
    pub(crate) opaque: bool,
}

/// What comes before a member and describes it.
#[derive(Default)]
struct Ahead {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<u32>,
    size: Option<u64>,
    attributes: u64,
    opaque: bool,
    sparse: Records,
}

/// Calls `each` with every member and a reader of its contents.
pub(crate) fn members<R: Read>(
    from: R,
    gauge: &Gauge,
    mut each: impl FnMut(Member, &mut dyn Read) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut blocks = Blocks { from, gauge, position: 0 };
    let mut ahead = Ahead::default();
    while let Some(header) = blocks.header()? {
        gauge.check_stop()?;
        let size = header.entry_size().map_err(|error| gauge.explain(&error))?;
        let kind = header.entry_type();
        let mut map = Map::default();
        if kind.is_gnu_sparse() {
            let gnu = header.as_gnu().ok_or_else(|| Error::Unsupported("star's sparse files in a tar".to_owned()))?;
            map.take(&gnu.sparse)?;
            let mut more = gnu.is_extended();
            while more {
                let block = blocks.block()?.ok_or_else(cut_off)?;
                more = map.take_more(&block)?;
            }
        }
        let offset = blocks.position;
        let mut data = (&mut blocks.from).take(size);
        match kind {
            EntryType::GNULongName => ahead.path = Some(name(small(&mut data, gauge)?)),
            EntryType::GNULongLink => ahead.link = Some(name(small(&mut data, gauge)?)),
            EntryType::XHeader => ahead.read_records(&small(&mut data, gauge)?)?,
            // What is said of all members at once is the archive's name and the like.
            EntryType::XGlobalHeader => {}
            _ => {
                let mut ahead = std::mem::take(&mut ahead);
                ahead.path = ahead.sparse.name.take().or(ahead.path);
                let records = std::mem::take(&mut ahead.sparse).finish(&mut data, gauge)?;
                let mut member = ahead.describe(&header, offset, gauge)?;
                let holes = match header.as_gnu().filter(|_| kind.is_gnu_sparse()) {
                    Some(gnu) => Some((gnu.real_size().map_err(|error| gauge.explain(&error))?, map, 0)),
                    None => records,
                };
                match holes {
                    Some((real, map, before)) => {
                        (member.size, member.is_sparse) = (real, true);
                        let stored = size.checked_sub(before).ok_or_else(cut_off)?;
                        each(member, &mut map.fill(real, stored, &mut data, gauge)?)?;
                    }
                    None => each(member, &mut data)?,
                }
            }
        }
        io::copy(&mut data, &mut io::sink()).map_err(|error| gauge.explain(&error))?;
        if data.limit() > 0 {
            return Err(cut_off());
        }
        blocks.end_member(size)?;
    }
    Ok(())
}

/// An archive's blocks, one after the other.
struct Blocks<'g, R> {
    from: R,
    gauge: &'g Gauge,
    position: u64,
}

impl<R: Read> Blocks<'_, R> {
    /// The next block; none at the end of the input.
    fn block(&mut self) -> Result<Option<[u8; BLOCK_BYTES]>, Error> {
        let mut block = [0; BLOCK_BYTES];
        let mut read = 0;
        while read < BLOCK_BYTES {
            match self.from.read(&mut block[read..]) {
                Ok(0) if read == 0 => return Ok(None),
                Ok(0) => return Err(cut_off()),
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.gauge.explain(&error)),
            }
        }
        self.position += BLOCK_BYTES as u64;
        Ok(Some(block))
    }

    /// The next member's header; none where the archive ends, or where its end is marked.
    fn header(&mut self) -> Result<Option<tar::Header>, Error> {
        let Some(block) = self.block()?.filter(|block| block.iter().any(|byte| *byte != 0)) else { return Ok(None) };
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(&block);
        // The sum's own field counts as spaces.
        let sum: u32 = block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte)).sum();
        match header.cksum() {
            Ok(said) if said == sum + 8 * u32::from(b' ') => Ok(Some(header)),
            _ => Err(Error::unreadable("a header's sum is wrong")),
        }
    }

    /// Goes on behind a member's contents, which were read, and what fills its last block.
    fn end_member(&mut self, size: u64) -> Result<(), Error> {
        let block = BLOCK_BYTES as u64;
        let filling = (block - size % block) % block;
        let filled = io::copy(&mut (&mut self.from).take(filling), &mut io::sink());
        if filled.map_err(|error| self.gauge.explain(&error))? < filling {
            return Err(cut_off());
        }
        self.position = self.position.saturating_add(size).saturating_add(filling);
        Ok(())
    }
}

fn cut_off() -> Error {
    Error::unreadable("it ends within a member")
}

fn small(data: &mut impl Read, gauge: &Gauge) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    data.take(RECORDS_MAX + 1).read_to_end(&mut bytes).map_err(|error| gauge.explain(&error))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > RECORDS_MAX {
        return Err(Error::TooLarge { bound: Bound::Path, limit: RECORDS_MAX });
    }
    Ok(bytes)
}

/// A name that ends at its first NUL.
fn name(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

impl Ahead {
    /// PAX records: `length key=value\n`, where a value may hold anything.
    fn read_records(&mut self, mut rest: &[u8]) -> Result<(), Error> {
        let broken = || Error::unreadable("a PAX record is broken");
        while !rest.is_empty() {
            let space = rest.iter().position(|byte| *byte == b' ').ok_or_else(broken)?;
            let length: usize = number(&rest[..space]).ok_or_else(broken)?;
            let record = rest.get(space + 1..length).ok_or_else(broken)?;
            let record = record.strip_suffix(b"\n").ok_or_else(broken)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
            self.record(&record[..equals], &record[equals + 1..])?;
            rest = &rest[length..];
        }
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"uid" => self.uid = number(value),
            b"gid" => self.gid = number(value),
            b"size" => self.size = number(value),
            // Whole seconds; what lies before 1970 becomes 1970.
            b"mtime" => {
                let whole = value.split(|byte| *byte == b'.').next().unwrap_or_default();
                self.mtime = Some(number(whole).unwrap_or(0));
            }
            _ if key.starts_with(SPARSE) => self.sparse.take(&key[SPARSE.len()..], value)?,
            _ if key.starts_with(b"SCHILY.xattr.") || key.starts_with(b"LIBARCHIVE.xattr.") => {
                self.attributes += 1;
                self.opaque |= key.ends_with(b".overlay.opaque") && value == b"y";
            }
            _ => {}
        }
        Ok(())
    }

    fn describe(self, header: &tar::Header, offset: u64, gauge: &Gauge) -> Result<Member, Error> {
        let broken = |error: std::io::Error| gauge.explain(&error);
        let size = header.entry_size().map_err(broken)?;
        if self.size.is_some_and(|said| said != size) {
            // Two readers of such an archive could see different files.
            return Err(Error::unreadable("a file has two sizes, in its header and in its PAX record"));
        }
        let kind = kind(header).map_err(broken)?;
        let mode = header.mode().map_err(broken)? & 0o7777;
        let clamp = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Ok(Member {
            path: self.path.unwrap_or_else(|| header.path_bytes().into_owned()),
            link: self.link.unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned()),
            kind: kind?,
            mode: u16::try_from(mode).unwrap_or(0),
            uid: self.uid.map_or_else(|| header.uid().map(clamp), Ok).map_err(broken)?,
            gid: self.gid.map_or_else(|| header.gid().map(clamp), Ok).map_err(broken)?,
            // Times before 1970 are written in two's complement.
            mtime: self.mtime.unwrap_or_else(|| header.mtime().ok().and_then(|time| time.try_into().ok()).unwrap_or(0)),
            size,
            offset,
            is_sparse: false,
            attributes: self.attributes,
            opaque: self.opaque,
        })
    }
}

fn kind(header: &tar::Header) -> std::io::Result<Result<MemberKind, Error>> {
    Ok(Ok(match header.entry_type() {
        // Old archives have no type for folders.
        EntryType::Regular if header.path_bytes().ends_with(b"/") && header.as_ustar().is_none() => {
            MemberKind::Directory
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => MemberKind::File,
        EntryType::Directory => MemberKind::Directory,
        EntryType::Symlink => MemberKind::Symlink,
        EntryType::Link => MemberKind::HardLink,
        EntryType::Char if header.device_major()? == Some(0) && header.device_minor()? == Some(0) => {
            MemberKind::Removal
        }
        EntryType::Char | EntryType::Block => MemberKind::Device,
        EntryType::Fifo => MemberKind::Pipe,
        other => return Ok(Err(Error::Unsupported(format!("a tar member of type `{}`", char::from(other.as_byte()))))),
    }))
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
