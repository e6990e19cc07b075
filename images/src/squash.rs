//! Writes a tree as squashfs: the same tree gives the same bytes. Contents are streamed in blocks, one at a time.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use backhand::compression::{CompressionOptions, Compressor, Zstd};
use backhand::kind::{Kind, LE_V4_0};
use backhand::{FilesystemCompressor, FilesystemWriter, NodeHeader};
use protocol::{ByteSize, Digest};

use crate::error::{Bound, Error};
use crate::image::RootFs;
use crate::limits::Gauge;
use crate::source::Stores;
use crate::tree::{Body, Meta, Tree};

/// Reads of a page unpack a block: 128 KiB is what the kernel does best with.
const BLOCK_BYTES: u32 = 128 * 1024;
const ZSTD_LEVEL: u32 = 6;
/// The end of a device must be a whole page.
const PAD_KIB: u32 = 4;

/// What was written.
pub(crate) struct Squashed {
    pub(crate) rootfs: RootFs,
    pub(crate) entries: u64,
    pub(crate) bytes: ByteSize,
    /// Names of files that have others: the writer knows no hard links.
    pub(crate) links: u64,
}

/// Writes all that a tree has from a layer on into `folder`, under the name of its digest.
pub(crate) fn write(
    tree: &Tree<'_>,
    from_layer: u32,
    stores: &Stores,
    folder: &Path,
    gauge: &Gauge,
) -> Result<Squashed, Error> {
    let mut writer = FilesystemWriter::default();
    writer.set_kind(Kind::from_const(LE_V4_0).map_err(|error| Error::Host(io::Error::other(error)))?);
    writer.set_block_size(BLOCK_BYTES);
    writer.set_kib_padding(PAD_KIB);
    let zstd = CompressionOptions::Zstd(Zstd { compression_level: ZSTD_LEVEL });
    let compressor = FilesystemCompressor::new(Compressor::Zstd, Some(zstd));
    writer.set_compressor(compressor.map_err(|error| Error::Host(io::Error::other(error)))?);
    let root = tree.root().meta;
    writer.set_root_mode(root.mode);
    let mut owners = Owners::new(gauge.limits.owners);
    // The root is always of user 0: the writer knows other owners only from its entries.
    let (mut entries, mut bytes, mut links) = (0_u64, 0_u64, 0_u64);
    let mut files = HashSet::new();
    for (path, node) in tree.walk(from_layer) {
        gauge.check_stop()?;
        owners.add(node.meta)?;
        entries += 1;
        let path = Path::new(OsStr::from_bytes(&path));
        let header = header(node.meta);
        let pushed = match &node.body {
            Body::Directory(_) => writer.push_dir(path, header),
            Body::Symlink(target) => writer.push_symlink(PathBuf::from(OsStr::from_bytes(target)), path, header),
            Body::File(blob) => {
                bytes += blob.len;
                links += u64::from(!files.insert(std::ptr::from_ref(node)));
                writer.push_file(Watched { inner: stores.read(*blob), gauge }, path, header)
            }
        };
        pushed.map_err(|error| Error::Host(io::Error::other(error)))?;
    }
    let mut out = tempfile::NamedTempFile::new_in(folder)?;
    let mut buffered = BufWriter::with_capacity(1 << 20, Watched { inner: out.as_file_mut(), gauge });
    let written = writer.write(&mut buffered).map_err(|error| match gauge.check_stop() {
        Err(stopped) => stopped,
        Ok(()) => Error::Host(io::Error::other(error)),
    });
    let (_, size) = written?;
    buffered.flush()?;
    drop(buffered);
    // The writer goes back over data that turned out to be there already; at the very end some may be left over.
    out.as_file().set_len(size)?;
    let digest = digest(out.as_file_mut(), gauge)?;
    let path = folder.join(format!("{digest}.squashfs"));
    // Who runs a microVM is not who made the image.
    out.as_file().set_permissions(Permissions::from_mode(0o644))?;
    out.as_file().sync_all()?;
    out.persist(&path).map_err(|error| Error::Host(error.error))?;
    Ok(Squashed { rootfs: RootFs { path, size: ByteSize(size), digest }, entries, bytes: ByteSize(bytes), links })
}

fn header(meta: Meta) -> NodeHeader {
    NodeHeader::new(meta.mode, meta.uid, meta.gid, meta.mtime)
}

fn digest(file: &mut File, gauge: &Gauge) -> Result<Digest, Error> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = blake3::Hasher::new();
    let mut buf = vec![0; 1 << 20];
    loop {
        gauge.check_stop()?;
        let count = file.read(&mut buf)?;
        if count == 0 {
            return Ok(Digest(*hasher.finalize().as_bytes()));
        }
        hasher.update(&buf[..count]);
    }
}

/// The writer looks owners up one after the other, so that they are few.
struct Owners {
    seen: BTreeSet<u32>,
    max: usize,
}

impl Owners {
    fn new(max: usize) -> Self {
        Self { seen: BTreeSet::new(), max }
    }

    fn add(&mut self, meta: Meta) -> Result<(), Error> {
        self.seen.extend([meta.uid, meta.gid]);
        if self.seen.len() <= self.max {
            return Ok(());
        }
        Err(Error::TooLarge { bound: Bound::Owners, limit: u64::try_from(self.max).unwrap_or(u64::MAX) })
    }
}

/// Ends reading or writing when the conversion is cancelled.
struct Watched<'a, T> {
    inner: T,
    gauge: &'a Gauge,
}

impl<T> Watched<'_, T> {
    fn check(&self) -> io::Result<()> {
        self.gauge.check_stop().map_err(io::Error::other)
    }
}

impl<T: Read> Read for Watched<'_, T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        self.inner.read(buf)
    }
}

impl<T: Write> Write for Watched<'_, T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.check()?;
        self.inner.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Seek> Seek for Watched<'_, T> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
