//! Damaged bytes are found, and never more than that.

use proptest::prelude::*;
use proptest::sample::Index;
use protocol::Digest;

use super::sample::{any_runs, body, sealed};
use crate::{Body, Error, Header};

/// Where the table says how many frames there are, and how long its parts are.
const FRAMES_AT: usize = 12;
const HEAD_BYTES: usize = 40;
const FRAME_BYTES: usize = 76;

/// Where the table ends: its digest is next.
fn table_end(bytes: &[u8]) -> usize {
    let frames = u32::from_le_bytes(bytes[FRAMES_AT..FRAMES_AT + 4].try_into().unwrap());
    HEAD_BYTES + usize::try_from(frames).unwrap() * FRAME_BYTES
}

/// Makes the table's digest right again.
fn digest_again(bytes: &mut [u8]) {
    let end = table_end(bytes);
    let digest = Digest::of(&bytes[..end]);
    bytes[end..end + 32].copy_from_slice(&digest.0);
}

/// Reads all that can be read; nothing of it may panic.
fn read_all(body: &Body, header: &Header) -> Vec<Result<Vec<u8>, Error>> {
    let _ = (body.check(header), body.text(), body.find(header.first), body.find(header.last));
    (0..=body.frames().len()).for_each(|index| drop(body.frame(index)));
    (0..body.frames().len()).map(|index| body.frame_text(index)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_changed_byte_is_found_and_the_other_frames_are_read(
        runs in any_runs(100, 20), at in any::<Index>(), flip in 1..=u8::MAX,
    ) {
        let block = sealed(None, runs);
        let whole = body(&block);
        let mut bytes = block.body.clone();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let Ok(damaged) = Body::open(bytes) else {
            prop_assert!(at < table_end(&block.body) + 32, "a damaged frame hides the others");
            return Ok(());
        };
        let (before, after) = (read_all(&whole, &block.header), read_all(&damaged, &block.header));
        let broken = after.iter().filter(|frame| frame.is_err()).count();
        prop_assert_eq!(broken, 1);
        for (index, (before, after)) in before.iter().zip(&after).enumerate() {
            match after {
                Ok(_) => prop_assert_eq!(before, after),
                Err(Error::Damaged { block, frame, .. }) => prop_assert_eq!((*block, *frame), (1, Some(index))),
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
        prop_assert!(damaged.check(&block.header).is_err());
    }

    #[test]
    fn a_body_that_is_cut_or_longer_is_found(runs in any_runs(100, 20), at in any::<Index>(), more in 1..9_usize) {
        let block = sealed(None, runs);
        let cut = block.body[..at.index(block.body.len())].to_vec();
        let found = matches!(Body::open(cut), Err(Error::Body { .. }));
        prop_assert!(found);
        let longer = [block.body, vec![0; more]].concat();
        let found = matches!(Body::open(longer), Err(Error::Body { .. }));
        prop_assert!(found);
    }

    #[test]
    fn a_table_that_lies_is_found(
        runs in any_runs(100, 20), at in any::<Index>(), flip in 1..=u8::MAX, text in any::<bool>(),
    ) {
        let block = sealed(None, runs);
        let mut bytes = block.body.clone();
        // Anything behind the number of frames, with a digest that fits.
        let end = table_end(&bytes);
        let at = FRAMES_AT + 4 + at.index(end - FRAMES_AT - 4);
        bytes[at] ^= flip;
        if text {
            // The greatest length that there is.
            bytes[HEAD_BYTES + 36..HEAD_BYTES + 40].copy_from_slice(&u32::MAX.to_le_bytes());
        }
        digest_again(&mut bytes);
        if let Ok(lying) = Body::open(bytes) {
            read_all(&lying, &block.header);
            prop_assert!(lying.check(&block.header).is_err());
        }
    }

    #[test]
    fn compressed_bytes_that_lie_are_found(runs in any_runs(100, 4), at in any::<Index>(), flip in 1..=u8::MAX) {
        let block = sealed(None, runs);
        let mut bytes = block.body.clone();
        let frames = table_end(&bytes) + 32;
        let at = frames + at.index(bytes.len() - frames);
        bytes[at] ^= flip;
        let frame = Digest::of(&bytes[frames..]);
        // With digests that fit, where there is one frame.
        bytes[HEAD_BYTES + 44..HEAD_BYTES + 76].copy_from_slice(&frame.0);
        digest_again(&mut bytes);
        let lying = Body::open(bytes).unwrap();
        read_all(&lying, &block.header);
        // A flip may change nothing of what is unpacked.
        let same = lying.text().is_ok_and(|text| Digest::of(&text) == block.header.body);
        prop_assert_eq!(lying.check(&block.header).is_ok(), same);
    }

    #[test]
    fn any_bytes_are_no_body(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), fits in any::<bool>()) {
        prop_assert!(Body::open(bytes.clone()).is_err());
        if fits && bytes.len() > 240 {
            bytes[..8].copy_from_slice(b"ccbody\0\0");
            bytes[8..16].copy_from_slice(&[1, 0, 0, 0, 2, 0, 0, 0]);
            prop_assert!(Body::open(bytes.clone()).is_err());
            digest_again(&mut bytes);
            if let Ok(body) = Body::open(bytes) {
                prop_assert!(body.text().is_err());
            }
        }
    }

    #[test]
    fn a_changed_header_is_another_or_none(runs in any_runs(100, 4), at in any::<Index>(), byte in 0..0x80_u8) {
        let block = sealed(None, runs);
        let mut text = block.text.clone().into_bytes();
        let at = at.index(text.len());
        prop_assume!(text[at] != byte && text[at] < 0x80);
        text[at] = byte;
        let text = String::from_utf8(text).unwrap();
        prop_assert_ne!(Header::digest_of(&text), Header::digest_of(&block.text));
        if let Ok(header) = Header::parse(&text) {
            // What can be read can be written.
            prop_assert_eq!(Header::parse(&header.text()), Ok(header));
        }
    }
}

#[test]
fn another_format_is_told_from_damage() {
    let block = sealed(None, vec![super::sample::full(1)]);
    let mut bytes = block.body;
    bytes[8] = 2;
    assert_eq!(Body::open(bytes).map(|_| ()), Err(Error::Format { format: 2 }));
    let text = block.text.replace("\"format\":1", "\"format\":2");
    assert_eq!(Header::parse(&text), Err(Error::Format { format: 2 }));
}

#[test]
fn the_body_of_another_block_is_found() {
    let first = sealed(None, vec![super::sample::full(1)]);
    let second = sealed(Some(&first), vec![super::sample::full(1)]);
    assert!(matches!(body(&second).check(&first.header), Err(Error::Damaged { block: 2, frame: None, .. })));
}
