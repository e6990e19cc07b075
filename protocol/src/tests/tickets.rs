//! Tickets: what an issuer made is taken by the node and by the core, and nothing else is.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::sample::{self, NOW, uuid};
use crate::ticket::{
    Day, IssuerKeys, NodeKey, PayKey, Purpose, RunTicket, SignedTicket, Ticket, TicketError, TicketRoot, TwoDays,
};
use crate::{AccountId, ByteSize, EpochId, Lane, Limits, Millis, NodeId, Timestamp};

const MACS_BYTES: usize = 32;
const HOUR_MS: i64 = 3_600_000;

fn root() -> TicketRoot {
    TicketRoot::of(&[1; 32])
}

fn issuer() -> IssuerKeys {
    root().issuer(sample::ticket().epoch, NOW)
}

fn node_keys() -> TwoDays<NodeKey> {
    root().node_keys(sample::ticket().node, NOW)
}

fn by_node(signed: &SignedTicket) -> Result<Ticket, TicketError> {
    node_keys().check(sample::ticket().node, signed)
}

fn by_core(signed: &SignedTicket) -> Result<Ticket, TicketError> {
    root().check(signed)
}

fn bytes(signed: &SignedTicket) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(&signed.0).unwrap()
}

fn text(bytes: &[u8]) -> SignedTicket {
    SignedTicket(URL_SAFE_NO_PAD.encode(bytes))
}

/// The sample with other bytes, and MACs of these keys: written here as the form says it.
fn remade(change: impl FnOnce(&mut Vec<u8>), pay: &PayKey, node: &NodeKey) -> SignedTicket {
    let mut bytes = bytes(&issuer().issue(&sample::ticket()));
    bytes.truncate(bytes.len() - MACS_BYTES);
    change(&mut bytes);
    for key in [&pay.0, &node.0] {
        let mac = blake3::keyed_hash(key, &bytes);
        bytes.extend_from_slice(&mac.as_bytes()[..16]);
    }
    text(&bytes)
}

/// What the issuer of the sample would have made.
fn issued(change: impl FnOnce(&mut Vec<u8>)) -> SignedTicket {
    remade(change, &issuer().pay, &node_keys().keys[1])
}

/// What is done to a ticket's bytes.
type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

/// The form with five limits was written by another program, from its description; these bytes have the sixth.
#[test]
fn a_ticket_is_as_committed() {
    let signed = issuer().issue(&sample::ticket());
    assert_eq!(signed.0, include_str!("golden/signed_ticket_v2.txt").trim_end());
    assert_eq!((by_node(&signed), by_core(&signed)), (Ok(sample::ticket()), Ok(sample::ticket())));
    assert_eq!(issued(|_| {}), signed);
    assert!(signed.0.len() <= 280, "it travels with each call");
}

#[test]
fn an_issuer_says_what_it_knows_itself() {
    let ticket = sample::ticket();
    let Ticket { run, node, lane, account, function, version, artifact, limits, .. } = ticket;
    let of = RunTicket { run, node, lane, account, function, version, artifact, limits };
    let signed = issuer().run(of, NOW, Duration::from_secs(30));
    assert_eq!(by_core(&signed), Ok(ticket));
}

#[test]
fn the_first_form_is_refused_and_says_why() {
    let old = SignedTicket(include_str!("golden/signed_ticket_v1.txt").trim_end().to_owned());
    let first = issued(|bytes| bytes[0] = 1);
    for old in [old, first, SignedTicket("body.signature".to_owned())] {
        assert_eq!((by_node(&old), by_core(&old)), (Err(TicketError::OldForm), Err(TicketError::OldForm)));
    }
    assert!(TicketError::OldForm.to_string().contains("earlier release"));
}

#[test]
fn f35_a_ticket_of_a_later_release() {
    // A field that one can do without, with any value, and the same field where one cannot.
    let may = issued(|bytes| bytes.extend_from_slice(b"\x28\x03gpu"));
    let many = issued(|bytes| bytes.extend_from_slice(b"\x28\x00\x29\x01\x01\x7f\x0512345"));
    let must = issued(|bytes| bytes.extend_from_slice(b"\xa8\x01\x02"));
    for later in [may, many] {
        assert_eq!((by_node(&later), by_core(&later)), (Ok(sample::ticket()), Ok(sample::ticket())));
    }
    let later = [must, issued(|bytes| bytes[0] = 3), issued(|bytes| bytes[1] = 2), issued(|bytes| bytes[2] = 2)];
    for later in later {
        let not_understood = Err(TicketError::NotUnderstood);
        assert_eq!((by_node(&later), by_core(&later)), (not_understood.clone(), not_understood));
    }
    assert!(TicketError::NotUnderstood.to_string().starts_with("not_understood"), "the busy reason names the code");
}

