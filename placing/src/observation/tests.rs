//! Drafts of calls and of jobs, with and without a last word.

use std::time::Duration;

use protocol::receipt::{Outcome, RunEnd, Usage};
use protocol::{
    AccountId, ByteSize, Code, FunctionId, InstanceId, JobId, Lane, Limits, NodeId, RunId, Timestamp, VersionId,
};

use super::{ObservationDraft, PATH_CHARS_MAX, RunFacts};
use crate::verdict::Verdict;

fn draft(path: &str, job: Option<JobId>) -> ObservationDraft {
    let facts = RunFacts {
        run: RunId::new(),
        account: AccountId::new(),
        function: FunctionId::new(),
        version: VersionId::new(),
        version_number: 1,
        limits: Limits::default(),
        lane: Lane::Wasm,
        job,
        method: "GET",
        path,
        source: None,
        principal: None,
    };
    ObservationDraft::begin(InstanceId::new(), &facts, Timestamp(1))
}

fn end(outcome: Outcome, usage: Usage) -> RunEnd {
    RunEnd { outcome, code: None, detail: None, usage, warm: true, cached: false, running: 3 }
}

#[test]
fn a_path_is_cut_and_has_no_query() {
    assert_eq!(draft("/a/b?secret=1", None).so_far().path, "/a/b");
    let long = format!("/{}", "\u{fc}".repeat(1000));
    assert_eq!(draft(&long, None).so_far().path.chars().count(), PATH_CHARS_MAX);
}

#[test]
fn a_claim_is_brought_within_what_was_seen() {
    let mut draft = draft("/", None);
    draft.bytes_in(ByteSize(3));
    assert_eq!(draft.passed_out(2), ByteSize(2));
    assert_eq!(draft.passed_out(3), ByteSize(5));
    draft.took(Duration::from_millis(1), Duration::from_millis(2));
    let (node, most) = (NodeId::new(), u64::MAX);
    draft.on_node(Some(node), Lane::Vm);
    let claimed = Usage { wall_us: most, cpu_us: most, bytes_out: ByteSize(most), ..Usage::default() };
    let (seen, _) = draft.conclude(Verdict::ANSWERED, Some(end(Outcome::Succeeded, claimed)));
    let kept = seen.end.unwrap().usage;
    assert_eq!((seen.outcome, seen.node, seen.lane), (Outcome::Succeeded, Some(node), Lane::Vm));
    assert_eq!((seen.head_us, seen.wall_us, kept.wall_us, kept.bytes_out), (1000, 2000, 2000, ByteSize(5)));
}

#[test]
fn the_status_is_what_somebody_got() {
    let failed = || Some(end(Outcome::Failed, Usage::default()));
    // A caller has had the head already when the rest broke off.
    let mut call = draft("/", None);
    call.status(200);
    let (seen, _) = call.conclude(Verdict::ANSWERED, failed());
    assert_eq!((seen.status, seen.outcome), (200, Outcome::Failed));
    // Of a job nobody has.
    let mut job = draft("/", Some(JobId::new()));
    job.status(200);
    let (seen, verdict) = job.clone().conclude(Verdict::too_large(ByteSize(1)), failed());
    assert_eq!(seen.status, Code::ResponseTooLarge.status());
    assert_eq!((seen.code, verdict.code), (Some(Code::ResponseTooLarge), Some(Code::ResponseTooLarge)));
    let (seen, _) = job.conclude(Verdict::ANSWERED, None);
    assert_eq!((seen.status, seen.outcome, seen.code), (200, Outcome::Succeeded, None));
}
