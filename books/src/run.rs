//! A settled run, as a line of a block.

use protocol::placement::Explanation;
use protocol::receipt::{Outcome, Usage};
use protocol::{
    AccountId, Code, Flag, FunctionId, JobId, Lane, Limits, NodeId, RunId, RunPrincipal, RunSource, Timestamp,
    VersionId, wire,
};
use serde::{Deserialize, Deserializer, Serialize};

/// One settled run: all that `invocations show` tells, and both halves.
///
/// Written as a line of JSON whose first field is `run`. When read, unknown fields are passed over, as is what a later
/// release says in fields that one can do without; a field that must be understood (`!name`) is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The run. First in the line: readers find a run's line by it.
    pub run: RunId,
    /// Who pays.
    pub account: AccountId,
    /// What was run.
    pub function: FunctionId,
    /// Which version of it.
    pub version: VersionId,
    /// The version's number.
    pub version_number: u32,
    /// The node, where one took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The lane.
    pub lane: Lane,
    /// How it ended.
    pub outcome: Outcome,
    /// The response's status.
    pub status: u16,
    /// The platform's code, where it answered instead of the function.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wire::code")]
    pub code: Option<Code>,
    /// The request's method; empty where the gateway's half is missing.
    pub method: String,
    /// The request's path; empty where the gateway's half is missing.
    pub path: String,
    /// When the request's head was read.
    pub received: Timestamp,
    /// From then to the response's end, in microseconds.
    pub wall_us: u64,
    /// What it might use; none where nobody has said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// The node's half: what its receipt claims, within what is possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<Usage>,
    /// The gateway's half: what it saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Usage>,
    /// What counts.
    pub billed: Usage,
    /// What is wrong with it, where something is.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "flag")]
    pub flag: Option<Flag>,
    /// Whether the artifact was loaded before the run came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm: Option<bool>,
    /// Whether it was not loaded, but on disk, compiled or converted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<bool>,
    /// Why it went there.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wire::optional")]
    pub placement: Option<Explanation>,
    /// Of which job it was a try; none of a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// What made it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wire::optional")]
    pub source: Option<RunSource>,
    /// On whose behalf.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wire::optional")]
    pub principal: Option<RunPrincipal>,
}

/// A word of a later release still says that something is wrong with the run.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Flag>, D::Error> {
    let word = Option::<String>::deserialize(deserializer)?;
    Ok(word.map(|word| word.parse().unwrap_or(Flag::Contradicted)))
}
