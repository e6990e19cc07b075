//! The token with which a machine joins: `ccl1_` and base64url of what the machine needs to know, and to prove.
//!
//! ```text
//! 0 length of the origin  1.. the origin  32 the platform's root key  16 the token's id  32 an Ed25519 seed  4 checksum
//! ```
//! It pins the platform's key, and no certificate. The platform keeps the public half of the seed alone.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::PublicKey;
use crate::ids::TokenId;

const PREFIX: &str = "ccl1_";
const CHECKSUM_BYTES: usize = 4;
const FIXED_BYTES: usize = 1 + 32 + 16 + 32 + CHECKSUM_BYTES;
/// Longer text is no token.
const TEXT_LENGTH_MAX: usize = PREFIX.len() + ((FIXED_BYTES + 255) * 4).div_ceil(3);

crate::secret::secret! {
    /// The seed of a token's key: who has it may join once.
    TokenSeed;
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Where the platform is: `https://host`, `http://127.0.0.1:8080`.
    pub origin: String,
    /// The key that signs what the platform says of itself.
    pub root: PublicKey,
    /// Which token.
    pub id: TokenId,
    /// What proves it.
    pub seed: TokenSeed,
}

/// Why a text is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseTokenError {
    /// It begins otherwise.
    #[error("a token begins with `ccl1_`")]
    Prefix,
    /// A part of it is missing, or was changed.
    #[error("the token is not whole: a part of it is missing, or was changed")]
    Damaged,
    /// The origin in it is not one.
    #[error("the token names no platform: its address does not begin with http:// or https://")]
    Origin,
}

#[cfg(feature = "signing")]
impl TokenSeed {
    /// The half that the platform keeps.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(ed25519_dalek::SigningKey::from_bytes(&self.0).verifying_key().to_bytes())
    }

    /// Signs the text of a statement.
    #[must_use]
    pub fn sign<T: crate::signed::Statement>(&self, text: &str) -> super::Signature {
        crate::signed::sign::<T>(text, &ed25519_dalek::SigningKey::from_bytes(&self.0))
    }
}

/// Whether a text can be an origin in a token.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic()))
        && u8::try_from(text.len()).is_ok()
}

impl JoinToken {
    /// A token, where the origin is one.
    ///
    /// # Errors
    /// It is no origin, or too long.
    pub fn new(origin: String, root: PublicKey, id: TokenId, seed: TokenSeed) -> Result<Self, ParseTokenError> {
        if is_origin(&origin) { Ok(Self { origin, root, id, seed }) } else { Err(ParseTokenError::Origin) }
    }
}

/// Whether nobody is in between: the origin is this very machine.
#[must_use]
pub fn is_of_this_machine(origin: &str) -> bool {
    let host = origin.split_once("://").map_or("", |(_, host)| host);
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(address, _)| address),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = blake3::hash(bytes);
    let [a, b, c, d, ..] = *hash.as_bytes();
    [a, b, c, d]
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![u8::try_from(self.origin.len()).map_err(|_| fmt::Error)?];
        bytes.extend_from_slice(self.origin.as_bytes());
        bytes.extend_from_slice(&self.root.0);
        bytes.extend_from_slice(self.id.uuid().as_bytes());
        bytes.extend_from_slice(&self.seed.0);
        bytes.extend_from_slice(&checksum(&bytes));
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for JoinToken {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, ParseTokenError> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(ParseTokenError::Prefix)?;
        if text.len() > TEXT_LENGTH_MAX {
            return Err(ParseTokenError::Damaged);
        }
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| ParseTokenError::Damaged)?;
        let (whole, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(ParseTokenError::Damaged)?;
        if checksum(whole) != *sum {
            return Err(ParseTokenError::Damaged);
        }
        let parts = || {
            let (length, rest) = whole.split_first()?;
            let (origin, rest) = rest.split_at_checked(usize::from(*length))?;
            let (root, rest) = rest.split_first_chunk::<32>()?;
            let (id, rest) = rest.split_first_chunk::<16>()?;
            let (seed, rest) = rest.split_first_chunk::<32>()?;
            let origin = String::from_utf8(origin.to_vec()).ok()?;
            let id = TokenId::from_uuid(Uuid::from_bytes(*id));
            rest.is_empty().then_some((origin, PublicKey(*root), id, TokenSeed(*seed)))
        };
        let (origin, root, id, seed) = parts().ok_or(ParseTokenError::Damaged)?;
        Self::new(origin, root, id, seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(origin: &str) -> JoinToken {
        let id = TokenId::from_uuid(Uuid::from_u128(7));
        JoinToken::new(origin.to_owned(), PublicKey([1; 32]), id, TokenSeed([2; 32])).unwrap()
    }

    #[test]
    fn a_token_is_read_back() {
        let token = token("https://cloud.example.org");
        let text = token.to_string();
        assert!(text.starts_with("ccl1_") && text.len() < TEXT_LENGTH_MAX, "{text}");
        assert_eq!(text.parse::<JoinToken>().unwrap(), token);
        assert_eq!(format!(" {text}\n").parse::<JoinToken>().unwrap(), token);
        assert!(!format!("{token:?}").contains("2, 2"), "its seed is not shown");
    }

    #[test]
    fn what_was_changed_is_seen() {
        let text = token("http://127.0.0.1:8080").to_string();
        for at in PREFIX.len()..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            // The last letter has bits that mean nothing; those must be zero.
            assert_eq!(changed.parse::<JoinToken>(), Err(ParseTokenError::Damaged), "{at}");
            assert_eq!(text[..at].parse::<JoinToken>(), Err(ParseTokenError::Damaged), "{at}");
        }
        assert_eq!("cck_abc".parse::<JoinToken>(), Err(ParseTokenError::Prefix));
        assert_eq!(format!("ccl1_{}", "A".repeat(10_000)).parse::<JoinToken>(), Err(ParseTokenError::Damaged));
        let seed = || TokenSeed([2; 32]);
        for origin in ["", "ftp://x", "http://", "http://a b", &format!("http://{}", "x".repeat(300))] {
            let made = JoinToken::new(origin.to_owned(), PublicKey([1; 32]), TokenId::from_uuid(Uuid::nil()), seed());
            assert_eq!(made, Err(ParseTokenError::Origin), "{origin}");
        }
    }

    #[test]
    fn this_machine_is_known_by_its_address() {
        for near in ["http://127.0.0.1:8080", "http://localhost", "https://[::1]:9000", "http://127.9.9.9"] {
            assert!(is_of_this_machine(near), "{near}");
        }
        for far in ["http://10.0.0.1:8080", "https://localhost.example.org", "https://cloud.example.org:443"] {
            assert!(!is_of_this_machine(far), "{far}");
        }
    }
}
