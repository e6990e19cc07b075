//! Jobs: durable, asynchronous runs. The states, and what the API says of them.
//!
//! ```text
//!    submitted                  a node has room            the node took it
//! --------------> queued ------------------------> placed -----------------> running --> succeeded
//!                 ^ ^  |                           |    |                    | | | \---> failed      no retry is left
//!                 | |  |            it said no     |    |        lost        | | |       to it, or none was asked for
//!                 | |  |<--------------------------+    |<- - - - - - - - - -+ | \-----> timed_out   so for time
//!                 | |  |                                |                      |
//!                 | +--+-------- again, after a pause --+----------------------+-------> dead        retries were asked
//!                 |    |                                |                                for, and all are used up;
//!                 |    +------------ cancel ------------+----------------------------> cancelled     or lost too often
//!                 |
//!                 +---- `retry` of one that failed, timed out, died or was cancelled
//!
//! One that waits dies where its version is deleted.
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Code;
use crate::ids::{AccountId, FunctionId, JobId, NodeId, RunId};
use crate::manifest::Limits;
use crate::names::{Name, Reference};
use crate::placement::Placement;
use crate::receipt::Usage;
use crate::units::{ByteSize, Digest, Millis, Timestamp};

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It waits: for its time, or for a node with room.
    Queued,
    /// A node was chosen and is being asked.
    Placed,
    /// A node has taken it.
    Running,
    /// The function answered, with a status below 500.
    Succeeded,
    /// The function failed, and that was its only or last try.
    Failed,
    /// The same, by its time limit.
    TimedOut,
    /// Somebody cancelled it.
    Cancelled,
    /// Every try is used up.
    Dead,
}

impl JobState {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Placed,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
        Self::Dead,
    ];

    /// Nothing changes any more, unless somebody asks for another try.
    #[must_use]
    pub const fn ended(self) -> bool {
        !matches!(self, Self::Queued | Self::Placed | Self::Running)
    }

    /// Whether a job may go from here to there.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Queued => matches!(next, Self::Placed | Self::Cancelled | Self::Dead),
            // What ended at once was never seen running.
            Self::Placed => !matches!(next, Self::Placed),
            Self::Running => !matches!(next, Self::Placed | Self::Running),
            Self::Failed | Self::TimedOut | Self::Cancelled | Self::Dead => matches!(next, Self::Queued),
            Self::Succeeded => false,
        }
    }

    /// As the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Placed => "placed",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
        }
    }
}

impl std::fmt::Display for JobState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for JobState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text.replace('-', "_"));
        found.ok_or_else(|| format!("{text:?} is no state of a job"))
    }
}

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
    pub fn within(&self, name: &str, min: T, max: T) -> Result<T, String> {
        match self {
            Self::Value(value) if *value >= min && *value <= max => Ok(*value),
            Self::Value(value) => Err(format!("{name} is {value}; allowed: {min} to {max}")),
            Self::Other(other) => Err(format!("{name} is {other}; allowed: {min} to {max}")),
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

/// `POST /jobs`
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
    /// The request's headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// The request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<JobInput>,
    /// CPUs; the version's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>))]
    pub cpus: Option<Asked<u32>>,
    /// Memory, such as `512MiB`; the version's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<ByteSize>))]
    pub memory: Option<Asked<ByteSize>>,
    /// The time limit of one try, such as `10m`; the version's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Millis>))]
    pub timeout: Option<Asked<Millis>>,
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
    /// Not to be begun before then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
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
            cpus: None,
            memory: None,
            timeout: None,
            retries: None,
            backoff: None,
            priority: None,
            not_before: None,
            labels: BTreeMap::new(),
            webhook: None,
        }
    }
}

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

/// An array of jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobArray {
    /// What its jobs name as their `array`.
    pub id: JobId,
    /// The jobs, in the order of their inputs.
    pub jobs: Vec<JobId>,
}

/// A step of a job's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Transition {
    /// When.
    pub at: Timestamp,
    /// The state from then on.
    pub state: JobState,
    /// The node, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The run, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Why, for people.
    pub reason: String,
}

