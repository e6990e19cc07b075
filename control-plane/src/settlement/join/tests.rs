//! Halves in any order give the same row.

use proptest::prelude::*;
use protocol::receipt::RunEnd;
use protocol::ticket::{Purpose, SignedTicket};
use protocol::{
    AccountId, ByteSize, Digest, EpochId, FunctionId, InstanceId, Lane, Millis, RunId, RunPrincipal, Total, VersionId,
};

use super::*;
use crate::usage::Share;

fn halves(claimed: Usage, seen_wall_us: u64, seen_out: u64) -> (NodeId, Claim, Observation) {
    let (run, node, account) = (RunId::new(), NodeId::new(), AccountId::new());
    let (function, version, gateway) = (FunctionId::new(), VersionId::new(), InstanceId::new());
    let limits = Limits { timeout: Millis(1000), memory: ByteSize::mib(64), ..Limits::default() };
    let ticket = Ticket {
        purpose: Purpose::Run,
        run,
        node,
        account,
        function,
        version,
        artifact: Digest([0; 32]),
        lane: Lane::Wasm,
        limits,
        epoch: EpochId::new(),
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
        gateway,
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
        limits: Some(limits),
        source: Some(RunSource::Call),
        principal: Some(RunPrincipal::Public),
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
        egress_bytes: ByteSize(1000),
    }
}

const NOW: Timestamp = Timestamp(99_000);

/// Both halves, in this order and again.
fn joined(node: NodeId, claim: &Claim, seen: &Observation, claim_first: &[bool]) -> runs::Model {
    let mut row: Option<runs::Model> = None;
    for claim_first in claim_first.iter().copied().chain([true, false]) {
        let next = match claim_first {
            true => with_claim(row.as_ref(), node, claim, NOW),
            false => with_observation(row.as_ref(), seen, NOW),
        };
        row = next.or(row);
    }
    row.unwrap()
}

fn any_usage() -> impl Strategy<Value = Usage> {
    let figure = || prop_oneof![0_u64..3_000_000, any::<u64>(), Just(u64::MAX)];
    (figure(), figure(), figure(), figure(), figure(), figure(), proptest::option::of(figure())).prop_map(
        |(wall_us, cpu_us, memory, bytes_in, bytes_out, egress, fuel)| Usage {
            wall_us,
            cpu_us,
            fuel,
            memory_peak: ByteSize(memory),
            bytes_in: ByteSize(bytes_in),
            bytes_out: ByteSize(bytes_out),
            egress_bytes: ByteSize(egress),
        },
    )
}

fn possible(usage: &Usage, wall_us: u64, bytes: (u64, u64)) {
    assert!(usage.wall_us <= wall_us.min(1_000_000), "{usage:?}");
    assert!(usage.cpu_us <= usage.wall_us, "{usage:?}");
    assert!(usage.fuel.unwrap_or(0) <= usage.cpu_us.saturating_mul(100_000), "{usage:?}");
    assert!(usage.memory_peak <= ByteSize::mib(64), "{usage:?}");
    let most = Limits::default().body.0;
    assert!(usage.bytes_in.0 <= bytes.0.min(most) && usage.bytes_out.0 <= bytes.1.min(most), "{usage:?}");
    assert!(usage.egress_bytes <= Limits::default().egress_bytes, "{usage:?}");
}

