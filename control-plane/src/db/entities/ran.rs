//! What ran: the newest runs, the blocks that have the others, their logs, and the roll-ups.

use protocol::node::LogStream;
use protocol::placement::Explanation;
use protocol::receipt::{Outcome, RunEnd, Usage};
use protocol::{
    AccountId, BlobId, Code, Digest, Flag, FunctionId, JobId, Lane, Limits, NodeId, RunId, RunPrincipal, RunSource,
    Timestamp, VersionId,
};
use serde::{Deserialize, Serialize};

use crate::db::columns::{Col, Stored};

table! {
    /// One run: the node's half (`claimed`), the gateway's half (`observed`), and what is billed. `ended` is the node's
    /// word in the call, until its receipt comes. `rivals` are claims of further nodes, until the gateway's half comes.
    /// `block` is the number of the account's block that it is in, as it is here. The row goes some minutes later.
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
        flag: Option<Col<Flag>>,
        settled: bool,
        block: Option<i64>,
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
    /// An account's history of runs. `runs`: how many there are, rows that are in no block yet and lines of blocks;
    /// `unpacked`: settled rows that are in no block, and since when there have been some. `packed_bytes`: bytes of its
    /// blocks' bodies. `forgotten`: the time before which some of its runs are gone because they were too many, and
    /// `trimmed`: when the last of those went. `evicted`: the time before which a run's row may be gone because a block
    /// has it.
    run_windows = "run_windows" {
        #[sea_orm(primary_key, auto_increment = false)]
        account_id: Col<AccountId>,
        runs: i64,
        forgotten: Col<Timestamp>,
        trimmed: Col<Timestamp>,
        unpacked: i64,
        unpacked_since: Col<Timestamp>,
        packed_bytes: i64,
        evicted: Col<Timestamp>,
    }
}

table! {
    /// One block of an account's history. `header` is its text; the body is `blob`, or the object `root` of an earlier
    /// release, of so many `bytes`, until it is no longer kept. `summary` says what may be found in it (`settlement/blocks/summary.rs`), and `corrects` that
    /// some of its runs stand in an earlier block as well, as they were before. All of its runs had ended, and whoever
    /// could still tell of them had done so, at the time `surely_over`.
    blocks = "blocks" {
        #[sea_orm(primary_key, auto_increment = false)]
        account_id: Col<AccountId>,
        #[sea_orm(primary_key, auto_increment = false)]
        number: i64,
        first_run: Col<RunId>,
        last_run: Col<RunId>,
        runs: i64,
        began: Col<Timestamp>,
        ended: Col<Timestamp>,
        origin: Col<Timestamp>,
        surely_over: Col<Timestamp>,
        corrects: bool,
        summary: String,
        header: String,
        blob: Option<Col<BlobId>>,
        root: Option<Col<Digest>>,
        bytes: i64,
    }
}

table! {
    /// A ring of runs that placement is trained on when their rows are gone: one for each slot.
    samples = "samples" {
        #[sea_orm(primary_key, auto_increment = false)]
        slot: i64,
        account_id: Col<AccountId>,
        run_id: Col<RunId>,
        sample: String,
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
