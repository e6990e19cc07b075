//! Names that people choose, and references to versions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names that would collide with hosts, paths or words of ours.
const RESERVED: [&str; 24] = [
    "admin",
    "api",
    "app",
    "assets",
    "crowdcloud",
    "docs",
    "f",
    "health",
    "healthz",
    "internal",
    "invite",
    "login",
    "logout",
    "me",
    "metrics",
    "new",
    "operator",
    "portal",
    "readyz",
    "s3",
    "signup",
    "static",
    "status",
    "www",
];

/// Why a text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Shorter than 2 or longer than 30.
    #[error("a name has 2 to 30 characters")]
    Length,
    /// Something else than a-z, 0-9 and single dashes inside.
    #[error("a name has only a-z, 0-9 and single dashes between them")]
    Characters,
    /// A word that the platform keeps for itself.
    #[error("this name is reserved")]
    Reserved,
}

/// The name of an account, a function or an alias: `[a-z0-9-]`, 2 to 30 long, no `--`, not reserved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(String);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(2..=30).contains(&text.len()) {
            Err(NameError::Length)
        } else if !text.bytes().all(allowed) || text.contains("--") || text.starts_with('-') || text.ends_with('-') {
            Err(NameError::Characters)
        } else if RESERVED.contains(&text) {
            Err(NameError::Reserved)
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What stands after `@` in a function's URL: a version's number (`v3`) or an alias (`canary`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// `v3`
    Version(u32),
    /// `live`, `canary`
    Alias(Name),
}

impl Reference {
    /// The alias that a URL without `@` means.
    pub const LIVE: &'static str = "live";

    /// Whether it means the same as none.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Alias(name) if name.as_str() == Self::LIVE)
    }
}

impl FromStr for Reference {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let number = text.strip_prefix('v').filter(|rest| !rest.starts_with('0')).and_then(|rest| rest.parse().ok());
        match number {
            Some(number) => Ok(Self::Version(number)),
            None => text.parse().map(Self::Alias),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(number) => write!(f, "v{number}"),
            Self::Alias(name) => name.fmt(f),
        }
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "openapi")]
mod schemas {
    use super::{Name, Reference};
    use utoipa::openapi::{RefOr, schema::Schema};

    impl utoipa::PartialSchema for Name {
        fn schema() -> RefOr<Schema> {
            crate::units::string_schema("a-z, 0-9 and single dashes, 2 to 30 long")
        }
    }
    impl utoipa::ToSchema for Name {}

    impl utoipa::PartialSchema for Reference {
        fn schema() -> RefOr<Schema> {
            crate::units::string_schema("a version (`v3`) or an alias (`live`)")
        }
    }
    impl utoipa::ToSchema for Reference {}
}
