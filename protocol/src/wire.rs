//! Reading what another part wrote, which may be of a later release.
//!
//! A field says by its name whether it must be understood: `!gpus` must, `gpus` need not. Who does not know a field passes
//! it over, unless its name begins with `!`: then the whole message is refused, with the code `not_understood`, because
//! to go on without it would be wrong. So a later release may add what earlier ones can do without under a plain name, and
//! what they must not ignore (`#[serde(rename = "!gpus")]`) under a marked one, and no part is stranded. What users
//! write, the manifest and the API's requests, is strict instead: there an unknown key is a mistake.
//!
//! All that crosses the wire or comes out of a bucket is read here: limits, tickets, routes, reports, receipts.

use std::fmt;
use std::ops::Deref;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::error::{Code, Problem};

/// What the name of a field begins with that must be understood.
pub const CRITICAL: char = '!';
/// How an error within a field says that it is about such a one.
const NOT_KNOWN: &str = "must be understood, and this software does not know it";

/// Why a message cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It is not JSON, or not this message.
    #[error("{why}")]
    Malformed {
        /// What is wrong, and where.
        why: String,
        /// It is JSON, but not this message.
        data: bool,
    },
    /// A later release has written something that must be understood.
    #[error("{0}")]
    NotUnderstood(String),
}

/// Whether an error's text is about a field that must be understood.
pub(crate) fn tells_unknown(error: &str) -> bool {
    error.contains(NOT_KNOWN)
}

impl WireError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Malformed { data: true, .. } => Code::InvalidField,
            Self::Malformed { data: false, .. } => Code::InvalidRequest,
            Self::NotUnderstood(_) => Code::NotUnderstood,
        }
    }
}

impl From<WireError> for Problem {
    fn from(error: WireError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<serde_json::Error> for WireError {
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        match tells_unknown(&text) {
            true => Self::NotUnderstood(text),
            false => Self::Malformed { why: text, data: error.is_data() },
        }
    }
}

/// Reads a message.
///
/// # Errors
/// When it is not JSON of this message, or has an unknown field that must be understood.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = understood(&mut json)?;
    json.end()?;
    Ok(value)
}

/// Reads a message that was taken apart already.
///
/// # Errors
/// As [`read`].
pub fn value<T: DeserializeOwned>(json: serde_json::Value) -> Result<T, WireError> {
    understood(json)
}

/// Whether what stands at this path must be understood.
pub(crate) fn is_critical(path: &str) -> bool {
    path.rsplit('.').next().is_some_and(|last| last.starts_with(CRITICAL))
}

fn understood<'de, T, D>(deserializer: D) -> Result<T, WireError>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
    WireError: From<D::Error>,
{
    let mut unknown = None;
    let read = serde_ignored::deserialize(deserializer, |path| {
        let name = path.to_string();
        if is_critical(&name) {
            unknown.get_or_insert(name);
        }
    });
    match unknown {
        Some(name) => Err(WireError::NotUnderstood(format!("`{name}` {NOT_KNOWN}"))),
        None => Ok(read?),
    }
}

/// For a field that one can do without: what a later release wrote there and this one does not know is as if it had not
/// been written, but what must be understood within it must be.
pub fn optional<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let json = Option::<serde_json::Value>::deserialize(deserializer)?;
    match json.map(value) {
        Some(Err(error @ WireError::NotUnderstood(_))) => Err(D::Error::custom(error)),
        Some(Err(WireError::Malformed { .. })) | None => Ok(None),
        Some(Ok(value)) => Ok(Some(value)),
    }
}

/// For a list whose unknown elements one can do without.
pub(crate) fn known<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let all = Vec::<serde_json::Value>::deserialize(deserializer)?;
    let known = all.into_iter().filter_map(|json| match value(json) {
        Err(error @ WireError::NotUnderstood(_)) => Some(Err(D::Error::custom(error))),
        Err(WireError::Malformed { .. }) => None,
        Ok(value) => Some(Ok(value)),
    });
    known.collect()
}

/// For a code: one that a later release has added still says that something went wrong.
pub fn code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Code>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.map(|text| Code::ALL.iter().copied().find(|code| code.as_str() == text).unwrap_or(Code::NodeFailed)))
}

/// A value and the very text that it was read from: what is signed or hashed is the text, with all that a later release
/// has put in there.
pub struct Written<T> {
    text: Box<RawValue>,
    value: T,
}

impl<T: Serialize> Written<T> {
    /// Writes it.
    ///
    /// # Errors
    /// When it has no form in JSON; values of this crate have.
    pub fn new(value: T) -> Result<Self, serde_json::Error> {
        Ok(Self { text: to_raw_value(&value)?, value })
    }
}

impl<T> Written<T> {
    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.text.get()
    }

    /// The value alone.
    #[must_use]
    pub fn into_value(self) -> T {
        self.value
    }
}

impl<T> Deref for Written<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Clone> Clone for Written<T> {
    fn clone(&self) -> Self {
        Self { text: self.text.clone(), value: self.value.clone() }
    }
}

/// By what they say.
impl<T: PartialEq> PartialEq for Written<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Written<T> {}

impl<T: fmt::Debug> fmt::Debug for Written<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T> Serialize for Written<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text.serialize(serializer)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let value = read(text.get().as_bytes()).map_err(D::Error::custom)?;
        Ok(Self { text, value })
    }
}
