//! The committed bytes of manifests of before there were blobs, and that no bytes at all break their reader.

use proptest::prelude::*;
use protocol::{ByteSize, Digest};

use crate::legacy::{ChunkRef, Manifest};

/// Written by version 1. These bytes stand in stores: a reader that refuses them loses users' data.
const GOLDEN: &str = include_str!("manifest_v1.hex");

fn golden() -> Manifest {
    let chunks = vec![
        ChunkRef { digest: Digest::of(b"first"), length: 262_144 },
        ChunkRef { digest: Digest::of(b"second"), length: 1 },
    ];
    Manifest { digest: Digest::of(b"whole"), size: ByteSize(262_145), chunks }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[test]
fn version_1_is_written_and_read_as_committed() {
    assert_eq!(hex(&golden().to_bytes()), hex(&unhex(GOLDEN)));
    assert_eq!(Manifest::parse(&unhex(GOLDEN)).unwrap(), golden());
}

#[test]
fn nonsense_is_named() {
    let wrong = |change: fn(&mut Vec<u8>)| {
        let mut bytes = golden().to_bytes();
        change(&mut bytes);
        Manifest::parse(&bytes).unwrap_err()
    };
    assert_eq!(wrong(|bytes| bytes[3] = 2), "it does not begin like one of version 1");
    assert_eq!(wrong(|bytes| bytes.truncate(bytes.len() - 1)), "it is cut");
    assert_eq!(wrong(|bytes| bytes.truncate(43)), "it is cut");
    assert_eq!(wrong(|bytes| bytes.truncate(44)), "its chunks do not add up to its size");
    assert_eq!(wrong(|bytes| bytes[4] ^= 1), "its chunks do not add up to its size");
    assert_eq!(wrong(|bytes| bytes[79] = 255), "it lists a chunk of an impossible length");
}

proptest! {
    #[test]
    fn any_manifest_comes_back(lengths in prop::collection::vec(1..=262_144_u32, 0..50), whole: [u8; 32]) {
        let chunks: Vec<ChunkRef> =
            lengths.iter().map(|&length| ChunkRef { digest: Digest::of(&length.to_le_bytes()), length }).collect();
        let size = ByteSize(lengths.iter().copied().map(u64::from).sum());
        let manifest = Manifest { digest: Digest(whole), size, chunks };
        prop_assert_eq!(Manifest::parse(&manifest.to_bytes()), Ok(manifest));
    }

    #[test]
    fn no_bytes_break_the_reader(bytes: Vec<u8>, after_magic: bool) {
        let bytes = if after_magic { [b"CCM\x01".as_slice(), &bytes].concat() } else { bytes };
        if let Ok(manifest) = Manifest::parse(&bytes) {
            prop_assert_eq!(manifest.to_bytes(), bytes);
        }
    }
}
