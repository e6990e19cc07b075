//! Bodies of test calls travel as base64 in JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes as base64.
pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Base64 as bytes; nothing where it is broken.
pub(crate) fn decode(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap_or_default()
}
