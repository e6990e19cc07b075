//! One suite for every engine, what only some of them promise, and what the store makes of them.

mod bounds;
mod claim;
mod conformance;
mod copies;
mod disk;
mod faults;
mod jetstream;
mod known;
mod legacy;
mod manifest;
mod nats;
mod nodes;
mod repair;
mod s3;
mod sealing;
mod tampering;

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::Stream;
use protocol::{Blob, BlobId, ByteSize, Epoch};

use crate::{BLOB_SIZE_MAX, Error, SegmentName, Store};

/// The epoch of most tests.
pub(super) const EPOCH: Epoch = Epoch(7);

/// A segment as a length.
pub(super) const SEGMENT: usize = 4 << 20;

/// Bytes that do not repeat.
pub(super) fn noise(length: usize, seed: u8) -> Bytes {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes.into()
}

/// The bytes as a stream of pieces of these sizes, the last one with all the rest.
pub(super) fn pieces(mut bytes: Bytes, sizes: Vec<usize>) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    let mut pieces: Vec<Bytes> = sizes.into_iter().map(|size| bytes.split_to(size.min(bytes.len()))).collect();
    pieces.push(bytes);
    futures::stream::iter(pieces.into_iter().map(Ok))
}

/// The name of a segment that no store has made.
pub(super) fn segment(epoch: u32, random: u8, number: u32) -> SegmentName {
    SegmentName { blob: BlobId::new(Epoch(epoch), [random; 12]), number }
}

/// All of a blob.
pub(super) async fn read(store: &Store, blob: &Blob) -> Result<Bytes, Error> {
    store.get(blob).await?.collect(BLOB_SIZE_MAX).await
}

/// A range of a blob.
pub(super) async fn read_range(store: &Store, blob: &Blob, range: std::ops::Range<u64>) -> Result<Bytes, Error> {
    let size = ByteSize(range.end.saturating_sub(range.start));
    let object = store.range(blob, range).await?;
    assert_eq!(object.size(), size);
    object.collect(size).await
}

pub(super) fn copies(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

pub(super) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}