proptest! {
    /// Whatever a node says, in its `end`, in its receipt or in both, in any order and however often: the row is the same,
    /// and nothing impossible is in it, before and after the other half has come.
    #[test]
    fn a01_only_what_is_possible_is_kept(
        receipt in any_usage(),
        end in proptest::option::of(any_usage()),
        seen in 0_u64..5_000_000,
        order in proptest::collection::vec(any::<bool>(), 0..8),
    ) {
        let (node, mut claim, mut observation) = halves(receipt, seen, 20);
        claim.receipt.started = Timestamp(i64::MAX);
        observation.end = end.map(|usage| RunEnd { usage, ..claim.receipt.end.clone() });
        let claimed_alone = with_claim(None, node, &claim, NOW).unwrap();
        let seen_alone = with_observation(None, &observation, NOW).unwrap();
        prop_assert!(claimed_alone.received.0 <= claim.ticket.expires);
        possible(&claimed_alone.claimed.unwrap().0, u64::MAX, (u64::MAX, u64::MAX));
        possible(&give_up(claimed_alone).billed.0, u64::MAX, (u64::MAX, u64::MAX));
        possible(&give_up(seen_alone).billed.0, seen, (5, 20));
        let row = joined(node, &claim, &observation, &order);
        prop_assert!(row.settled && row.ended.is_none());
        possible(&row.billed.0, seen, (5, 20));
        for first in [true, false] {
            let other = joined(node, &claim, &observation, &[first]);
            prop_assert_eq!((&other.billed, &other.flag, &other.claimed), (&row.billed, &row.flag, &row.claimed));
        }
        if let (None, Some(end)) = (&row.flag, end) {
            let bounds = Bounds::of(&claim.ticket.limits).seen(seen, ByteSize(5), ByteSize(20));
            prop_assert!(bounds.clamp(end).agrees(&bounds.clamp(receipt)), "two words, and no flag");
        }
    }

    #[test]
    fn either_order_any_repeats(wall in 0_u64..900_000, out in 0_u64..1 << 24, seen in 0_u64..900_000, seen_out in 0_u64..1 << 24, order in proptest::collection::vec(any::<bool>(), 2..12)) {
        let (node, claim, observation) = halves(usage(wall, out), seen, seen_out);
        let row = joined(node, &claim, &observation, &order);
        prop_assert!(row.settled);
        let over = out > seen_out || wall > seen + seen / 10 + 100_000;
        prop_assert_eq!(row.flag.map(|flag| flag.0), over.then_some(Flag::OverClaimed));
        prop_assert_eq!(row.billed.wall_us, wall.min(seen));
        prop_assert_eq!(row.billed.bytes_out.0, out.min(seen_out));
        prop_assert_eq!(row.received.0, Timestamp(60_500), "the gateway's time");
        prop_assert_eq!((row.source, row.principal), (Some(Col(RunSource::Call)), Some(Col(RunPrincipal::Public))));
        prop_assert_eq!(row.status, 200);
    }

    /// Claims of two nodes, the gateway's half and the end of patience, in any order and however often: the sums are those
    /// of the row, the run counts once, and once it is settled its bill never grows.
    #[test]
    fn whatever_comes_a_run_counts_once(steps in proptest::collection::vec(0_u8..4, 1..16)) {
        let (node, claim, seen) = halves(usage(50_000, 10), 60_000, 10);
        let other = NodeId::new();
        let mut foreign = claim.clone();
        foreign.ticket.node = other;
        foreign.receipt.end.usage = usage(900_000, 1000);
        let figures_of = |row: Option<&runs::Model>| row.map(Share::of).unwrap_or_default().figures().map(|sum| sum.0);
        let (mut row, mut sums) = (None::<runs::Model>, figures_of(None));
        for step in steps {
            let next = match step {
                0 => with_claim(row.as_ref(), node, &claim, NOW),
                1 => with_claim(row.as_ref(), other, &foreign, NOW),
                2 => with_observation(row.as_ref(), &seen, NOW),
                _ => row.clone().filter(|row| !row.settled).map(give_up),
            };
            let Some(next) = next else { continue };
            if let Some(before) = row.as_ref().filter(|before| before.settled) {
                prop_assert!(next.settled && next.billed.wall_us <= before.billed.wall_us);
                prop_assert!(next.billed.bytes_out <= before.billed.bytes_out);
            }
            let changes = figures_of(row.as_ref()).into_iter().zip(figures_of(Some(&next)));
            sums.iter_mut().zip(changes).for_each(|(sum, (was, is))| *sum += is - was);
            row = Some(next);
        }
        prop_assert!(sums[0] <= 1, "{} runs", sums[0]);
        prop_assert_eq!(sums, figures_of(row.as_ref()));
    }

    /// Sums stop where they end.
    #[test]
    fn a01_sums_never_wrap(parts in proptest::collection::vec(any::<u64>(), 0..10)) {
        let sum = parts.iter().fold(Total(0), |sum, part| sum.plus(Total::from(*part)));
        let exact: u128 = parts.iter().map(|part| u128::from(*part).min(i64::MAX as u128)).sum();
        prop_assert_eq!(u128::try_from(sum.0).unwrap(), exact.min(i64::MAX as u128));
    }
}

