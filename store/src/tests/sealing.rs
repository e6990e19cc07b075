//! The committed bytes of segments, their layout, and that ranges need no more than the chunks that they are in.

use bytes::Bytes;
use proptest::prelude::*;
use protocol::{Blob, BlobId, BlobKey, ByteSize, Digest, Epoch};

use super::{SEGMENT, noise};
use crate::sealing::{CHUNK_SIZE, Opener, PART_SIZE, Part, SEGMENT_SIZE, Sealer, TAG_SIZE, parts, segments};
use crate::{BLOB_SIZE_MAX, Error, SegmentName};

/// Made by another implementation of AES-256-GCM from form 1. These bytes stand in stores: a reader that refuses them
/// loses users' data.
const EMPTY: &str = "43434201100000004de219082c74ba4e650e4b31bb620df0";
const SMALL: &str = "43434201100000007db3d3902bd8107c6241335f65a7d118aef431d9a32d317a0deecc";
const TWO_CHUNKS_BEGIN: &str = "43434201100000000ebdb7ddb12985ba00a1a33e14219f96";
const TWO_CHUNKS_END: &str = "39084bedfa6f8ccef87cdeb6a5f528a68f516af174cacf3ce86093158c68699c651197a56c";
const FULL_SEGMENT_END: &str = "c03dc55016916fe7c2adb50a1d017d18";
const SECOND_SEGMENT: &str = "43434201100000007b9e1399c9a5c10d502a43e71ee96095d3acd8";

const CHUNK: usize = 64 << 10;

fn id() -> BlobId {
    BlobId::new(Epoch(7), std::array::from_fn(|at| 0xa0 + u8::try_from(at).unwrap()))
}

fn key() -> BlobKey {
    BlobKey(std::array::from_fn(|at| u8::try_from(at).unwrap()))
}

/// Seals the bytes as they come in pieces of these sizes, the last one with all the rest.
pub(super) fn seal(mut bytes: Bytes, sizes: &[usize]) -> (Blob, Vec<Bytes>) {
    let blob = Blob { id: id(), key: key(), size: ByteSize(bytes.len() as u64), digest: Digest::of(&bytes) };
    let mut sealer = Sealer::new(blob.id, &blob.key).unwrap();
    let mut sealed = Vec::new();
    let mut pieces: Vec<Bytes> = sizes.iter().map(|size| bytes.split_to(bytes.len().min(*size))).collect();
    pieces.push(bytes);
    for mut piece in pieces {
        while let Some(segment) = sealer.fill(&mut piece).unwrap() {
            sealed.push(segment);
        }
    }
    sealed.push(sealer.finish().unwrap());
    for (number, (name, _)) in sealed.iter().enumerate() {
        assert_eq!(*name, SegmentName { blob: blob.id, number: u32::try_from(number).unwrap() });
    }
    (blob, sealed.into_iter().map(|(_, segment)| segment).collect())
}

/// What the part says of the file, opened.
pub(super) fn open(opener: &Opener, part: &Part, file: &Bytes) -> Option<Bytes> {
    let length = file.len() as u64;
    let at = |at: u64| usize::try_from(at.min(length)).unwrap();
    Some(opener.open(part, file.slice(at(part.kept.start)..at(part.kept.end)))?.concat().into())
}

