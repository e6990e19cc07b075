//! Whatever is done to segments, a reader gets the bytes that were put or an error, never others.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use bytes::Bytes;
use proptest::prelude::*;
use protocol::{Blob, BlobKey, ByteSize};

use super::sealing::{open, seal};
use super::{EPOCH, SEGMENT, files_below, noise, read, read_range};
use crate::sealing::Opener;
use crate::{Error, SegmentName, Store};

/// Two full segments and a bit.
const SIZE: usize = 2 * SEGMENT + 70_000;

static SEALED: LazyLock<(Blob, Vec<Bytes>)> = LazyLock::new(|| seal(noise(SIZE, 1), &[]));

/// What a chunk takes in a file, and where the first one begins.
const CHUNK: usize = (64 << 10) + 16;
const HEAD: usize = 8;

fn opens(blob: &Blob, number: usize, file: &Bytes) -> bool {
    let opener = Opener::new(blob).unwrap();
    open(&opener, &opener.segment(u32::try_from(number).unwrap()), file).is_some()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_flipped_bit_is_an_error(number in 0..3_usize, at: prop::sample::Index, bit in 0..8_u32) {
        let (blob, sealed) = &*SEALED;
        let mut file = sealed[number].to_vec();
        let at = at.index(file.len());
        file[at] ^= 1 << bit;
        prop_assert!(!opens(blob, number, &file.into()));
    }

    #[test]
    fn a_cut_or_prolonged_segment_is_an_error(number in 0..3_usize, at: prop::sample::Index, more in 1..70_000_usize) {
        let (blob, sealed) = &*SEALED;
        let file = &sealed[number];
        prop_assert!(!opens(blob, number, &file.slice(..at.index(file.len()))));
        let chunks = 1 + at.index(1 + (file.len() - HEAD - 1) / CHUNK);
        if HEAD + chunks * CHUNK < file.len() {
            prop_assert!(!opens(blob, number, &file.slice(..HEAD + chunks * CHUNK)), "cut between two chunks");
        }
        prop_assert!(!opens(blob, number, &[&file[..], &noise(more, 2)].concat().into()));
    }

    #[test]
    fn chunks_in_another_order_are_an_error(number in 0..2_usize, one in 0..64_usize, other in 0..64_usize) {
        let (blob, sealed) = &*SEALED;
        let mut file = sealed[number].to_vec();
        let chunk = |at: usize| HEAD + at * CHUNK..HEAD + (at + 1) * CHUNK;
        let (first, second) = (file[chunk(one)].to_vec(), file[chunk(other)].to_vec());
        file[chunk(one)].copy_from_slice(&second);
        file[chunk(other)].copy_from_slice(&first);
        prop_assert_eq!(opens(blob, number, &file.into()), one == other);
    }

    #[test]
    fn no_bytes_break_the_reader(size in 0..200_000_u64, file in prop::collection::vec(any::<u8>(), 0..200)) {
        let blob = Blob { size: ByteSize(size), ..SEALED.0.clone() };
        prop_assert!(!opens(&blob, 0, &file.into()));
    }
}

#[test]
fn each_segment_stands_for_itself_alone() {
    let (blob, sealed) = &*SEALED;
    for number in 0..3 {
        for (other, segment) in sealed.iter().enumerate() {
            assert_eq!(opens(blob, number, segment), number == other, "{other} as {number}");
        }
    }
    // Another blob's, with the same key; and this one with another key.
    let mut random = blob.id.random();
    random[11] ^= 1;
    let elsewhere = Blob { id: protocol::BlobId::new(blob.id.epoch(), random), ..blob.clone() };
    let opened = Blob { key: BlobKey([1; 32]), ..blob.clone() };
    assert!(!opens(&elsewhere, 0, &sealed[0]) && !opens(&opened, 0, &sealed[0]));
}

#[test]
fn a_blob_is_neither_shorter_nor_longer_than_it_was() {
    let (blob, sealed) = &*SEALED;
    let of_size = |size: usize| Blob { size: ByteSize(size as u64), ..blob.clone() };
    assert!(!opens(&of_size(2 * SEGMENT), 1, &sealed[1]), "without its last segment");
    assert!(!opens(&of_size(2 * SEGMENT + (64 << 10)), 2, &sealed[2].slice(..HEAD + CHUNK)), "without its last chunk");
    let (whole, segments) = seal(noise(SEGMENT, 3), &[]);
    assert!(opens(&whole, 0, &segments[0]));
    let longer = Blob { size: ByteSize(SEGMENT as u64 + 1), ..whole };
    assert!(!opens(&longer, 0, &segments[0]), "with more to come");
}