/// The attack: below any amount of wall time, the receipt says 50 times the CPU and 128 times the memory of the `end`.
#[test]
fn a09_two_words_of_one_node_must_agree() {
    let honest = Usage { cpu_us: 400, memory_peak: ByteSize::kib(64), ..usage(30_000, 10) };
    let lies = [
        Usage { cpu_us: 20_000, memory_peak: ByteSize::mib(8), ..honest },
        Usage { cpu_us: 420, ..honest },
        Usage { memory_peak: ByteSize::kib(65), ..honest },
        Usage { wall_us: 31_000, ..honest },
        Usage { bytes_in: ByteSize(4), ..honest },
        Usage { fuel: Some(1000), ..honest },
        Usage { egress_bytes: ByteSize(1011), ..honest },
    ];
    for lie in lies {
        for (receipt, end) in [(lie, honest), (honest, lie)] {
            let (node, claim, mut seen) = halves(receipt, 40_000, 10);
            seen.end = Some(RunEnd { usage: end, ..claim.receipt.end.clone() });
            for first in [true, false] {
                let row = joined(node, &claim, &seen, &[first]);
                assert_eq!(row.flag.map(|flag| flag.0), Some(Flag::Contradicted), "{receipt:?} {end:?}");
                assert_eq!(row.billed.0, receipt.lesser(end), "the lesser of both");
            }
        }
    }
    let close = Usage { cpu_us: 404, ..honest };
    let (node, mut claim, mut seen) = halves(close, 40_000, 10);
    seen.end = Some(RunEnd { usage: honest, ..claim.receipt.end.clone() });
    let row = joined(node, &claim, &seen, &[true]);
    assert_eq!((row.flag.map(|flag| flag.0), row.billed.cpu_us), (None, 400), "up to a hundredth");
    // A gateway of an earlier release passes on no figure that it does not know: nobody has lied, and nobody pays for it.
    seen.end.as_mut().unwrap().usage.egress_bytes = ByteSize(0);
    let row = joined(node, &claim, &seen, &[true]);
    assert_eq!((row.flag.map(|flag| flag.0), row.billed.egress_bytes), (None, ByteSize(0)));
    claim.receipt.end.outcome = Outcome::Failed;
    for first in [true, false] {
        let flag = joined(node, &claim, &seen, &[first]).flag;
        assert_eq!(flag.map(|flag| flag.0), Some(Flag::Contradicted), "how it ended is a word, too");
    }
    let (node, claim, mut seen) = halves(honest, 40_000, 10);
    seen.end = None;
    for first in [true, false] {
        assert_eq!(
            joined(node, &claim, &seen, &[first]).flag.map(|flag| flag.0),
            Some(Flag::NoEnd),
            "there is one word only"
        );
    }
}

