//! Which input a problem is about, so that pages and programs find it without reading English.
//!
//! A value of a JSON body has the path to it, with dots and indexes: `limits.cpus`, `shares[0].weight`; `$` is the whole
//! body. A query parameter, a parameter of the path and a header have their name: `cursor`, `If-Match`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Problem};

/// The longest path that is told; names in it may be the sender's.
const CHARS_MAX: usize = 200;

/// An input: a path in a body, or a parameter's or a header's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Field(String);

impl Field {
    /// The whole body.
    pub const BODY: &'static str = "$";

    /// The whole body.
    #[must_use]
    pub fn body() -> Self {
        Self(Self::BODY.to_owned())
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The member of this name in it.
    #[must_use]
    pub fn key(&self, name: &str) -> Self {
        if self.0 == Self::BODY { Self::from(name) } else { Self::from(format!("{self}.{name}")) }
    }

    /// The element at this index of it.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self::from(format!("{self}[{index}]"))
    }

    /// The same input, where what it is in is itself a member of something larger.
    #[must_use]
    pub fn under(&self, parent: &Self) -> Self {
        match self.0.as_str() {
            Self::BODY => parent.clone(),
            path => parent.key(path),
        }
    }

    /// The same input within `parent`; itself where it is not in there.
    #[must_use]
    pub fn below(&self, parent: &str) -> Self {
        self.0.strip_prefix(parent).and_then(|rest| rest.strip_prefix('.')).map_or_else(|| self.clone(), Self::from)
    }

    /// Whether it is what this path leads to, or a part of that.
    #[must_use]
    pub fn is_in(&self, path: &str) -> bool {
        self.0.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }
}

impl From<&str> for Field {
    fn from(path: &str) -> Self {
        Self(path.chars().take(CHARS_MAX).collect())
    }
}

impl From<String> for Field {
    fn from(path: String) -> Self {
        Self::from(path.as_str())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A value that is not allowed, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Invalid {
    /// Where it stands.
    pub field: Field,
    /// What is wrong with it, without a full stop.
    pub why: String,
}

impl Invalid {
    /// This field, and what is wrong with it.
    #[must_use]
    pub fn new(field: impl Into<Field>, why: impl Into<String>) -> Self {
        Self { field: field.into(), why: why.into() }
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::of(Code::InvalidField, invalid.field, format!("{}.", invalid.why))
    }
}