/// A durable, asynchronous run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Job {
    /// The id.
    pub id: JobId,
    /// The function's name.
    pub function: Name,
    /// The version's number, fixed when the job was submitted.
    pub version: u32,
    /// Where it is.
    pub state: JobState,
    /// Why it is there, for people.
    pub reason: String,
    /// It is to be cancelled as soon as its node has stopped it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancelling: bool,
    /// The request's method.
    pub method: String,
    /// The request's path.
    pub path: String,
    /// CPUs.
    pub cpus: u32,
    /// Memory.
    pub memory: ByteSize,
    /// The time limit of one try.
    pub timeout: Millis,
    /// Retries that it may have.
    pub retries: u32,
    /// The pause before the first of them.
    pub backoff: Millis,
    /// Its priority among the account's jobs.
    pub priority: i32,
    /// Not to be begun before then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The array that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<JobId>,
    /// Its place in the array, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// Where its end is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// Tries that the function had.
    pub attempts: u32,
    /// Tries that the platform lost; they cost no retry.
    pub losses: u32,
    /// The last try's run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The last try's node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The answer's status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The platform's code, where it answered instead of the function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// Bytes of the input.
    pub input_size: ByteSize,
    /// Bytes of the output.
    pub output_size: ByteSize,
    /// What the last try used, as the node said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// When it was submitted.
    pub created: Timestamp,
    /// When it is tried next, where it waits for a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// When the last try began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Each change has a later number than all changes before, of all jobs.
    pub revision: u64,
    /// Its life so far; lists leave it out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transitions: Vec<Transition>,
}

/// Where a job's end is told, and whether it has been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Webhook {
    /// The URL.
    pub url: String,
    /// Tries so far.
    pub tries: u32,
    /// When it was taken, with a status of 2xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<Timestamp>,
    /// Why the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// `GET /jobs/{id}/why`: why it is where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobWhy {
    /// The job.
    pub job: JobId,
    /// Where it is.
    pub state: JobState,
    /// Why, for people.
    pub reason: String,
    /// Jobs of the account that come before it, where it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<u64>,
    /// The nodes that could take it and why the others cannot: as of the last placement, or as of now where it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// Names of the nodes in `placement`, where the account may see them.
    pub names: BTreeMap<NodeId, String>,
}

/// The key that signs the account's webhooks (`GET /jobs/webhook-key`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WebhookKey {
    /// `whsec_` and base64, as Standard Webhooks writes keys.
    pub key: String,
}

/// `GET /jobs/limits`: what a job may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobLimits {
    /// The most of CPUs, memory and time.
    pub maxima: Limits,
    /// The least.
    pub minima: Limits,
    /// The most retries.
    pub retries: u32,
    /// The longest first pause.
    pub backoff: Millis,
    /// The largest output that is kept.
    pub output: ByteSize,
    /// Jobs of an account that may wait or run.
    pub open: u64,
    /// Jobs of one array.
    pub array: u32,
    /// Days that ended jobs, their logs and outputs are kept.
    pub days: u32,
}

/// From a gateway to the control plane (`POST /internal/jobs`): a request that shall be answered later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeferredCall {
    /// Whose function.
    pub account: AccountId,
    /// Which.
    pub function: FunctionId,
    /// The version's number.
    pub version: u32,
    /// The request's method.
    pub method: String,
    /// Path and query, as the function sees them.
    pub path: String,
    /// The request's headers, cleaned; values that are not text are left out.
    pub headers: Vec<(String, String)>,
    /// The body, base64, where it is short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body's manifest in the store, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Digest>,
    /// The body's size.
    pub size: ByteSize,
    /// Who calls, for the audit.
    pub caller: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_ends_once() {
        for from in JobState::ALL {
            for to in JobState::ALL {
                assert!(!(from.ended() && from.may_become(to)) || to == JobState::Queued, "{from} -> {to}");
            }
            assert_eq!(from.to_string().parse(), Ok(from));
            assert_eq!(serde_json::to_value(from).unwrap(), from.as_str());
        }
        assert!(!JobState::Succeeded.may_become(JobState::Queued), "what succeeded is not done again");
        assert_eq!("timed-out".parse(), Ok(JobState::TimedOut));
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_the_range() {
        let asked: SubmitJob =
            serde_json::from_str(r#"{"function":"f","cpus":-1,"memory":"-5","retries":1000,"timeout":"2s"}"#).unwrap();
        let refused = |result: Result<u32, String>| result.unwrap_err();
        assert_eq!(refused(asked.cpus.unwrap().within("cpus", 1, 64)), "cpus is -1; allowed: 1 to 64");
        assert_eq!(refused(asked.retries.unwrap().within("retries", 0, 20)), "retries is 1000; allowed: 0 to 20");
        let memory = asked.memory.unwrap().within("memory", ByteSize::mib(1), ByteSize::mib(4096));
        assert_eq!(memory.unwrap_err(), "memory is \"-5\"; allowed: 1MiB to 4GiB");
        assert_eq!(asked.timeout.unwrap().within("timeout", Millis(10), Millis::seconds(60)), Ok(Millis::seconds(2)));
    }
}