#[test]
fn fields_that_are_missing_twice_or_torn_are_no_ticket() {
    let fields = bytes(&issuer().issue(&sample::ticket())).split_off(145);
    let fields = &fields[..fields.len() - MACS_BYTES];
    let bad: [Change<'_>; 5] = [
        &|bytes| bytes.truncate(145),
        &|bytes| bytes.truncate(bytes.len() - 3),
        &|bytes| bytes.extend_from_slice(fields),
        &|bytes| bytes.extend_from_slice(b"\x28\x03gp"),
        &|bytes| bytes.extend_from_slice(b"\x28"),
    ];
    for change in bad {
        let torn = issued(change);
        assert_eq!((by_node(&torn), by_core(&torn)), (Err(TicketError::Malformed), Err(TicketError::Malformed)));
    }
    let field = [vec![0x28, 200], vec![0; 200]].concat();
    let huge = issued(|bytes| (0..16).for_each(|_| bytes.extend_from_slice(&field)));
    assert_eq!(by_core(&huge), Err(TicketError::Malformed));
}

/// Its own key opens nothing but itself.
#[test]
fn what_a_node_makes_is_nothing_to_the_core() {
    let own = &node_keys().keys[1];
    let another_account = |bytes: &mut Vec<u8>| bytes[53..69].copy_from_slice(uuid(99).as_bytes());
    // It has no pay key: it takes its own, or what it has seen.
    let made = remade(another_account, &PayKey(own.0), own);
    assert_eq!(by_node(&made).unwrap().account, AccountId::from_uuid(uuid(99)));
    assert_eq!(by_core(&made), Err(TicketError::Mac));
    let mut seen = bytes(&issuer().issue(&sample::ticket()));
    another_account(&mut seen);
    seen.truncate(seen.len() - 16);
    let mac = blake3::keyed_hash(&own.0, &seen);
    seen.extend_from_slice(&mac.as_bytes()[..16]);
    assert!(by_node(&text(&seen)).is_ok());
    assert_eq!(by_core(&text(&seen)), Err(TicketError::Mac));
    // And another node's it cannot make.
    let (other, ticket) = (NodeId::from_uuid(uuid(9)), sample::ticket());
    let for_other = remade(|bytes| bytes[21..37].copy_from_slice(other.uuid().as_bytes()), &issuer().pay, own);
    assert_eq!(root().node_keys(other, NOW).check(other, &for_other), Err(TicketError::Mac));
    assert_eq!(by_core(&for_other), Err(TicketError::Mac));
    assert_eq!(by_node(&issuer().issue(&Ticket { node: other, ..ticket })), Err(TicketError::WrongNode));
}

/// What an issuer leaks is its own epoch.
#[test]
fn an_issuer_speaks_for_its_own_epoch() {
    let other = EpochId::from_uuid(uuid(7));
    let in_its_name = IssuerKeys { epoch: other, ..issuer() }.issue(&sample::ticket());
    assert_eq!(by_core(&in_its_name), Err(TicketError::Mac));
    assert_ne!(root().issuer(other, NOW).pay, issuer().pay);
    let own = issuer().issue(&Ticket { epoch: other, ..sample::ticket() });
    assert_eq!(by_core(&own), Ok(sample::ticket()), "it is of its own epoch, whatever was written");
    let elsewhere = TicketRoot::of(&[2; 32]).issuer(sample::ticket().epoch, NOW).issue(&sample::ticket());
    assert_eq!((by_node(&elsewhere), by_core(&elsewhere)), (Err(TicketError::Mac), Err(TicketError::Mac)));
}

#[test]
fn around_each_midnight_both_days_are_valid() {
    let today = Day::of(NOW);
    let midnight = i64::from(today.0) * 24 * HOUR_MS;
    let at = |hours: i64| Timestamp(midnight + hours * HOUR_MS);
    for (hours, first) in [(-13, today.0 - 2), (-12, today.0 - 1), (0, today.0 - 1), (11, today.0 - 1), (12, today.0)] {
        assert_eq!(root().days(at(hours)).first, Day(first), "{hours} hours after midnight");
    }
    // An issuer and a node that were told up to a day apart, and an issuer's clock that is wrong by more than that.
    let ticket = |hours| Ticket { issued: at(hours), expires: at(hours + 1), ..sample::ticket() };
    let check = |issuer_told, issued, node_told| {
        let signed = root().issuer(sample::ticket().epoch, at(issuer_told)).issue(&ticket(issued));
        assert_eq!(by_core(&signed), Ok(ticket(issued)), "the core takes it whenever it was made");
        root().node_keys(sample::ticket().node, at(node_told)).check(sample::ticket().node, &signed).err()
    };
    for (issuer_told, issued, node_told) in
        [(-1, -1, 1), (1, 1, -1), (-11, 11, -12), (-1, -200, 1), (-1, 200, 1), (-12, 0, 23), (11, 11, 12)]
    {
        assert_eq!(check(issuer_told, issued, node_told), None, "{issuer_told} {issued} {node_told}");
    }
    for (issuer_told, issued, node_told) in [(-13, -13, 12), (12, 36, -1), (1, -1, 12), (48, 48, 0)] {
        assert_eq!(check(issuer_told, issued, node_told), Some(TicketError::WrongDay));
    }
    assert_eq!((Day::of(Timestamp(-1)), Day::of(Timestamp(i64::MAX))), (Day(0), Day(u16::MAX)));
}

