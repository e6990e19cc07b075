//! What made a run, and on whose behalf: usage is told by both, beside what ran.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{KeyId, UserId};
use crate::names::Name;
use crate::route::Principal;
use crate::units::{ParseUnitError, parse_error};

/// What made a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunSource {
    /// A request to the function's URL.
    Call,
    /// A test call of the portal.
    Test,
    /// A job that somebody submitted.
    Job,
    /// A job of a trigger, at its time.
    Schedule,
    /// A job of a trigger, for a message of a queue.
    Queue,
}

impl RunSource {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Test => "test",
            Self::Job => "job",
            Self::Schedule => "schedule",
            Self::Queue => "queue",
        }
    }
}

impl fmt::Display for RunSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// On whose behalf a run was made. Written as `public`, `key_...`, `user_...` or `trigger:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunPrincipal {
    /// Anybody: the function is public, and nobody was asked for a credential.
    Public,
    /// The holder of an API key.
    Key(KeyId),
    /// A user who was logged in.
    User(UserId),
    /// A trigger of the account.
    Trigger(Name),
}

const PUBLIC: &str = "public";
const TRIGGER: &str = "trigger:";

impl fmt::Display for RunPrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str(PUBLIC),
            Self::Key(key) => key.fmt(f),
            Self::User(user) => user.fmt(f),
            Self::Trigger(name) => write!(f, "{TRIGGER}{name}"),
        }
    }
}

impl FromStr for RunPrincipal {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let wrong = || parse_error(text, "`public`, a key, a user or a trigger");
        if text == PUBLIC {
            return Ok(Self::Public);
        }
        if let Some(name) = text.strip_prefix(TRIGGER) {
            return name.parse().map(Self::Trigger).map_err(|_| wrong());
        }
        let key = text.parse().map(Self::Key).ok();
        key.or_else(|| text.parse().map(Self::User).ok()).ok_or_else(wrong)
    }
}

impl From<&Principal> for RunPrincipal {
    fn from(principal: &Principal) -> Self {
        match principal {
            Principal::Key { key } => Self::Key(*key),
            Principal::Session { user, .. } => Self::User(*user),
        }
    }
}

impl Serialize for RunPrincipal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunPrincipal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for RunPrincipal {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        crate::units::string_schema("`public`, `key_...`, `user_...` or `trigger:NAME`")
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for RunPrincipal {}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn principals_are_read_as_they_are_written() {
        let (key, user) = (KeyId::from_uuid(Uuid::from_u128(1)), UserId::from_uuid(Uuid::from_u128(2)));
        let trigger = RunPrincipal::Trigger("nightly".parse().unwrap());
        for principal in [RunPrincipal::Public, RunPrincipal::Key(key), RunPrincipal::User(user), trigger] {
            assert_eq!(principal.to_string().parse(), Ok(principal));
        }
        for wrong in ["", "everybody", "trigger:", "trigger:A", "node_00000000000000000000000000000001"] {
            assert!(wrong.parse::<RunPrincipal>().is_err(), "{wrong}");
        }
    }
}
