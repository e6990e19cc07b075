//! Sealed frames. Whoever has a node's credentials may listen to what is sent to the node; so what the core sends is
//! sealed with the key of the start that is the node (`boots`), and only that process can read it, or answer it.
//!
//! ```text
//! 0 mark  1..17 salt  17.. the frame under AES-256-GCM, its key made of the boot key and the salt
//! ```
//! A key is used for one frame: there is no counter to keep. A frame says within who sent it and to which exchange it
//! belongs, so that one that is heard and sent again elsewhere is of no use.

use bytes::{BufMut as _, Bytes, BytesMut};
use protocol::node::BootKey;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use uuid::Uuid;

use crate::frame::Encoded;

/// No version of frames begins so.
const MARK: u8 = 0xc5;
const SALT_BYTES: usize = 16;

pub(crate) fn is_sealed(bytes: &[u8]) -> bool {
    bytes.first() == Some(&MARK)
}

/// The name of a start, which says nothing of its key.
pub(crate) fn boot_id(key: &BootKey) -> Uuid {
    let hash = blake3::derive_key("crowdcloud fabric 1: the name of a node's start", &key.0);
    let (id, _) = hash.split_at(16);
    Uuid::from_slice(id).unwrap_or_default()
}

/// A frame that only the holder of the key can read; empty, and so nothing, where the cipher cannot be had.
pub(crate) fn seal(key: &BootKey, frame: &Encoded) -> Encoded {
    let salt: [u8; SALT_BYTES] = rand::random();
    let size = frame.start.len() + frame.body.len();
    let mut bytes = BytesMut::with_capacity(1 + SALT_BYTES + size + AES_256_GCM.tag_len());
    bytes.put_slice(&frame.start);
    bytes.put_slice(&frame.body);
    let sealed = cipher(key, &salt).and_then(|cipher| {
        let tag = cipher.seal_in_place_separate_tag(once(), Aad::empty(), &mut bytes).ok()?;
        let mut sealed = BytesMut::with_capacity(1 + SALT_BYTES + size + tag.as_ref().len());
        sealed.put_u8(MARK);
        sealed.put_slice(&salt);
        sealed.put_slice(&bytes);
        sealed.put_slice(tag.as_ref());
        Some(sealed.freeze())
    });
    Encoded { start: sealed.unwrap_or_default(), body: Bytes::new() }
}

/// What was sealed with this key.
pub(crate) fn open(key: &BootKey, sealed: &[u8]) -> Option<Bytes> {
    let salt: [u8; SALT_BYTES] = sealed.get(1..=SALT_BYTES)?.try_into().ok()?;
    let mut bytes = sealed.get(1 + SALT_BYTES..)?.to_vec();
    let size = cipher(key, &salt)?.open_in_place(once(), Aad::empty(), &mut bytes).ok()?.len();
    bytes.truncate(size);
    Some(bytes.into())
}

fn cipher(key: &BootKey, salt: &[u8; SALT_BYTES]) -> Option<LessSafeKey> {
    let of_frame = blake3::keyed_hash(&key.0, salt);
    Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, of_frame.as_bytes()).ok()?))
}

/// The key is of this frame alone.
fn once() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a10_a_sealed_frame_is_for_the_holder_of_its_key() {
        let (key, other) = (BootKey([1; 32]), BootKey([2; 32]));
        let frame = Encoded { start: Bytes::from_static(b"\x01head"), body: Bytes::from_static(b"the caller's body") };
        let sealed = seal(&key, &frame).start;
        assert!(is_sealed(&sealed) && !is_sealed(&frame.start));
        assert!(!sealed.windows(4).any(|window| window == b"body"));
        assert_eq!(open(&key, &sealed).unwrap(), b"\x01headthe caller's body"[..]);
        assert_ne!(seal(&key, &frame).start, sealed, "never the same twice");
        assert_eq!(open(&other, &sealed), None);
        for at in 1..sealed.len() {
            let mut changed = sealed.to_vec();
            changed[at] ^= 1;
            assert_eq!(open(&key, &changed), None);
            assert_eq!(open(&key, &sealed[..at]), None);
        }
        assert_ne!(boot_id(&key), boot_id(&other));
    }
}
