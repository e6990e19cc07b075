//! What a job may ask for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{HeaderBytes, NotBefore};
use crate::field::{Field, Invalid};
use crate::limits::{Amount, Limit, Limits, limits_of_jobs};
use crate::names::Reference;
use crate::units::{ByteSize, Digest, Millis};

/// So much is said of what stands in a number's place.
const SHOWN_CHARS_MAX: usize = 60;

/// A value that was asked for: a good one, or whatever stands there instead, so that the refusal can name the range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Asked<T> {
    /// It can be read.
    Value(T),
    /// It cannot.
    Other(serde_json::Value),
}

impl<T: Copy + PartialOrd + std::fmt::Display> Asked<T> {
    /// The value, where it is within the range.
    ///
    /// # Errors
    /// Names the field, what stands there, and the range.
    pub fn within(&self, field: impl Into<Field>, min: T, max: T) -> Result<T, Invalid> {
        let field = field.into();
        let wrong = |value: &dyn std::fmt::Display| format!("{field} is {value}; allowed: {min} to {max}");
        let why = match self {
            Self::Value(value) if *value >= min && *value <= max => return Ok(*value),
            Self::Value(value) => wrong(value),
            Self::Other(other) => wrong(&other.to_string().chars().take(SHOWN_CHARS_MAX).collect::<String>()),
        };
        Err(Invalid { field, why })
    }
}

impl<T> Asked<T> {
    /// The same as another type.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Asked<U> {
        match self {
            Self::Value(value) => Asked::Value(change(value)),
            Self::Other(other) => Asked::Other(other),
        }
    }
}

impl<T> From<T> for Asked<T> {
    fn from(value: T) -> Self {
        Self::Value(value)
    }
}

/// What the function gets as its request's body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum JobInput {
    /// A text.
    Text(String),
    /// Bytes, base64.
    Base64(String),
    /// A document; `content-type` is `application/json` where no header says otherwise.
    Json(serde_json::Value),
    /// What was uploaded before, with `POST /uploads`.
    Upload(Digest),
}

macro_rules! submit_job {
    ($($(#[$doc:meta])* $limit:ident: $kind:ident;)*) => {
        /// `POST /jobs`. A limit that it leaves out is the version's.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(deny_unknown_fields)]
        pub struct SubmitJob {
            /// The function's name; `name@v3` and `name@alias` are fine.
            pub function: String,
            /// A version or an alias; `live` where neither this nor `function` says.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub reference: Option<Reference>,
            /// The request's method; POST.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub method: Option<String>,
            /// Path and query; `/`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub path: Option<String>,
            /// The request's headers: pairs of name and value. A value that is no text is `{"base64": "..."}`.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            #[cfg_attr(feature = "openapi", schema(value_type = Vec<(String, String)>))]
            pub headers: Vec<(String, HeaderBytes)>,
            /// The request's body.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub input: Option<JobInput>,
            $(
                $(#[$doc])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                #[cfg_attr(feature = "openapi", schema(value_type = Option<$kind>))]
                pub $limit: Option<Asked<$kind>>,
            )*
            /// How often it is tried again when the function fails; 0. (A node that is lost costs no retry.)
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>))]
            pub retries: Option<Asked<u32>>,
            /// The pause before the first retry; each further one is twice as long. 1 s.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[cfg_attr(feature = "openapi", schema(value_type = Option<Millis>))]
            pub backoff: Option<Asked<Millis>>,
            /// -10 (last) to 10 (first), among the account's own jobs; 0.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[cfg_attr(feature = "openapi", schema(value_type = Option<i32>))]
            pub priority: Option<Asked<i32>>,
            /// Not to be begun before then: a time (RFC 3339), or so long after it was submitted, such as `2h`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
            pub not_before: Option<NotBefore>,
            /// For people and for filters.
            #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
            pub labels: BTreeMap<String, String>,
            /// Gets a signed POST when the job has ended.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub webhook: Option<String>,
        }

        impl SubmitJob {
            /// A job of this function that asks for nothing else.
            #[must_use]
            pub fn of(function: impl Into<String>) -> Self {
                Self {
                    function: function.into(),
                    reference: None,
                    method: None,
                    path: None,
                    headers: Vec::new(),
                    input: None,
                    $($limit: None,)*
                    retries: None,
                    backoff: None,
                    priority: None,
                    not_before: None,
                    labels: BTreeMap::new(),
                    webhook: None,
                }
            }

            /// Asks for a limit of its own; one that no job may ask for is left out.
            pub fn ask(&mut self, limit: Limit, asked: Asked<Amount>) {
                match limit.name {
                    $(stringify!($limit) => self.$limit = Some(asked.map(Into::into)),)*
                    _ => {}
                }
            }

            /// What it may use: what it asks for, else what its version has.
            ///
            /// # Errors
            /// Names the first field that is out of range, and the range.
            pub fn limits(&self, version: Limits, max: &Limits) -> Result<Limits, Invalid> {
                let mut limits = version;
                $(
                    if let Some(asked) = &self.$limit {
                        limits.$limit = asked.within(stringify!($limit), Limits::MIN.$limit, max.$limit)?;
                    }
                )*
                Ok(limits)
            }
        }
    };
}
limits_of_jobs!(submit_job);

/// `POST /jobs/arrays`: the same job over many inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SubmitArray {
    /// The job, without an input.
    pub job: SubmitJob,
    /// An input for each.
    pub inputs: Vec<JobInput>,
}
