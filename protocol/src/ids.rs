//! Typed ids: a prefix that says what it names, and a UUIDv7 that sorts by time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Why a text is not an id of the wanted type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an id that starts with `{prefix}_`")]
pub struct ParseIdError {
    /// The prefix that the id should have had.
    pub prefix: &'static str,
}

macro_rules! typed_id {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// What stands before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new id, of now.
            #[cfg(feature = "mint")]
            #[must_use]
            #[allow(clippy::new_without_default, reason = "a default id would be a trap")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id with this UUID.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID alone, as the database keeps it.
            #[must_use]
            pub const fn uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.as_simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let error = ParseIdError { prefix: $prefix };
                let rest = text.strip_prefix(concat!($prefix, "_")).ok_or(error.clone())?;
                if rest.len() != 32 || rest.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(error);
                }
                Uuid::try_parse(rest).map(Self).map_err(|_| error)
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
                crate::units::string_schema(concat!("`", $prefix, "_` and a UUIDv7 in hex"))
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}
    )*};
}

typed_id! {
    /// A person who logs in.
    UserId = "user";
    /// What owns functions, buckets, nodes, keys and credits.
    AccountId = "acct";
    /// A named thing of an account that can be invoked.
    FunctionId = "fn";
    /// One immutable deployment of a function.
    VersionId = "ver";
    /// An API key.
    KeyId = "key";
    /// A log-in of a user.
    SessionId = "sess";
    /// An invitation to join an account.
    InvitationId = "inv";
    /// A lender's machine.
    NodeId = "node";
    /// A disk of an operator's node, for blobs.
    DiskId = "disk";
    /// What a machine joins with.
    TokenId = "token";
    /// One execution.
    RunId = "run";
    /// One durable, asynchronous run.
    JobId = "job";
    /// A message of a queue.
    MessageId = "msg";
    /// Somebody's right to a message, for a while.
    LeaseId = "lease";
    /// One running copy of a gateway or a control plane.
    InstanceId = "inst";
    /// One start of something that gives tickets: a gateway or a control plane.
    EpochId = "epoch";
    /// What a platform keeps its bytes in, wherever that is.
    StoreId = "store";
}
