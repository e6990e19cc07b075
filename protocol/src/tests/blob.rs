//! Names and keys of blobs: what stands in file names, rows and messages, and must be read as it was written.

use proptest::prelude::*;

use crate::{Blob, BlobId, BlobKey, ByteSize, Digest, Epoch};

const RANDOM: [u8; 12] = [0xab, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0xff];

#[test]
fn an_id_is_its_epoch_and_its_random_bytes() {
    let id = BlobId::new(Epoch(0x0102_0304), RANDOM);
    assert_eq!(id.to_string(), "01020304ab0102030405060708090aff");
    assert_eq!(format!("{id:?}"), id.to_string());
    assert_eq!((id.epoch(), id.random()), (Epoch(0x0102_0304), RANDOM));
    assert_eq!(serde_json::to_string(&id).unwrap(), "\"01020304ab0102030405060708090aff\"");
    for wrong in ["", "01", "01020304AB0102030405060708090aff", "+1020304ab0102030405060708090aff"] {
        assert!(wrong.parse::<BlobId>().is_err(), "{wrong}");
    }
}

#[test]
fn a_blob_is_written_as_committed_and_its_key_is_never_shown() {
    let blob = Blob {
        id: BlobId::new(Epoch(7), RANDOM),
        key: BlobKey([7; 32]),
        size: ByteSize(5),
        digest: Digest([0xcd; 32]),
    };
    let committed = format!(
        "{{\"id\":\"00000007ab0102030405060708090aff\",\"key\":\"{}\",\"size\":\"5\",\"digest\":\"{}\"}}",
        "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc",
        "cd".repeat(32)
    );
    assert_eq!(serde_json::to_string(&blob).unwrap(), committed);
    assert_eq!(serde_json::from_str::<Blob>(&committed).unwrap(), blob);
    assert!(format!("{blob:?}").contains("BlobKey(..)"));
}

proptest! {
    #[test]
    fn any_id_comes_back_and_the_order_is_that_of_texts(one: (u32, [u8; 12]), other: (u32, [u8; 12])) {
        let [one, other] = [one, other].map(|(epoch, random)| BlobId::new(Epoch(epoch), random));
        prop_assert_eq!(one.to_string().parse::<BlobId>(), Ok(one));
        prop_assert_eq!(one.cmp(&other), one.to_string().cmp(&other.to_string()));
    }
}
