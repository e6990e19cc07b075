//! One suite for every engine, and what only some of them promise.

mod bounds;
mod conformance;
mod disk;
mod jetstream;
mod manifest;
mod mirror;
mod nats;

use std::convert::Infallible;

use bytes::Bytes;
use futures::Stream;

/// Bytes that do not repeat within any chunk.
pub(super) fn noise(length: usize, seed: u8) -> Bytes {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes.into()
}

/// The bytes as a stream of pieces of these sizes, the last one with all the rest.
pub(super) fn pieces(mut bytes: Bytes, sizes: Vec<usize>) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let mut pieces: Vec<Bytes> = sizes.into_iter().map(|size| bytes.split_to(size.min(bytes.len()))).collect();
    pieces.push(bytes);
    futures::stream::iter(pieces.into_iter().map(Ok))
}
