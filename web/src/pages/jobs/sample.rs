//! A job, for tests.

use std::collections::BTreeMap;

use protocol::job::{Job, JobState, Transition, TryLimits};
use protocol::{ByteSize, JobId, Millis, NodeId, RunId, Timestamp};

/// One that was just submitted.
pub(crate) fn job(number: u128) -> Job {
    Job {
        id: format!("job_{number:032x}").parse::<JobId>().unwrap(),
        function: "thumbs".parse().unwrap(),
        version: 3,
        state: JobState::Queued,
        reason: "submitted".to_owned(),
        cancelling: false,
        method: "POST".to_owned(),
        path: "/".to_owned(),
        limits: TryLimits::default(),
        retries: 0,
        backoff: Millis::seconds(1),
        priority: 0,
        not_before: None,
        labels: BTreeMap::new(),
        array: None,
        index: None,
        webhook: None,
        attempts: 0,
        losses: 0,
        run: None,
        node: None,
        status: None,
        code: None,
        input_size: ByteSize(0),
        output_size: ByteSize(0),
        usage: None,
        created: Timestamp(1_000),
        due: None,
        started: None,
        ended: None,
        revision: 1,
        transitions: Vec::new(),
    }
}

/// The number that it was made of.
pub(crate) fn number(job: &Job) -> u128 {
    let id = job.id.to_string();
    u128::from_str_radix(id.trim_start_matches("job_"), 16).unwrap()
}

/// A step of its life.
pub(crate) fn step(at: i64, state: JobState, run: Option<u32>) -> Transition {
    let node = run.map(|_| format!("node_{:032x}", 1).parse::<NodeId>().unwrap());
    let run = run.map(|run| format!("run_{run:032x}").parse::<RunId>().unwrap());
    Transition { at: Timestamp(at), state, node, run, reason: String::new() }
}