#[test]
fn no_log_shows_a_key() {
    let shown = format!("{:?} {:?} {:?}", root(), issuer(), node_keys());
    let days = |key| format!("TwoDays {{ first: Day(20778), keys: [{key}(..), {key}(..)] }}");
    let issuer = format!("IssuerKeys {{ epoch: {}, pay: PayKey(..), days: {} }}", issuer().epoch, days("DayRoot"));
    assert_eq!(shown, format!("TicketRoot(..) {issuer} {}", days("NodeKey")));
}

fn any_limits() -> impl Strategy<Value = Limits> {
    (any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>(), any::<u64>()).prop_map(
        |(memory, timeout, body, concurrency, cpus, egress_bytes)| Limits {
            memory: ByteSize(memory),
            timeout: Millis(timeout),
            body: ByteSize(body),
            concurrency,
            cpus,
            egress_bytes: ByteSize(egress_bytes),
        },
    )
}

/// Neither the node nor the core takes it.
fn refused(signed: &SignedTicket) -> bool {
    by_node(signed).is_err() && by_core(signed).is_err()
}

proptest! {
    #[test]
    fn what_is_issued_is_read(
        limits in any_limits(), prepare: bool, vm: bool, run: u128, issued in 0..1_i64 << 47, lasts in 0..1_i64 << 40
    ) {
        let ticket = Ticket {
            purpose: if prepare { Purpose::Prepare } else { Purpose::Run },
            lane: if vm { Lane::Vm } else { Lane::Wasm },
            run: crate::RunId::from_uuid(uuid::Uuid::from_u128(run)),
            limits,
            issued: Timestamp(issued),
            expires: Timestamp(issued + lasts),
            ..sample::ticket()
        };
        let signed = issuer().issue(&ticket);
        prop_assert_eq!(by_node(&signed), Ok(ticket.clone()));
        prop_assert_eq!(by_core(&signed), Ok(ticket));
    }

    /// What it permits ends with the run's time, is one node's, and is one thing.
    #[test]
    fn a_ticket_permits_its_node_its_purpose_in_its_time(
        late in -1_i64 << 40..1_i64 << 40, foreign: bool, prepare: bool, asked_to_prepare: bool
    ) {
        let purpose = |prepare| if prepare { Purpose::Prepare } else { Purpose::Run };
        let ticket = Ticket { purpose: purpose(prepare), ..sample::ticket() };
        let read = by_core(&issuer().issue(&ticket)).unwrap();
        let node = if foreign { NodeId::from_uuid(uuid(9)) } else { ticket.node };
        let now = Timestamp(ticket.ends().0 + late);
        let good = !foreign && late <= 0 && prepare == asked_to_prepare;
        prop_assert_eq!(read.permits(node, &[purpose(asked_to_prepare)], now).is_ok(), good);
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed(bits in prop::collection::vec(any::<prop::sample::Index>(), 1..4)) {
        let good = bytes(&issuer().issue(&sample::ticket()));
        let mut bad = good.clone();
        for bit in bits {
            let bit = bit.index(bad.len() * 8);
            bad[bit / 8] ^= 1 << (bit % 8);
        }
        prop_assume!(bad != good);
        prop_assert!(refused(&text(&bad)));
    }

    #[test]
    fn no_other_character_goes_unnoticed(place: prop::sample::Index, byte in 32..127_u8) {
        let mut text = issuer().issue(&sample::ticket()).0.into_bytes();
        let place = place.index(text.len());
        prop_assume!(text[place] != byte);
        text[place] = byte;
        prop_assert!(refused(&SignedTicket(String::from_utf8(text).unwrap())));
    }

    #[test]
    fn nothing_is_cut_off_or_added(length: prop::sample::Index, more in prop::collection::vec(any::<u8>(), 1..50)) {
        let mut bytes = bytes(&issuer().issue(&sample::ticket()));
        let cut = &bytes[..length.index(bytes.len())];
        prop_assert!(refused(&text(cut)));
        bytes.extend(more);
        prop_assert!(refused(&text(&bytes)));
    }

    #[test]
    fn any_bytes_are_refused_calmly(noise in prop::collection::vec(any::<u8>(), 0..300), words: String) {
        prop_assert!(refused(&text(&noise)) && refused(&SignedTicket(words)));
        // Where the MACs are right, the fields may still be anything.
        let signed = issued(|bytes| {
            bytes.truncate(145);
            bytes.extend_from_slice(&noise);
        });
        prop_assert_eq!(by_node(&signed), by_core(&signed));
    }
}
