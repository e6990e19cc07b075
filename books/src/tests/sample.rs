//! Runs and blocks that tests make.

use std::collections::BTreeMap;

use proptest::prelude::*;
use protocol::placement::{Considered, Explanation, Refusal, RefusedNodes, Warmth};
use protocol::receipt::{Outcome, Usage};
use protocol::{
    AccountId, ByteSize, Code, Flag, FunctionId, JobId, Lane, Limits, NodeId, RunId, RunPrincipal, RunSource,
    Timestamp, VersionId,
};
use uuid::Uuid;

use crate::seal::framed;
use crate::{Body, Run, Salt, Sealed, Span};

/// 2026-11-22T08:43:00.123Z.
pub(super) const NOW: Timestamp = Timestamp(1_795_336_980_123);
pub(super) const SALT: Salt = Salt([7; 16]);
/// Blocks of tests have many frames.
pub(super) const FRAME_RUNS: usize = 3;

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0000 + number)
}

pub(super) fn account() -> AccountId {
    AccountId::from_uuid(uuid(3))
}

pub(super) fn id(number: u64) -> RunId {
    RunId::from_uuid(uuid(1_000_000 + u128::from(number)))
}

/// A run with all that a run can have.
pub(super) fn full(number: u64) -> Run {
    let considered = |node, warmth, predicted_us| Considered {
        node: NodeId::from_uuid(uuid(node)),
        warmth,
        running: 3,
        predicted_us,
        predicted_failure_permille: None,
    };
    let usage = Usage {
        wall_us: 1_500_700,
        cpu_us: 1_200,
        fuel: Some(1 << 60),
        memory_peak: ByteSize::mib(64),
        bytes_in: ByteSize(10),
        bytes_out: ByteSize(20),
        egress_bytes: ByteSize(4096),
    };
    Run {
        run: id(number),
        account: account(),
        function: FunctionId::from_uuid(uuid(4)),
        version: VersionId::from_uuid(uuid(5)),
        version_number: 3,
        node: Some(NodeId::from_uuid(uuid(2))),
        lane: Lane::Wasm,
        outcome: Outcome::Failed,
        status: 502,
        code: Some(Code::Trap),
        method: "POST".to_owned(),
        path: "/résumé?width=320&q=\"\\\u{1}".to_owned(),
        received: NOW,
        wall_us: 1_600_000,
        limits: Some(Limits::default()),
        claimed: Some(usage),
        observed: Some(Usage { wall_us: 1_600_000, fuel: None, ..usage }),
        billed: usage,
        flag: Some(Flag::Contradicted),
        warm: Some(false),
        cached: Some(true),
        placement: Some(Explanation {
            policy: "learned".into(),
            candidates: vec![considered(2, Warmth::Warm, Some(12_500)), considered(9, Warmth::Cold, None)],
            refused: vec![RefusedNodes { why: Refusal::NoSlot, nodes: 2, agreed: None }],
            waited_ms: 40,
        }),
        job: Some(JobId::from_uuid(uuid(11))),
        source: Some(RunSource::Schedule),
        principal: Some(RunPrincipal::Trigger("nightly".parse().unwrap())),
    }
}

/// A run with as little as a run can have.
pub(super) fn bare(number: u64) -> Run {
    Run {
        node: None,
        outcome: Outcome::Succeeded,
        status: 200,
        code: None,
        method: String::new(),
        path: String::new(),
        wall_us: 0,
        limits: None,
        claimed: None,
        observed: None,
        billed: Usage::default(),
        flag: None,
        warm: None,
        cached: None,
        placement: None,
        job: None,
        source: None,
        principal: None,
        ..full(number)
    }
}

/// Any run of this id.
pub(super) fn any_run(number: u64) -> impl Strategy<Value = Run> {
    let outcomes =
        [Outcome::Succeeded, Outcome::Failed, Outcome::TimedOut, Outcome::Cancelled, Outcome::PlatformFailed];
    let figure = prop_oneof![4 => 0..10_000_000_u64, 1 => any::<u64>()];
    let figures = proptest::array::uniform6(figure);
    let flags = Flag::ALL.into_iter().map(Some).chain([None, None, None, None]).collect::<Vec<_>>();
    let chosen = (proptest::sample::select(outcomes.to_vec()), proptest::sample::select(flags));
    // 20 days around the end of a month.
    let received = (NOW.0 - 864_000_000..NOW.0 + 864_000_000).prop_map(Timestamp);
    (chosen, figures, received, any::<bool>(), ".{0,12}").prop_map(
        move |((outcome, flag), [wall_us, cpu_us, peak, bytes_in, bytes_out, egress], received, rich, path)| {
            let billed = Usage {
                wall_us,
                cpu_us,
                fuel: rich.then_some(cpu_us),
                memory_peak: ByteSize(peak),
                bytes_in: ByteSize(bytes_in),
                bytes_out: ByteSize(bytes_out),
                egress_bytes: ByteSize(egress),
            };
            let run = if rich { full(number) } else { bare(number) };
            Run { outcome, flag, billed, received, path, ..run }
        },
    )
}

/// Any runs of different ids from 0 to `ids_max`.
pub(super) fn any_runs(ids_max: u64, runs_max: usize) -> impl Strategy<Value = Vec<Run>> {
    proptest::collection::btree_set(0..ids_max, 1..runs_max)
        .prop_flat_map(|ids| ids.into_iter().map(any_run).collect::<Vec<_>>())
        .prop_shuffle()
}

/// Seals the account's next block with small frames.
pub(super) fn sealed(previous: Option<&Sealed>, runs: Vec<Run>) -> Sealed {
    let previous = previous.map(|sealed| sealed.text.as_str());
    framed(FRAME_RUNS, account(), SALT, previous, NOW, runs).unwrap()
}

/// Seals blocks that follow each other.
pub(super) fn blocks(all: Vec<Vec<Run>>) -> Vec<Sealed> {
    let mut blocks = Vec::<Sealed>::new();
    for runs in all {
        blocks.push(sealed(blocks.last(), runs));
    }
    blocks
}

pub(super) fn body(sealed: &Sealed) -> Body {
    Body::open(sealed.body.clone()).unwrap()
}

pub(super) fn span(sealed: &Sealed) -> Span {
    Span { number: sealed.header.number, first: sealed.header.first, last: sealed.header.last }
}

/// The last line of each run, by id.
pub(super) fn latest(all: &[Vec<Run>]) -> BTreeMap<RunId, Run> {
    all.iter().flatten().map(|run| (run.run, run.clone())).collect()
}
