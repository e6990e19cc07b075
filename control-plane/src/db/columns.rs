//! How the platform's own types stand in a column: ids as 16 bytes, names and digests as text, choices as a
//! word, small structures as JSON. One wrapper, so that entities carry the real types.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::api::{AccountKind, KeptBy, Role, VersionState};
use protocol::job::{HeaderBytes, JobInput, JobState, SubmitJob};
use protocol::node::{Caps, CheckOutcome, LogStream, NodeState, RevisedWish, StoreDisk, TrustLevel};
use protocol::placement::{Explanation, Placement};
use protocol::receipt::{Outcome, RunEnd, Usage};
use protocol::route::{Scope, Share};
use protocol::signed::Signed;
use protocol::trigger::Missed;
use protocol::{
    AccountId, ArtifactForm, Base, BlobId, ByteSize, Code, Digest, DiskId, Epoch, EpochId, Flag, FunctionId,
    InstanceId, InvitationId, JobId, KeyId, Kind, Lane, LaneChoice, LeaseId, Limits, MessageId, Name, NodeId,
    PlacementClass, Problem, RunId, RunPrincipal, RunSource, SessionId, StoreId, Timestamp, TokenId, UserId, VersionId,
};
use sea_orm::sea_query::{self, ArrayType, ColumnType, Nullable, ValueTypeErr};
use sea_orm::{ColIdx, DbErr, IntoActiveValue, QueryResult, TryFromU64, TryGetError, TryGetable, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value that a column keeps in another, plainer form.
#[allow(unreachable_pub, reason = "sea-orm's derives write `pub`, and columns must be as visible")]
pub trait Stored: Sized {
    /// The plain form.
    type Raw: Into<Value> + sea_query::ValueType + Nullable + TryGetable;
    /// To the column.
    fn store(&self) -> Self::Raw;
    /// From the column.
    fn load(raw: Self::Raw) -> Result<Self, String>;
}

/// A [`Stored`] value in an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(unreachable_pub, reason = "as `Stored`")]
pub struct Col<T>(pub T);

impl<T> std::ops::Deref for Col<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> From<T> for Col<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: Stored> From<Col<T>> for Value {
    fn from(value: Col<T>) -> Self {
        value.0.store().into()
    }
}

impl<T: Stored> TryGetable for Col<T> {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        let raw = T::Raw::try_get_by(row, index)?;
        T::load(raw).map(Self).map_err(|error| {
            TryGetError::DbErr(DbErr::TryIntoErr {
                from: "column",
                into: std::any::type_name::<T>(),
                source: Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(error)),
            })
        })
    }
}

impl<T: Stored> sea_query::ValueType for Col<T> {
    fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
        T::load(<T::Raw as sea_query::ValueType>::try_from(value)?).map(Self).map_err(|_| ValueTypeErr)
    }
    fn type_name() -> String {
        std::any::type_name::<T>().to_owned()
    }
    fn array_type() -> ArrayType {
        <T::Raw as sea_query::ValueType>::array_type()
    }
    fn column_type() -> ColumnType {
        <T::Raw as sea_query::ValueType>::column_type()
    }
}

impl<T: Stored> Nullable for Col<T> {
    fn null() -> Value {
        T::Raw::null()
    }
}

impl<T: Stored> IntoActiveValue<Col<T>> for Col<T> {
    fn into_active_value(self) -> sea_orm::ActiveValue<Col<T>> {
        sea_orm::ActiveValue::Set(self)
    }
}

impl<T: Stored> TryFromU64 for Col<T> {
    fn try_from_u64(_: u64) -> Result<Self, DbErr> {
        Err(DbErr::ConvertFromU64(std::any::type_name::<T>()))
    }
}

macro_rules! ids {
    ($($name:ident)*) => {$(
        impl Stored for $name {
            type Raw = Vec<u8>;
            fn store(&self) -> Vec<u8> {
                self.uuid().as_bytes().to_vec()
            }
            fn load(raw: Vec<u8>) -> Result<Self, String> {
                uuid::Uuid::from_slice(&raw).map(Self::from_uuid).map_err(|error| error.to_string())
            }
        }
    )*};
}
ids!(UserId AccountId FunctionId VersionId KeyId SessionId InvitationId NodeId RunId InstanceId JobId MessageId LeaseId);
ids!(EpochId TokenId StoreId DiskId);

macro_rules! texts {
    ($($name:ident)*) => {$(
        impl Stored for $name {
            type Raw = String;
            fn store(&self) -> String {
                self.to_string()
            }
            fn load(raw: String) -> Result<Self, String> {
                raw.parse().map_err(|_| format!("{raw:?} cannot be read"))
            }
        }
    )*};
}
texts!(Name Digest RunPrincipal BlobId);

fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn from_json<T: DeserializeOwned>(raw: &str) -> Result<T, String> {
    serde_json::from_str(raw).map_err(|error| error.to_string())
}

macro_rules! words {
    ($($name:ty),*) => {$(
        impl Stored for $name {
            type Raw = String;
            fn store(&self) -> String {
                to_json(self).trim_matches('"').to_owned()
            }
            fn load(raw: String) -> Result<Self, String> {
                from_json(&format!("\"{raw}\""))
            }
        }
    )*};
}
words!(AccountKind, Role, VersionState, LogStream, Outcome, Code, Kind, Lane, LaneChoice, PlacementClass);
words!(ArtifactForm, Base, CheckOutcome, Flag, JobState, Missed, NodeState, RunSource, TrustLevel);

macro_rules! documents {
    ($($name:ty),*) => {$(
        impl Stored for $name {
            type Raw = String;
            fn store(&self) -> String {
                to_json(self)
            }
            fn load(raw: String) -> Result<Self, String> {
                from_json(&raw)
            }
        }
    )*};
}
documents!(Explanation, Limits, Problem, RunEnd, Usage, Vec<Scope>, Vec<Share>, Vec<String>, Vec<Lane>, BTreeMap<String, String>);
documents!(
    Caps,
    JobInput,
    KeptBy,
    Placement,
    RevisedWish,
    Signed,
    SubmitJob,
    Vec<FunctionId>,
    Vec<StoreDisk>,
    Vec<(String, HeaderBytes)>
);

impl Stored for Timestamp {
    type Raw = i64;
    fn store(&self) -> i64 {
        self.0
    }
    fn load(raw: i64) -> Result<Self, String> {
        Ok(Self(raw))
    }
}

impl Stored for Epoch {
    type Raw = i64;
    fn store(&self) -> i64 {
        i64::from(self.0)
    }
    fn load(raw: i64) -> Result<Self, String> {
        u32::try_from(raw).map(Self).map_err(|error| error.to_string())
    }
}

impl Stored for ByteSize {
    type Raw = i64;
    fn store(&self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
    fn load(raw: i64) -> Result<Self, String> {
        u64::try_from(raw).map(Self).map_err(|error| error.to_string())
    }
}

/// A count that the database keeps as a signed integer.
pub(crate) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The other way; what should never be negative is nothing.
pub(crate) fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
