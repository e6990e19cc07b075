//! Reads JSON bodies: what is no JSON is told with its position, what is no allowed value with its field.

mod strict;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_path_to_error::Segment;

use crate::error::{Code, Problem};
use crate::field::Field;
use crate::wire;
use strict::Strict;

/// So much is said of what is wrong with a value.
const WHY_CHARS_MAX: usize = 300;

/// Reads a body.
///
/// # Errors
/// `invalid_request` (400) with the position where it is no JSON; `invalid_field` (422) with the field where a value is
/// of the wrong type, out of range, unknown, missing, or there twice. An array is no object, whatever stands in it.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // The grammar first: a number such as 1e309 is JSON, though no type here can hold it, and NaN is not.
    let grammar = std::str::from_utf8(bytes).map_err(|error| {
        no_json(format!("The body is not UTF-8 from byte {} on.", error.valid_up_to()), Field::body())
    })?;
    let mut deserializer = serde_json::Deserializer::from_str(grammar);
    let (mut track, mut unknown) = (serde_path_to_error::Track::new(), None);
    let tracked = serde_path_to_error::Deserializer::new(Strict(&mut deserializer), &mut track);
    let read = serde_ignored::deserialize(tracked, |path| {
        let name = path.to_string();
        if wire::is_critical(&name) {
            unknown.get_or_insert(name);
        }
    });
    let read = read.map_err(|error| serde_path_to_error::Error::new(track.path(), error));
    if let Err(error) = serde_json::from_str::<IgnoredAny>(grammar) {
        let field = match &read {
            // Where the typed reading broke off at the same place, it knows in which value that was.
            Err(typed) if at(typed.inner()) == at(&error) => path(typed),
            _ => Field::body(),
        };
        return Err(no_json(format!("The body is not JSON: {error}."), field));
    }
    if let Some(name) = unknown {
        let detail = format!("`{name}` must be understood, and this software does not know it.");
        return Err(Problem::of(Code::NotUnderstood, name, detail));
    }
    read.map_err(|error| {
        // It quotes the value that is wrong, which may be long.
        let why: String = error.inner().to_string().chars().take(WHY_CHARS_MAX).collect();
        // Parts that are read by themselves tell so that a field of theirs is not understood.
        let code = if wire::tells_unknown(&why) { Code::NotUnderstood } else { Code::InvalidField };
        Problem::of(code, path(&error), format!("The body: {why}."))
    })
}

/// Whether a `Content-Type` says that the body is JSON: `application/json`, or a type that is written in it
/// (`application/problem+json`). What else a page of another site can send without asking is never read as JSON.
#[must_use]
pub fn is_json(content_type: &[u8]) -> bool {
    let essence = content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let essence = essence.to_ascii_lowercase();
    let token = |part: &[u8]| {
        let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(byte);
        !part.is_empty() && part.iter().all(good)
    };
    let mut parts = essence.splitn(2, |&byte| byte == b'/');
    match (parts.next(), parts.next()) {
        (Some(b"application"), Some(b"json")) => true,
        (Some(kind), Some(subtype)) => token(kind) && token(subtype) && subtype.ends_with(b"+json"),
        _ => false,
    }
}

fn no_json(detail: String, field: Field) -> Problem {
    Problem::of(Code::InvalidRequest, field, detail)
}

fn at(error: &serde_json::Error) -> (usize, usize) {
    (error.line(), error.column())
}

/// The field that an error of serde is about.
#[must_use]
pub fn path<E: std::fmt::Display>(error: &serde_path_to_error::Error<E>) -> Field {
    place(error.path(), &error.inner().to_string())
}

/// The field at this path that a message of serde is about.
///
/// What is missing, or there twice, is an error of the object around it: serde's two messages for that name the member.
#[must_use]
pub fn place(path: &serde_path_to_error::Path, message: &str) -> Field {
    let mut place = Field::body();
    for segment in path {
        place = match segment {
            Segment::Seq { index } => place.index(*index),
            Segment::Map { key } | Segment::Enum { variant: key } => place.key(key),
            // What breaks off where a name should be.
            Segment::Unknown => break,
        };
    }
    let named = |beginning: &str| message.strip_prefix(beginning)?.split('`').next();
    let member = named("missing field `").or_else(|| named("duplicate field `"));
    member.map_or_else(|| place.clone(), |member| place.key(member))
}
