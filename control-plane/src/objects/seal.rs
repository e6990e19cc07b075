//! A master key (`keys`): under it blobs' own keys are sealed in the index, so that neither a copy of the database nor of the
//! store alone can be read.

use protocol::{BlobId, BlobKey};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// Seals blobs' keys.
pub(crate) struct MasterKey(LessSafeKey);

impl MasterKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("a key of 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// A random nonce, then the key and its tag.
    pub(super) fn seal(&self, id: BlobId, key: &BlobKey) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut sealed = key.0.to_vec();
        let associated = Aad::from(id.to_string());
        let nonce_of_this = Nonce::assume_unique_for_key(nonce);
        self.0.seal_in_place_append_tag(nonce_of_this, associated, &mut sealed).expect("32 bytes can be sealed");
        [&nonce[..], &sealed].concat()
    }

    /// None where it was sealed under another key, for another blob, or is damaged.
    pub(super) fn open(&self, id: BlobId, sealed: &[u8]) -> Option<BlobKey> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut opened = sealed.to_vec();
        let associated = Aad::from(id.to_string());
        let key = self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), associated, &mut opened).ok()?;
        <[u8; 32]>::try_from(&*key).ok().map(BlobKey)
    }
}

#[cfg(test)]
mod tests {
    use protocol::Epoch;

    use super::*;

    #[test]
    fn a_sealed_key_opens_for_its_own_blob_alone() {
        let (master, other) = (MasterKey::new(&[1; 32]), MasterKey::new(&[2; 32]));
        let (id, another) = (BlobId::new(Epoch(3), [4; 12]), BlobId::new(Epoch(3), [5; 12]));
        let key = BlobKey([6; 32]);
        let sealed = master.seal(id, &key);
        assert_eq!(sealed.len(), NONCE_LEN + 32 + 16);
        assert_ne!(sealed, master.seal(id, &key), "each time another nonce");
        assert_eq!(master.open(id, &sealed), Some(key));
        assert_eq!(master.open(another, &sealed), None);
        assert_eq!(other.open(id, &sealed), None);
        let mut damaged = sealed.clone();
        damaged[20] ^= 1;
        assert_eq!(master.open(id, &damaged), None);
        assert_eq!(master.open(id, &sealed[..8]), None);
    }
}