#[test]
fn a08_a_late_half_changes_nothing_in_the_nodes_favour() {
    // The receipt is late: it is void.
    let (node, claim, mut seen) = halves(usage(50_000, 10), 60_000, 10);
    seen.end.as_mut().unwrap().usage = Usage { memory_peak: ByteSize::mib(1), ..usage(50_000, 10) };
    let settled = give_up(with_observation(None, &seen, NOW).unwrap());
    assert_eq!(
        (settled.flag.map(|flag| flag.0), settled.billed.memory_peak),
        (Some(Flag::NoReceipt), ByteSize::mib(1))
    );
    assert!(with_claim(Some(&settled), node, &claim, NOW).is_none());

    // The gateway's half is late: what is billed becomes less, or stays; the flag stays.
    let claimed = give_up(with_claim(None, node, &claim, NOW).unwrap());
    for (wall_us, outcome, billed_us) in [
        (20_000, Outcome::Succeeded, 20_000),
        (900_000, Outcome::Succeeded, 50_000),
        (900_000, Outcome::PlatformFailed, 0),
    ] {
        let late = Observation { wall_us, outcome, ..seen.clone() };
        let row = with_observation(Some(&claimed), &late, NOW).unwrap();
        assert_eq!((row.flag.map(|flag| flag.0), row.settled), (Some(Flag::NoObservation), true));
        assert_eq!((row.billed.wall_us, row.status), (billed_us, 200));
        assert!(with_claim(Some(&row), node, &claim, NOW).is_none());
        assert!(with_observation(Some(&row), &seen, NOW).is_none());
    }
    // Another node did it: what was billed for this one does not grow for that one.
    let other = Observation { node: Some(NodeId::new()), wall_us: 900_000, ..seen };
    let row = with_observation(Some(&claimed), &other, NOW).unwrap();
    assert!(row.settled && row.claimed.is_none() && row.billed.wall_us <= 50_000);
}

#[test]
fn a08_what_broke_off_before_it_began_is_nobodys_fault() {
    // The caller broke it off, and the node that was asked has not said a word.
    let (node, claim, seen) = halves(usage(50_000, 10), 60_000, 10);
    let silent = Observation { outcome: Outcome::Cancelled, end: None, status: 400, ..seen.clone() };
    let row = give_up(with_observation(None, &silent, NOW).unwrap());
    assert_eq!((row.flag.map(|flag| flag.0), row.settled, row.billed.0), (None, true, Usage::default()));
    assert_eq!((Share::of(&row).flagged, Share::of(&row).cancelled), (Total(0), Total(1)));
    // A node that began it has said so: it owes its receipt.
    let begun = Observation { outcome: Outcome::Cancelled, ..seen.clone() };
    let row = give_up(with_observation(None, &begun, NOW).unwrap());
    assert_eq!(row.flag.map(|flag| flag.0), Some(Flag::NoReceipt));
    // So does one that was called to the end, and one whose receipt is there is paid.
    for outcome in [Outcome::Succeeded, Outcome::Failed, Outcome::TimedOut, Outcome::PlatformFailed] {
        let row = give_up(with_observation(None, &Observation { outcome, end: None, ..seen.clone() }, NOW).unwrap());
        assert_eq!(row.flag.map(|flag| flag.0), Some(Flag::NoReceipt), "{outcome:?}");
    }
    let paid = joined(node, &claim, &silent, &[true]);
    assert!(paid.settled && paid.flag.is_none() && paid.billed.wall_us > 0, "{paid:?}");
}

