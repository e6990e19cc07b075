//! The value of `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a string of structured fields (RFC 9651), or
//! the same key without its quotes, as most programs send it. Both are one key.

use std::fmt;

use http::HeaderMap;

use crate::error::{Code, Problem};

/// The header.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The header, as people write it.
const NAME: &str = "Idempotency-Key";
/// The longest key.
const KEY_BYTES_MAX: usize = 200;

/// A key: 1 to 200 printable characters of ASCII.
#[derive(Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// Why a request's `Idempotency-Key` is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdempotencyKeyError {
    /// Which of them counts would be a guess.
    #[error("the request has several Idempotency-Key headers; send one")]
    Several,
    /// Empty, or too long.
    #[error("an Idempotency-Key has 1 to {} bytes", KEY_BYTES_MAX)]
    Length,
    /// Something else than visible ASCII, outside of quotes.
    #[error("an Idempotency-Key has visible ASCII characters alone; write one with blanks in double quotes")]
    Characters,
    /// It begins with a quote, and is no quoted string.
    #[error(
        "an Idempotency-Key that begins with a double quote ends with one, has printable ASCII characters in between, \
         and a backslash before each quote and backslash of its own"
    )]
    Quotes,
}

impl From<IdempotencyKeyError> for Problem {
    fn from(error: IdempotencyKeyError) -> Self {
        Self::of(Code::InvalidRequest, NAME, error.to_string())
    }
}

impl IdempotencyKey {
    /// The key of a request; none where it has none.
    ///
    /// # Errors
    /// There are several, or it is none.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, IdempotencyKeyError> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(IdempotencyKeyError::Several);
        }
        Self::read(value.as_bytes()).map(Some)
    }

    fn read(value: &[u8]) -> Result<Self, IdempotencyKeyError> {
        let value = value.trim_ascii();
        let key = match value.strip_prefix(b"\"") {
            Some(rest) => unquoted(rest).ok_or(IdempotencyKeyError::Quotes)?,
            None if value.iter().all(u8::is_ascii_graphic) => String::from_utf8_lossy(value).into_owned(),
            None => return Err(IdempotencyKeyError::Characters),
        };
        match key.len() {
            1..=KEY_BYTES_MAX => Ok(Self(key)),
            _ => Err(IdempotencyKeyError::Length),
        }
    }

    /// The key itself, without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// As a header has it: without quotes, where it can be.
impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.starts_with('"') && self.0.bytes().all(|byte| byte.is_ascii_graphic()) {
            return f.write_str(&self.0);
        }
        write!(f, "\"{}\"", self.0.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// Whoever has a key sees the answers that were kept under it: it is in no log.
impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey(..)")
    }
}

/// What stands before the closing quote, which is the last character.
fn unquoted(rest: &[u8]) -> Option<String> {
    let mut key = String::new();
    let mut bytes = rest.iter().copied();
    loop {
        match bytes.next()? {
            b'"' => return bytes.next().is_none().then_some(key),
            b'\\' => key.push(char::from(bytes.next().filter(|byte| matches!(byte, b'"' | b'\\'))?)),
            byte @ 0x20..=0x7e => key.push(char::from(byte)),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(values: &[&str]) -> Result<Option<String>, IdempotencyKeyError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        IdempotencyKey::of(&headers).map(|key| key.map(|key| key.as_str().to_owned()))
    }

    #[test]
    fn a_key_is_the_same_with_quotes_and_without() {
        let long = "x".repeat(KEY_BYTES_MAX);
        let quoted = format!("\"{long}\"");
        for (value, key) in [
            ("k", "k"),
            ("\"k\"", "k"),
            (" k ", "k"),
            ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            ("\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            ("\"a b\"", "a b"),
            ("\"a\\\"b\\\\c\"", "a\"b\\c"),
            ("order,5;x=\"1\"", "order,5;x=\"1\""),
            (long.as_str(), long.as_str()),
            (quoted.as_str(), long.as_str()),
        ] {
            assert_eq!(of(&[value]), Ok(Some(key.to_owned())), "{value}");
            let sent = IdempotencyKey::read(value.as_bytes()).unwrap().to_string();
            assert_eq!(of(&[sent.as_str()]), Ok(Some(key.to_owned())), "{value} is handed on as {sent}");
        }
        assert_eq!(of(&[]), Ok(None));
    }

    #[test]
    fn what_could_be_two_keys_is_none() {
        use IdempotencyKeyError::{Characters, Length, Quotes, Several};
        let long = "x".repeat(KEY_BYTES_MAX + 1);
        for (value, error) in [
            ("", Length),
            ("\"\"", Length),
            (long.as_str(), Length),
            ("a b", Characters),
            ("a, b", Characters),
            ("a\tb", Characters),
            ("gr\u{fc}n", Characters),
            ("\"k", Quotes),
            ("\"", Quotes),
            ("\"a\", \"b\"", Quotes),
            ("\"k\";p=1", Quotes),
            ("\"a\\b\"", Quotes),
            ("\"gr\u{fc}n\"", Quotes),
        ] {
            assert_eq!(of(&[value]), Err(error), "{value:?}");
        }
        assert_eq!(of(&["k", "k"]), Err(Several));
        assert_eq!(of(&["", "k"]), Err(Several));
        let problem = Problem::from(Several);
        assert_eq!((problem.status, problem.field.unwrap().as_str()), (400, "Idempotency-Key"));
    }
}
