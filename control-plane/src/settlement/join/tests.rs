//! Halves in any order give the same row.

use proptest::prelude::*;
use protocol::receipt::RunEnd;
use protocol::ticket::{Purpose, SignedTicket};
use protocol::{AccountId, Digest, FunctionId, InstanceId, Lane, Millis, RunId, VersionId};

use super::*;

fn halves(claimed: Usage, seen_wall_us: u64, seen_out: u64) -> (NodeId, Claim, Observation) {
    let (run, node, account) = (RunId::new(), NodeId::new(), AccountId::new());
    let (function, version, issuer) = (FunctionId::new(), VersionId::new(), InstanceId::new());
    let limits = Limits { timeout: Millis(1000), memory: ByteSize::mib(64), ..Limits::default() };
    let ticket = Ticket {
        v: 1,
        purpose: Purpose::Run,
        run,
        node,
        account,
        function,
        version,
        artifact: Digest([0; 32]),
        lane: Lane::Wasm,
        limits,
        issuer,
        issued: Timestamp(60_000),
        expires: Timestamp(70_000),
    };
    let end = RunEnd {
        outcome: Outcome::Succeeded,
        code: None,
        detail: None,
        usage: claimed,
        warm: true,
        cached: false,
        running: 0,
    };
    let receipt =
        NodeReceipt { run, ticket: SignedTicket(String::new()), started: Timestamp(61_000), end: end.clone() };
    let seen = Observation {
        run,
        gateway: issuer,
        account,
        function,
        version,
        version_number: 3,
        node: Some(node),
        lane: Lane::Wasm,
        received: Timestamp(60_500),
        head_us: 10,
        wall_us: seen_wall_us,
        outcome: Outcome::Succeeded,
        status: 200,
        code: None,
        method: "GET".to_owned(),
        path: "/".to_owned(),
        bytes_in: ByteSize(5),
        bytes_out: ByteSize(seen_out),
        end: Some(end),
        placement: None,
        job: None,
    };
    (node, Claim { ticket, receipt, version_number: 3 }, seen)
}

fn usage(wall_us: u64, out: u64) -> Usage {
    Usage {
        wall_us,
        cpu_us: wall_us,
        fuel: None,
        memory_peak: ByteSize::mib(9),
        bytes_in: ByteSize(5),
        bytes_out: ByteSize(out),
    }
}

const NOW: Timestamp = Timestamp(99_000);

proptest! {
    #[test]
    fn either_order_any_repeats(wall in 0_u64..5_000_000, out in 0_u64..1 << 40, seen in 0_u64..5_000_000, seen_out in 0_u64..1 << 40, order in proptest::collection::vec(any::<bool>(), 2..12)) {
        let (node, claim, observation) = halves(usage(wall, out), seen, seen_out);
        let mut row: Option<runs::Model> = None;
        for claim_first in order.into_iter().chain([true, false]) {
            let next = match claim_first {
                true => with_claim(row.as_ref(), node, &claim, NOW),
                false => with_observation(row.as_ref(), &observation, NOW),
            };
            row = next.or(row);
        }
        let row = row.unwrap();
        prop_assert!(row.settled);
        let over = out > seen_out || wall > seen + seen / 10 + 100_000;
        prop_assert_eq!(row.flag.as_deref(), over.then_some(OVER_CLAIMED));
        prop_assert_eq!(row.billed.wall_us, wall.min(seen));
        prop_assert_eq!(row.billed.bytes_out.0, out.min(seen_out));
        prop_assert_eq!(minute(&row), 1);
        prop_assert_eq!(row.status, 200);
    }
}

#[test]
fn without_the_gateway_the_limits_hold() {
    let (node, claim, _) = halves(usage(50_000_000, 1 << 50), 0, 0);
    let row = give_up(with_claim(None, node, &claim, NOW).unwrap());
    assert_eq!(row.flag.as_deref(), Some(NO_OBSERVATION));
    assert_eq!(row.billed.wall_us, 1_000_000);
    assert_eq!(row.billed.cpu_us, 1_000_000);
    assert_eq!(row.billed.bytes_out, Limits::default().body);
    assert_eq!(Share::of(&row).flagged, 1);
}

#[test]
fn only_the_node_that_was_seen_is_paid() {
    let (node, claim, seen) = halves(usage(10, 10), 10, 10);
    let thief = NodeId::new();
    let first = with_claim(None, thief, &claim, NOW).unwrap();
    let row = with_observation(Some(&first), &seen, NOW).unwrap();
    assert!(row.claimed.is_none() && !row.settled, "the thief's claim is void");
    assert!(with_claim(Some(&row), thief, &claim, NOW).is_none());
    assert!(with_claim(Some(&row), node, &claim, NOW).unwrap().settled);
}

#[test]
fn what_reached_no_node_is_settled_at_once_and_free() {
    let (_, _, mut seen) = halves(usage(10, 10), 10, 10);
    (seen.node, seen.end, seen.outcome) = (None, None, Outcome::PlatformFailed);
    let row = with_observation(None, &seen, NOW).unwrap();
    assert!(row.settled);
    assert_eq!(row.billed.0, Usage::default());
    assert_eq!(Share::of(&row).platform_failed, 1);
}

#[test]
fn an_open_row_counts_nothing() {
    let (node, claim, _) = halves(usage(10, 10), 10, 10);
    assert_eq!(Share::of(&with_claim(None, node, &claim, NOW).unwrap()), Share::default());
}