#[test]
fn without_the_gateway_the_limits_hold() {
    let (node, claim, _) = halves(usage(50_000_000, 1 << 50), 0, 0);
    let row = give_up(with_claim(None, node, &claim, NOW).unwrap());
    assert_eq!(row.flag.map(|flag| flag.0), Some(Flag::NoObservation));
    assert_eq!(row.billed.wall_us, 1_000_000);
    assert_eq!(row.billed.cpu_us, 1_000_000);
    assert_eq!(row.billed.bytes_out, Limits::default().body);
    assert_eq!(Share::of(&row).flagged, Total(1));
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

/// A node that was asked before has a ticket, too, and its claim is there first: that of the node which did the run is as
/// good as if it had come alone.
#[test]
fn whoever_claims_first_does_not_displace_the_others() {
    let (node, claim, seen) = halves(usage(10_000, 10), 12_000, 10);
    let alone = with_observation(with_claim(None, node, &claim, NOW).as_ref(), &seen, NOW).unwrap();
    let of = |node: NodeId| {
        let mut claim = claim.clone();
        claim.ticket.node = node;
        claim.receipt.end.usage = usage(900_000, 1000);
        claim
    };
    let add = |row: &runs::Model, node, claim: &Claim| with_claim(Some(row), node, claim, NOW);
    let thief = NodeId::new();
    let first = with_claim(None, thief, &of(thief), NOW).unwrap();
    let both = add(&first, node, &claim).unwrap();
    assert!(!both.settled && Share::of(&both) == Share::default());
    assert!(add(&both, node, &claim).is_none() && add(&both, thief, &of(thief)).is_none(), "each once");
    let row = with_observation(Some(&both), &seen, NOW).unwrap();
    assert_eq!(row, alone);
    assert!(row.settled && row.flag.is_none() && row.rivals.is_none());
    // Of another one than all of them; and of none.
    let other = Observation { node: Some(NodeId::new()), ..seen.clone() };
    let row = with_observation(Some(&both), &other, NOW).unwrap();
    assert!(!row.settled && row.claimed.is_none() && row.rivals.is_none());
    let row = give_up(both.clone());
    assert!(row.settled && row.rivals.is_none() && row.node_id == Some(Col(thief)));
    // They are bounded.
    let mut row = both;
    for _ in 0..2 * RIVALS_MAX {
        let further = NodeId::new();
        row = add(&row, further, &of(further)).unwrap_or(row);
    }
    assert_eq!(row.rivals.map(|rivals| rivals.len()), Some(RIVALS_MAX));
}

#[test]
fn what_reached_no_node_is_settled_at_once_and_free() {
    let (_, _, mut seen) = halves(usage(10, 10), 10, 10);
    (seen.node, seen.end) = (None, None);
    for outcome in [Outcome::PlatformFailed, Outcome::Cancelled] {
        seen.outcome = outcome;
        let row = with_observation(None, &seen, NOW).unwrap();
        assert!(row.settled && row.flag.is_none(), "{outcome:?}");
        assert_eq!(row.billed.0, Usage::default(), "{outcome:?}");
    }
    seen.outcome = Outcome::PlatformFailed;
    assert_eq!(Share::of(&with_observation(None, &seen, NOW).unwrap()).platform_failed, Total(1));
}

#[test]
fn an_open_row_counts_nothing() {
    let (node, claim, _) = halves(usage(10, 10), 10, 10);
    assert_eq!(Share::of(&with_claim(None, node, &claim, NOW).unwrap()), Share::default());
}

/// HTTP has no place for some bodies that functions send: the gateway passes nothing on, and the node has not lied.
#[test]
fn a_body_that_no_response_has_is_not_over_claimed() {
    let row = |method: &str, status: u16, claimed: Usage| {
        let (node, claim, mut seen) = halves(claimed, 60_000, 0);
        (seen.method, seen.status) = (method.to_owned(), status);
        joined(node, &claim, &seen, &[true])
    };
    let sent = usage(50_000, 5_000);
    for (method, status) in [("HEAD", 200), ("HEAD", 404), ("GET", 204), ("POST", 205), ("GET", 304), ("HEAD", 304)] {
        let row = row(method, status, sent);
        assert_eq!((row.flag, row.billed.bytes_out), (None, ByteSize(0)), "{method} {status}");
    }
    for (method, status) in [("GET", 200), ("POST", 201), ("GET", 206), ("OPTIONS", 200), ("GET", 404)] {
        assert_eq!(row(method, status, sent).flag, Some(Col(Flag::OverClaimed)), "{method} {status}");
    }
    // The other figures of such a run are compared as ever.
    let more_in = Usage { bytes_in: ByteSize(6), ..sent };
    let longer = Usage { wall_us: 900_000, ..sent };
    for lie in [more_in, longer] {
        assert_eq!(row("HEAD", 200, lie).flag, Some(Col(Flag::OverClaimed)), "{lie:?}");
    }
}

#[test]
fn statuses_have_three_digits() {
    for (seen, kept) in [(0, 0), (42, 0), (100, 100), (999, 999), (1000, 999), (u16::MAX, 999)] {
        assert_eq!(status(seen), kept);
    }
}