/// The same with files and the store's own readers.
#[tokio::test]
async fn a_store_never_gives_wrong_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::disk(folder.path()).unwrap();
    let bytes = noise(SIZE, 1);
    let blob = store.put_bytes(EPOCH, bytes.clone()).await.unwrap();
    let other = store.put_bytes(EPOCH, bytes.clone()).await.unwrap();
    let path = |blob: &Blob, number| -> PathBuf {
        let name = SegmentName { blob: blob.id, number }.to_string();
        files_below(folder.path()).into_iter().find(|path| path.ends_with(&name)).unwrap()
    };
    let file = fs::read(path(&blob, 1)).unwrap();
    let mut flipped = file.clone();
    flipped[HEAD + 5 * CHUNK + 17] ^= 0x80;
    let damages = [
        flipped,
        file[..file.len() - 1].to_vec(),
        file[..file.len() / 2].to_vec(),
        [&file[..], b"x"].concat(),
        Vec::new(),
        vec![0; file.len()],
        fs::read(path(&blob, 0)).unwrap(),
        fs::read(path(&blob, 2)).unwrap(),
        fs::read(path(&other, 1)).unwrap(),
    ];
    let begin = SEGMENT as u64;
    for damaged in damages {
        fs::write(path(&blob, 1), damaged).unwrap();
        let whole = read(&store, &blob).await;
        assert!(matches!(whole, Err(Error::Corrupt { .. })), "{:?}", whole.map(|read| read.len()));
        let wanted = 5 * (64 << 10) + 10..5 * (64 << 10) + 30;
        let range = begin + wanted.start..begin + wanted.end;
        let ranged = read_range(&store, &blob, range).await;
        // A range knows nothing of what is wrong elsewhere.
        if let Ok(read) = ranged {
            assert_eq!(read, bytes.slice(SEGMENT + 5 * (64 << 10) + 10..SEGMENT + 5 * (64 << 10) + 30));
        }
        fs::write(path(&blob, 1), &file).unwrap();
        assert!(read(&store, &blob).await.unwrap() == bytes);
    }
    // The last of all checks: all pieces are right, and the owner's digest is of something else.
    let mistaken = Blob { digest: protocol::Digest::of(b"else"), ..blob.clone() };
    assert!(matches!(read(&store, &mistaken).await, Err(Error::CorruptObject { .. })));
    for beyond in [0..blob.size.0 + 1, blob.size.0 + 1..blob.size.0 + 1] {
        assert!(matches!(store.range(&blob, beyond).await, Err(Error::OutOfRange { .. })));
    }
}

/// Neither a known content nor that two contents are the same can be seen in the folder.
#[tokio::test]
async fn a_folder_says_nothing_of_its_contents() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::disk(folder.path()).unwrap();
    let known = b"a content that somebody looks for, and that is long enough".repeat(3_000);
    let one = store.put_bytes(EPOCH, known.clone().into()).await.unwrap();
    let two = store.put_bytes(EPOCH, known.clone().into()).await.unwrap();
    assert_eq!((one.digest, one.size), (two.digest, two.size));
    assert_ne!(one.id, two.id);
    assert_ne!(one.key, two.key);
    let files: Vec<Vec<u8>> = files_below(folder.path()).iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(files.len(), 2);
    for at in (HEAD..files[0].len() - 16).step_by(16) {
        assert_ne!(files[0][at..at + 16], files[1][at..at + 16]);
    }
    let searched = [&known[..16], &one.key.0[..], &one.digest.0[..]];
    for path in files_below(folder.path()) {
        let name = path.display().to_string();
        assert!(!name.contains(&one.digest.to_string()), "{name}");
        let file = fs::read(&path).unwrap();
        for wanted in searched {
            assert!(!file.windows(wanted.len()).any(|window| window == wanted), "{name}");
        }
    }
}
