//! A node's keys. The node makes them and never sends their private halves; the platform knows and signs the public ones.
//!
//! | key | is | for |
//! | --- | --- | --- |
//! | NATS | a user's nkey | connects: the platform signs a JWT for it |
//! | receipt | Ed25519 | signs checkpoints |
//! | ticket | X25519 | what is sealed for the node alone |
//! | code | 32 secret bytes | marks the machine code that this node made; nobody else has any use for it |

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::units::Digest;

/// Why a text is not a key or a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {bytes} bytes in base64url")]
pub struct ParseKeyError {
    /// How many it should have been.
    bytes: usize,
}

macro_rules! fixed_bytes {
    ($($(#[$doc:meta])* $name:ident($size:literal): $description:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(pub [u8; $size]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseKeyError;

            fn from_str(text: &str) -> Result<Self, ParseKeyError> {
                let error = ParseKeyError { bytes: $size };
                let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| error)?;
                bytes.try_into().map(Self).map_err(|_| error)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                crate::units::string_schema($description)
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}
    )*};
}

fixed_bytes! {
    /// A public key of 32 bytes: base64url in JSON.
    PublicKey(32): "32 bytes, base64url";
    /// Random bytes that make a request another one than any before: base64url in JSON.
    Nonce(32): "32 random bytes, base64url";
    /// An Ed25519 signature: base64url in JSON.
    Signature(64): "an Ed25519 signature of 64 bytes, base64url";
}

impl PublicKey {
    /// So many bytes of its digest are compared by people: no machine finds another key with the same ones.
    const FINGERPRINT_BYTES: usize = 10;

    /// What people compare, on the machine and in the portal: `3f2a-91c0-77de-0b42-aa10`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = Digest::of(&self.0);
        let pairs = digest.0[..Self::FINGERPRINT_BYTES].chunks(2);
        let groups: Vec<String> = pairs.map(|pair| pair.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
        groups.join("-")
    }
}

/// The public halves of a node's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PublicKeys {
    /// The NATS user, as nkeys are written (`U...`).
    pub nats: String,
    /// Ed25519: signs checkpoints.
    pub receipt: PublicKey,
    /// X25519: what is for the node alone is sealed with it.
    pub ticket: PublicKey,
}
