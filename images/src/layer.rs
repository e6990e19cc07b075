//! Lays one tar over a tree: an image's layer, with its removals, or a plain archive of files.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use crate::archive::{Member, MemberKind, members};
use crate::error::{Bound, Error};
use crate::image::Dropped;
use crate::limits::Gauge;
use crate::source::{Blob, Packing, Store, Stores};
use crate::tree::{Body, Meta, Tree, show};

/// What a name that begins so says is removed.
const REMOVAL: &[u8] = b".wh.";
/// All that layers below have in this folder is removed.
const REMOVAL_OF_ALL: &[u8] = b".wh..wh..opq";
/// Other names that begin so are a union file system's own.
const PRIVATE: &[u8] = b".wh..wh.";

/// What a tar's members mean.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Whether names can say that something is removed. In a plain archive a file may have any name.
    removals: bool,
    /// What is kept of it.
    keeps: fn(&[u8]) -> bool,
}

impl Rules {
    /// A layer of an image.
    pub(crate) const LAYER: Self = Self { removals: true, keeps: |_| true };
    /// An archive of files.
    pub(crate) const FILES: Self = Self { removals: false, keeps: |_| true };

    /// A package of which only some files are wanted.
    pub(crate) fn package(keeps: fn(&[u8]) -> bool) -> Self {
        Self { removals: false, keeps }
    }
}

/// Where contents come from and go to, and what they cost.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub(crate) stores: &'a Stores,
    pub(crate) gauge: &'a Gauge,
}

/// SHA-256, as OCI writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sums {
    /// Of the layer as it is stored.
    pub(crate) stored: String,
    /// Of the tar inside.
    pub(crate) unpacked: String,
}

/// Lays a layer over the tree.
pub(crate) fn apply(
    tree: &mut Tree<'_>,
    ground: Ground<'_>,
    layer: Blob,
    rules: &Rules,
    dropped: &mut Dropped,
) -> Result<Sums, Error> {
    let Ground { stores, gauge } = ground;
    let packing = Packing::of(&stores.head(layer)?)?;
    let mut stored = Hashing::new(stores.read(layer));
    let mut unpacked = Hashing::new(packing.unpack(&mut stored, layer.len, gauge)?);
    members(&mut unpacked, gauge, |member, contents| {
        let contents = match packing {
            // What lies bare in the input need not be copied.
            Packing::Plain if !member.is_sparse => {
                Contents::InPlace(Blob { store: Store::Input, offset: layer.offset + member.offset, len: member.size })
            }
            Packing::Plain | Packing::Gzip | Packing::Zstd => Contents::Read(contents),
        };
        if (rules.keeps)(&member.path) { put(tree, ground, member, contents, rules, dropped) } else { Ok(()) }
    })?;
    // A digest is of all bytes, also of those after the tar's end.
    io::copy(&mut unpacked, &mut io::sink()).map_err(|error| gauge.explain(&error))?;
    let unpacked = unpacked.finish();
    io::copy(&mut stored, &mut io::sink()).map_err(|error| gauge.explain(&error))?;
    Ok(Sums { stored: stored.finish(), unpacked })
}

enum Contents<'c> {
    InPlace(Blob),
    Read(&'c mut dyn Read),
}

fn put(
    tree: &mut Tree<'_>,
    Ground { stores, gauge }: Ground<'_>,
    member: Member,
    contents: Contents<'_>,
    rules: &Rules,
    dropped: &mut Dropped,
) -> Result<(), Error> {
    let path = member.path.as_slice();
    if rules.removals {
        if let Some(removed) = removal(path) {
            return match removed {
                Removed::All(folder) => tree.remove_below(folder),
                Removed::One(path) => tree.remove(&path),
                Removed::Nothing => Ok(()),
            };
        }
        if member.kind == MemberKind::Removal {
            return tree.remove(path);
        }
    }
    dropped.attributes += member.attributes;
    let meta = Meta { mode: member.mode, uid: member.uid, gid: member.gid, mtime: member.mtime };
    match member.kind {
        MemberKind::Directory => {
            tree.put_folder(path, meta)?;
            if member.opaque && rules.removals { tree.remove_below(path) } else { Ok(()) }
        }
        MemberKind::File => {
            let blob = match contents {
                Contents::InPlace(blob) => blob,
                Contents::Read(reader) => stores.spill().keep(reader, gauge)?,
            };
            if blob.len != member.size {
                return Err(Error::unreadable(format!("it ends within `{}`", show(path))));
            }
            tree.put(path, meta, Body::File(blob))
        }
        MemberKind::Symlink => {
            let limit = gauge.limits.path;
            if member.link.len() > limit {
                return Err(Error::TooLarge { bound: Bound::Path, limit: u64::try_from(limit).unwrap_or(u64::MAX) });
            }
            if member.link.is_empty() || member.link.contains(&0) {
                return Err(Error::unreadable(format!("the link `{}` has no target", show(path))));
            }
            tree.put(path, meta, Body::Symlink(member.link.into()))
        }
        MemberKind::HardLink => tree.put_hard_link(path, &member.link),
        MemberKind::Device | MemberKind::Removal => {
            dropped.devices += 1;
            Ok(())
        }
        MemberKind::Pipe => {
            dropped.pipes += 1;
            Ok(())
        }
    }
}

enum Removed<'p> {
    One(Vec<u8>),
    All(&'p [u8]),
    Nothing,
}

/// What a name says is removed.
fn removal(path: &[u8]) -> Option<Removed<'_>> {
    let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (folder, name) = path.split_at(start);
    let removed = name.strip_prefix(REMOVAL)?;
    Some(match name {
        REMOVAL_OF_ALL => Removed::All(folder),
        _ if name.starts_with(PRIVATE) || removed.is_empty() => Removed::Nothing,
        _ => Removed::One([folder, removed].concat()),
    })
}

/// Hashes what is read.
struct Hashing<R> {
    inner: R,
    hasher: Sha256,
}

impl<R> Hashing<R> {
    fn new(inner: R) -> Self {
        Self { inner, hasher: Sha256::new() }
    }

    fn finish(self) -> String {
        sum_text(&self.hasher.finalize())
    }
}

/// A SHA-256 as OCI writes it.
pub(crate) fn sum_text(sum: &[u8]) -> String {
    sum.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf)?;
        self.hasher.update(&buf[..count]);
        Ok(count)
    }
}
