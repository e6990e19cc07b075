//! A header's value, as HTTP has it: bytes. Most are text, and stand in JSON as such.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// The value of a header. In JSON it is a text where it is UTF-8, else `{"base64": "..."}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct HeaderBytes(Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a header's value is a text")]
enum Written {
    Text(String),
    Base64 { base64: String },
}

impl HeaderBytes {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for HeaderBytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<&str> for HeaderBytes {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

impl From<String> for HeaderBytes {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<HeaderBytes> for Written {
    fn from(value: HeaderBytes) -> Self {
        String::from_utf8(value.0)
            .map_or_else(|error| Self::Base64 { base64: STANDARD.encode(error.as_bytes()) }, Self::Text)
    }
}

impl TryFrom<Written> for HeaderBytes {
    type Error = base64::DecodeError;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match written {
            Written::Text(text) => Ok(Self::from(text)),
            Written::Base64 { base64 } => STANDARD.decode(base64).map(Self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HeaderBytes;

    #[test]
    fn f24_header_values_are_bytes() {
        for (bytes, json) in [
            ("plain".as_bytes(), r#""plain""#),
            ("Gr\u{fc}n".as_bytes(), "\"Gr\u{fc}n\""),
            (b"Gr\xfcn", r#"{"base64":"R3L8bg=="}"#),
        ] {
            let value = HeaderBytes::from(bytes);
            assert_eq!(serde_json::to_string(&value).unwrap(), json);
            assert_eq!(serde_json::from_str::<HeaderBytes>(json).unwrap().as_bytes(), bytes);
        }
        assert!(serde_json::from_str::<HeaderBytes>(r#"{"base64":"!"}"#).is_err());
    }
}
