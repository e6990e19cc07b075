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

mod header;
mod sort;
mod start;
mod state;
mod submit;
mod summary;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::blob::Blob;
use crate::error::Code;
use crate::ids::{AccountId, FunctionId, JobId, NodeId, RunId};
use crate::limits::{Limits, limits_of_jobs};
use crate::names::Name;
use crate::placement::Placement;
use crate::receipt::Usage;
use crate::units::{ByteSize, Millis, Timestamp};

pub use header::HeaderBytes;
pub use sort::JobSort;
pub use start::NotBefore;
pub use state::JobState;
pub use submit::{Asked, JobInput, SubmitArray, SubmitJob};
pub use summary::{JobCounts, JobSummary};

macro_rules! try_limits {
    ($($(#[$doc:meta])* $limit:ident: $kind:ident;)*) => {
        /// What one try of a job may use.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(default)]
        pub struct TryLimits {
            $($(#[$doc])* pub $limit: $kind,)*
        }

        impl From<Limits> for TryLimits {
            fn from(limits: Limits) -> Self {
                Self { $($limit: limits.$limit,)* }
            }
        }

        /// With the defaults of what only its version has.
        impl From<TryLimits> for Limits {
            fn from(of_try: TryLimits) -> Self {
                Self { $($limit: of_try.$limit,)* ..Self::default() }
            }
        }
    };
}
limits_of_jobs!(try_limits);

impl Default for TryLimits {
    fn default() -> Self {
        Limits::default().into()
    }
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
    /// What one try may use.
    #[serde(flatten)]
    pub limits: TryLimits,
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
    /// Tries that the function had, the one that runs included.
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
    /// Function and version as the caller named them: `thumbs`, `thumbs@v3`, `thumbs@canary`. Earlier releases do not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// The version's number: what that means now. Of a request that is repeated, the first one's counts.
    pub version: u32,
    /// The request's method.
    pub method: String,
    /// Path and query, as the function sees them.
    pub path: String,
    /// The request's headers, cleaned.
    pub headers: Vec<(String, HeaderBytes)>,
    /// The body, base64, where it is short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body in the store, where it is not. A control plane of an earlier release would take the body for an empty one,
    /// and refuses instead.
    #[serde(default, rename = "!blob", skip_serializing_if = "Option::is_none")]
    pub blob: Option<Blob>,
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
        let refused = |result: Result<u32, crate::Invalid>| result.unwrap_err().why;
        assert_eq!(refused(asked.cpus.unwrap().within("cpus", 1, 64)), "cpus is -1; allowed: 1 to 64");
        assert_eq!(refused(asked.retries.unwrap().within("retries", 0, 20)), "retries is 1000; allowed: 0 to 20");
        let memory = asked.memory.unwrap().within("memory", ByteSize::mib(1), ByteSize::mib(4096));
        assert_eq!(memory.unwrap_err().why, "memory is \"-5\"; allowed: 1MiB to 4GiB");
        assert_eq!(asked.timeout.unwrap().within("timeout", Millis(10), Millis::seconds(60)), Ok(Millis::seconds(2)));
    }
}