fn counting(length: usize) -> Bytes {
    (0..251_u8).cycle().take(length).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn form_1_is_written_as_committed() {
    let sealed = |bytes: Bytes| seal(bytes, &[]).1.iter().map(|segment| hex(segment)).collect::<Vec<_>>();
    assert_eq!(id().to_string(), "00000007a0a1a2a3a4a5a6a7a8a9aaab");
    assert_eq!(sealed(Bytes::new()), [EMPTY]);
    assert_eq!(sealed(Bytes::from_static(b"hello, blob")), [SMALL]);
    let two_chunks = sealed(counting(CHUNK + 5)).concat();
    assert_eq!(two_chunks.len(), 2 * 65_581);
    assert!(two_chunks.starts_with(TWO_CHUNKS_BEGIN) && two_chunks.ends_with(TWO_CHUNKS_END));
    let two_segments = sealed(counting(SEGMENT + 3));
    assert_eq!((two_segments.len(), two_segments[0].len()), (2, 2 * 4_195_336));
    assert!(two_segments[0].ends_with(FULL_SEGMENT_END));
    assert_eq!(two_segments[1], SECOND_SEGMENT);
}

#[test]
fn form_1_is_read_as_committed() {
    let unhex = |text: &str| -> Bytes {
        let digits: Vec<u8> = text.bytes().collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    };
    for (committed, plain) in [(EMPTY, &b""[..]), (SMALL, &b"hello, blob"[..])] {
        let blob = Blob { id: id(), key: key(), size: ByteSize(plain.len() as u64), digest: Digest::of(plain) };
        let opener = Opener::new(&blob).unwrap();
        assert_eq!(open(&opener, &opener.segment(0), &unhex(committed)).unwrap(), plain);
    }
}

#[test]
fn a_size_says_the_segments() {
    let count = |size| segments(ByteSize(size)).unwrap().len();
    assert_eq!([count(0), count(1), count(SEGMENT_SIZE), count(SEGMENT_SIZE + 1)], [1, 1, 1, 2]);
    assert_eq!(segments(BLOB_SIZE_MAX).unwrap(), 0..u32::MAX);
    let beyond = ByteSize(BLOB_SIZE_MAX.0 + 1);
    assert!(matches!(segments(beyond), Err(Error::TooLarge { .. })));
    let blob = Blob { id: id(), key: key(), size: beyond, digest: Digest([0; 32]) };
    assert!(matches!(Opener::new(&blob), Err(Error::TooLarge { .. })));
    assert_eq!(parts(&(5..5)), 0..0);
    assert_eq!(parts(&(PART_SIZE - 1..PART_SIZE)), 0..1);
    assert_eq!(parts(&(PART_SIZE - 1..PART_SIZE + 1)), 0..2);
    assert_eq!(SEGMENT_SIZE % PART_SIZE, 0, "no part is of two segments");
}

#[test]
fn names_of_segments_come_back() {
    let name = SegmentName { blob: id(), number: 0x0001_02ff };
    assert_eq!(name.to_string(), "00000007a0a1a2a3a4a5a6a7a8a9aaab.000102ff");
    assert_eq!(name.to_string().parse::<SegmentName>(), Ok(name));
    for wrong in ["", "00000007a0a1a2a3a4a5a6a7a8a9aaab", "00000007a0a1a2a3a4a5a6a7a8a9aaab.1", "a.00000000"] {
        assert!(wrong.parse::<SegmentName>().is_err(), "{wrong}");
    }
    assert!("00000007a0a1a2a3a4a5a6a7a8a9aaab.000102FF".parse::<SegmentName>().is_err());
}

/// Sizes about the borders of chunks and segments, and any other.
fn sizes() -> impl Strategy<Value = usize> {
    let about = |border: usize| border.saturating_sub(2)..border + 3;
    prop_oneof![
        0..3_usize,
        about(CHUNK),
        about(2 * CHUNK),
        about(SEGMENT),
        about(SEGMENT + CHUNK),
        about(2 * SEGMENT),
        0..2 * SEGMENT
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_range_comes_back_from_the_chunks_that_it_is_in(
        size in sizes(),
        cuts in prop::collection::vec(0..400_000_usize, 0..4),
        ends: (prop::sample::Index, prop::sample::Index),
    ) {
        let bytes = noise(size, 1);
        let (blob, sealed) = seal(bytes.clone(), &cuts);
        prop_assert!(seal(bytes.clone(), &[]).1 == sealed, "pieces make no difference");
        let opener = Opener::new(&blob).unwrap();
        prop_assert_eq!(segments(blob.size).unwrap().len(), sealed.len());

        let whole = segments(blob.size).unwrap();
        let whole: Vec<_> =
            whole.map(|number| open(&opener, &opener.segment(number), &sealed[number as usize]).unwrap()).collect();
        prop_assert!(whole.concat() == bytes);

        let (a, b) = (ends.0.index(size + 1), ends.1.index(size + 1));
        let (start, end) = (a.min(b), a.max(b));
        let range = start as u64..end as u64;
        let mut read = Vec::new();
        for number in parts(&range) {
            let part = opener.part(number, &range);
            let most = (end - start).min(1 << 20) as u64 + 2 * CHUNK_SIZE;
            let tags = most.div_ceil(CHUNK_SIZE) * TAG_SIZE;
            prop_assert!(part.kept.end - part.kept.start <= 8 + most + tags + 1);
            read.extend_from_slice(&open(&opener, &part, &sealed[part.name.number as usize]).unwrap());
        }
        prop_assert!(read == bytes[start..end]);
    }
}
