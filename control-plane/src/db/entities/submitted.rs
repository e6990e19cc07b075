//! Jobs: what was asked for, where each is, the steps of its life, and what it put out.

use std::collections::BTreeMap;

use protocol::job::{HeaderBytes, JobState, SubmitJob};
use protocol::placement::Placement;
use protocol::receipt::Usage;
use protocol::trigger::Missed;
use protocol::{
    AccountId, BlobId, ByteSize, Code, Digest, FunctionId, JobId, Lane, Limits, Name, NodeId, RunId, RunPrincipal,
    RunSource, Timestamp, UserId, VersionId,
};

use crate::db::columns::Col;

table! {
    /// One job. `place` orders those that wait; `epoch` is the leader's that has it on a node.
    jobs = "jobs" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Col<JobId>,
        account_id: Col<AccountId>,
        function_id: Col<FunctionId>,
        version_id: Col<VersionId>,
        version_number: i32,
        state: Col<JobState>,
        reason: String,
        cancelling: bool,
        method: String,
        path: String,
        input_size: Col<ByteSize>,
        limits: Col<Limits>,
        retries: i32,
        backoff: i64,
        priority: i32,
        not_before: Option<Col<Timestamp>>,
        labels: Col<BTreeMap<String, String>>,
        array_id: Option<Col<JobId>>,
        array_index: Option<i32>,
        webhook: Option<String>,
        webhook_due: Option<Col<Timestamp>>,
        webhook_tries: i32,
        webhook_delivered: Option<Col<Timestamp>>,
        webhook_error: Option<String>,
        due: Col<Timestamp>,
        place: i64,
        attempts: i32,
        losses: i32,
        turns: i32,
        epoch: i64,
        run_id: Option<Col<RunId>>,
        node_id: Option<Col<NodeId>>,
        lane: Option<Col<Lane>>,
        status: Option<i32>,
        code: Option<Col<Code>>,
        usage: Option<Col<Usage>>,
        placement: Option<Col<Placement>>,
        output_size: Col<ByteSize>,
        steps: i32,
        created_by: String,
        created: Col<Timestamp>,
        started: Option<Col<Timestamp>>,
        ended: Option<Col<Timestamp>>,
        revision: i64,
        source: Option<Col<RunSource>>,
        principal: Option<Col<RunPrincipal>>,
    }
}

table! {
    /// How many jobs of an account wait or run.
    job_counts = "job_counts" {
        #[sea_orm(primary_key, auto_increment = false)]
        account_id: Col<AccountId>,
        open: i64,
    }
}

table! {
    /// The request: short bodies here, the others in the store.
    job_inputs = "job_inputs" {
        #[sea_orm(primary_key, auto_increment = false)]
        job_id: Col<JobId>,
        headers: Col<Vec<(String, HeaderBytes)>>,
        body: Option<Vec<u8>>,
        blob: Option<Col<BlobId>>,
        root: Option<Col<Digest>>,
    }
}

table! {
    /// Each step, with time, node and reason.
    job_steps = "job_steps" {
        #[sea_orm(primary_key, auto_increment = false)]
        job_id: Col<JobId>,
        #[sea_orm(primary_key, auto_increment = false)]
        step: i32,
        at: Col<Timestamp>,
        state: Col<JobState>,
        node_id: Option<Col<NodeId>>,
        run_id: Option<Col<RunId>>,
        reason: String,
    }
}

table! {
    /// The answer: short ones here, the others in the store.
    job_outputs = "job_outputs" {
        #[sea_orm(primary_key, auto_increment = false)]
        job_id: Col<JobId>,
        status: i32,
        headers: Col<Vec<(String, HeaderBytes)>>,
        body: Option<Vec<u8>>,
        blob: Option<Col<BlobId>>,
        root: Option<Col<Digest>>,
    }
}

table! {
    /// Jobs that submit themselves.
    triggers = "triggers" {
        #[sea_orm(primary_key, auto_increment = false)]
        account_id: Col<AccountId>,
        #[sea_orm(primary_key, auto_increment = false)]
        name: Col<Name>,
        cron: Option<String>,
        queue: Option<Col<Name>>,
        zone: String,
        missed: Col<Missed>,
        paused: bool,
        job: Col<SubmitJob>,
        next: Option<Col<Timestamp>>,
        last: Option<Col<Timestamp>>,
        last_job: Option<Col<JobId>>,
        error: Option<String>,
        user_id: Option<Col<UserId>>,
        created: Col<Timestamp>,
    }
}
