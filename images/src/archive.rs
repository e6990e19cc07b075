//! Tar members, read with bounds. The `tar` crate reads long names and PAX records whole into memory, whatever size
//! they claim; so its raw members are put together here.

use std::io::Read;

use tar::EntryType;

use crate::error::{Bound, Error};
use crate::limits::Gauge;

/// Records of one file: more is no honest archive's.
const RECORDS_MAX: u64 = 1 << 20;

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
}

/// Calls `each` with every member and a reader of its contents.
pub(crate) fn members<R: Read>(
    from: R,
    gauge: &Gauge,
    mut each: impl FnMut(Member, &mut dyn Read) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut archive = tar::Archive::new(from);
    let mut ahead = Ahead::default();
    let entries = archive.entries().map_err(|error| gauge.explain(&error))?;
    for entry in entries.raw(true) {
        gauge.check_stop()?;
        let mut entry = entry.map_err(|error| gauge.explain(&error))?;
        match entry.header().entry_type() {
            EntryType::GNULongName => ahead.path = Some(name(small(&mut entry, gauge)?)),
            EntryType::GNULongLink => ahead.link = Some(name(small(&mut entry, gauge)?)),
            EntryType::XHeader => ahead.read_records(&small(&mut entry, gauge)?)?,
            // What is said of all members at once is the archive's name and the like.
            EntryType::XGlobalHeader => {}
            _ => {
                let offset = entry.raw_file_position();
                let member = std::mem::take(&mut ahead).describe(entry.header(), offset, gauge)?;
                each(member, &mut entry)?;
            }
        }
    }
    Ok(())
}

fn small(entry: &mut impl Read, gauge: &Gauge) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    entry.take(RECORDS_MAX + 1).read_to_end(&mut bytes).map_err(|error| gauge.explain(&error))?;
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
            _ if key.starts_with(b"GNU.sparse.") => return Err(sparse()),
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
        EntryType::Regular | EntryType::Continuous => MemberKind::File,
        EntryType::Directory => MemberKind::Directory,
        EntryType::Symlink => MemberKind::Symlink,
        EntryType::Link => MemberKind::HardLink,
        EntryType::Char if header.device_major()? == Some(0) && header.device_minor()? == Some(0) => {
            MemberKind::Removal
        }
        EntryType::Char | EntryType::Block => MemberKind::Device,
        EntryType::Fifo => MemberKind::Pipe,
        EntryType::GNUSparse => return Ok(Err(sparse())),
        other => return Ok(Err(Error::Unsupported(format!("a tar member of type `{}`", char::from(other.as_byte()))))),
    }))
}

fn sparse() -> Error {
    Error::Unsupported("a sparse file in a tar; make the archive without `--sparse`".to_owned())
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
