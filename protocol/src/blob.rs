//! Blobs: what the store keeps. Each upload is one, with a name that says which writer made it and a key of its own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroize as _;

use crate::units::{ByteSize, Digest, ParseUnitError, parse_error, serde_as_text};

/// A time in which one writer puts blobs, counted by the database: of two, the later one has the higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one blob: its writer's epoch, then 12 random bytes. Written as 32 hex digits, whose order is that of epochs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId([u8; 16]);

impl BlobId {
    /// The id of this epoch with these random bytes.
    #[must_use]
    pub fn new(epoch: Epoch, random: [u8; 12]) -> Self {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&epoch.0.to_be_bytes());
        bytes[4..].copy_from_slice(&random);
        Self(bytes)
    }

    /// In which epoch it was written.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        let [a, b, c, d, ..] = self.0;
        Epoch(u32::from_be_bytes([a, b, c, d]))
    }

    /// What no other id of its epoch has.
    #[must_use]
    pub fn random(&self) -> [u8; 12] {
        let [_, _, _, _, random @ ..] = self.0;
        random
    }

    /// All of it: the epoch, big endian, then the random bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BlobId {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let wrong = || parse_error(text, "a blob's id of 32 lower-case hex digits");
        if text.len() != 32 || !text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        u128::from_str_radix(text, 16).map(|number| Self(number.to_be_bytes())).map_err(|_| wrong())
    }
}

serde_as_text!(BlobId: "blob");

crate::secret::secret! {
    /// What one blob is sealed with. Nothing else is, so that forgetting it erases the blob. Its memory is cleared.
    BlobKey;
}

impl Drop for BlobKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// All that a reader of a blob needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// Its name.
    pub id: BlobId,
    /// Its key.
    pub key: BlobKey,
    /// Bytes of the plaintext.
    pub size: ByteSize,
    /// BLAKE3 of the plaintext.
    pub digest: Digest,
}

#[cfg(feature = "openapi")]
mod schemas {
    use super::BlobId;
    use utoipa::openapi::{RefOr, schema::Schema};

    impl utoipa::PartialSchema for BlobId {
        fn schema() -> RefOr<Schema> {
            crate::units::string_schema("a blob's id, 32 hex digits")
        }
    }
    impl utoipa::ToSchema for BlobId {}
}
