//! What ran: the bounded window of runs, their logs, the roll-ups and the segments.

use protocol::node::LogStream;
use protocol::placement::Explanation;
use protocol::receipt::{Outcome, RunEnd, Usage};
use protocol::{
    AccountId, Code, Digest, FunctionId, JobId, Lane, Limits, NodeId, RunId, RunPrincipal, RunSource, Timestamp,
    VersionId,
};
use serde::{Deserialize, Serialize};

use crate::db::columns::{Col, Stored};

table! {
    /// One run: the node's half (`claimed`), the gateway's half (`observed`), and what is billed. `ended` is the node's
    /// word in the call, until its receipt comes. `rivals` are claims of further nodes, until the gateway's half comes.
    runs = "runs" {
        #[sea_orm(primary_key, auto_increment = false)]
        run_id: Col<RunId>,
        account_id: Col<AccountId>,
        function_id: Col<FunctionId>,
        version_id: Col<VersionId>,
        version_number: i32,
        node_id: Option<Col<NodeId>>,
        lane: Col<Lane>,
        outcome: Col<Outcome>,
        status: i32,
        code: Option<Col<Code>>,
        method: String,
        path: String,
        received: Col<Timestamp>,
        wall_us: i64,
        limits: Option<Col<Limits>>,
        claimed: Option<Col<Usage>>,
        observed: Option<Col<Usage>>,
        billed: Col<Usage>,
        flag: Option<String>,
        settled: bool,
        segment: Option<i64>,
        arrived: Col<Timestamp>,
        warm: Option<bool>,
        cached: Option<bool>,
        placement: Option<Col<Explanation>>,
        job_id: Option<Col<JobId>>,
        ended: Option<Col<RunEnd>>,
        rivals: Option<Col<Vec<Rival>>>,
        source: Option<Col<RunSource>>,
        principal: Option<Col<RunPrincipal>>,
    }
}

/// What one of several nodes claims of the same run: the gateway has asked one after the other, and says which of them it
/// was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(unreachable_pub, reason = "as `Stored`")]
pub struct Rival {
    pub node: NodeId,
    pub limits: Limits,
    pub claimed: Usage,
    pub outcome: Outcome,
    pub code: Option<Code>,
    pub warm: bool,
    pub cached: bool,
    /// It claims what cannot be.
    pub over_claimed: bool,
}

impl Stored for Vec<Rival> {
    type Raw = String;
    fn store(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
    fn load(raw: String) -> Result<Self, String> {
        serde_json::from_str(&raw).map_err(|error| error.to_string())
    }
}

table! {
    /// An account's window of runs: how many rows it has, the time before which some of its runs are forgotten because they
    /// were too many, and when the last of those were deleted.
    run_windows = "run_windows" {
        #[sea_orm(primary_key, auto_increment = false)]
        account_id: Col<AccountId>,
        runs: i64,
        forgotten: Col<Timestamp>,
        trimmed: Col<Timestamp>,
    }
}

table! {
    /// Sums over the settled runs of one account in one minute, hour or day (`span`, in seconds, from `began` on) that have
    /// all of the columns from `function_id` to `status` in common, of which `id` is the digest. What is null there is not
    /// known, or, where the row is `folded`, differs. `latency` is a sketch (`usage/sketch.rs`).
    usage_sums = "usage_sums" {
        #[sea_orm(primary_key, auto_increment = false)]
        account_id: Col<AccountId>,
        #[sea_orm(primary_key, auto_increment = false)]
        span: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        began: Col<Timestamp>,
        #[sea_orm(primary_key, auto_increment = false)]
        id: Vec<u8>,
        function_id: Option<Col<FunctionId>>,
        version_number: Option<i32>,
        lane: Option<Col<Lane>>,
        source: Option<Col<RunSource>>,
        principal: Option<Col<RunPrincipal>>,
        status: Option<i32>,
        folded: bool,
        runs: i64,
        succeeded: i64,
        failed: i64,
        timed_out: i64,
        cancelled: i64,
        platform_failed: i64,
        flagged: i64,
        warm: i64,
        cached: i64,
        cold: i64,
        wall_us: i64,
        cpu_us: i64,
        memory_kib_ms: i64,
        reserved_cpu_us: i64,
        reserved_memory_kib_ms: i64,
        bytes_in: i64,
        bytes_out: i64,
        egress_bytes: i64,
        latency: String,
    }
}

table! {
    /// Lines that runs wrote, in the order of their arrival.
    run_logs = "run_logs" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: i64,
        account_id: Col<AccountId>,
        function_id: Col<FunctionId>,
        run_id: Col<RunId>,
        sequence: i32,
        at: Col<Timestamp>,
        stream: Col<LogStream>,
        text: String,
    }
}

table! {
    /// Settled receipts, compressed in the store; here is where and what.
    segments = "segments" {
        #[sea_orm(primary_key, auto_increment = false)]
        number: i64,
        digest: Col<Digest>,
        root: Col<Digest>,
        size: i64,
        receipts: i64,
        created: Col<Timestamp>,
    }
}
