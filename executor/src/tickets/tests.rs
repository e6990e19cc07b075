//! What a node takes for a ticket: what was issued for it, in time, by the platform's clock, once.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use protocol::ticket::{IssuerKeys, TicketRoot};
use protocol::{AccountId, Digest, EpochId, FunctionId, Lane, Limits, VersionId};

use super::*;

const DAY_MS: i64 = 86_400_000;

pub(crate) fn ticket(node: NodeId, purpose: Purpose) -> Ticket {
    let now = Timestamp::now();
    Ticket {
        purpose,
        run: RunId::new(),
        node,
        account: AccountId::new(),
        function: FunctionId::new(),
        version: VersionId::new(),
        artifact: Digest::of(b"artifact"),
        lane: Lane::Wasm,
        limits: Limits::default(),
        epoch: EpochId::new(),
        issued: now,
        expires: now.plus(Duration::from_secs(60)),
    }
}

fn root() -> TicketRoot {
    TicketRoot::of(&[1; 32])
}

/// What the issuer of a ticket makes it with.
fn issuer(ticket: &Ticket) -> IssuerKeys {
    root().issuer(ticket.epoch, ticket.issued)
}

fn issued(ticket: &Ticket) -> SignedTicket {
    issuer(ticket).issue(ticket)
}

/// A node whose platform's clock is ahead of its own.
fn book(node: NodeId, ahead_ms: i64) -> Arc<TicketBook> {
    let book = Arc::new(TicketBook::new(node));
    let now = Timestamp::now();
    let platform_now = Timestamp(now.0 + ahead_ms);
    book.learn(root().node_keys(node, platform_now), platform_now, now);
    book
}

fn check(book: &TicketBook, signed: &SignedTicket) -> Result<Ticket, Invalid> {
    let mut headers = HeaderMap::new();
    headers.insert(headers::TICKET, signed.0.parse().unwrap());
    book.check(&headers, Purpose::Run, Timestamp::now()).map(|(_, ticket)| ticket)
}

fn refusal(book: &TicketBook, ticket: &Ticket) -> TicketError {
    match check(book, &issued(ticket)) {
        Err(Invalid::Ticket(error)) => error,
        other => panic!("it is taken, or refused for something else: {other:?}"),
    }
}

#[test]
fn only_a_genuine_ticket_for_this_node_and_purpose_is_taken() {
    let node = NodeId::new();
    let book = book(node, 0);
    let good = ticket(node, Purpose::Run);
    assert_eq!(check(&book, &issued(&good)), Ok(good.clone()));
    let foreign = TicketRoot::of(&[2; 32]).issuer(good.epoch, good.issued).issue(&good);
    assert_eq!(check(&book, &foreign), Err(TicketError::Mac.into()));
    assert_eq!(check(&book, &SignedTicket("no ticket".to_owned())), Err(TicketError::Malformed.into()));
    assert_eq!(refusal(&book, &ticket(NodeId::new(), Purpose::Run)), TicketError::WrongNode);
    assert_eq!(refusal(&book, &ticket(node, Purpose::Prepare)), TicketError::WrongPurpose);
    assert_eq!(book.check(&HeaderMap::new(), Purpose::Run, Timestamp::now()).unwrap_err(), Invalid::Missing);
    let greeted_by_nobody = TicketBook::new(node);
    assert_eq!(check(&greeted_by_nobody, &issued(&good)), Err(TicketError::WrongDay.into()));
}

#[test]
fn f35_a_ticket_of_a_later_release() {
    let node = NodeId::new();
    let ticket = ticket(node, Purpose::Run);
    let book = book(node, 0);
    let keys = root().node_keys(node, ticket.issued);
    let (mine, day) = (URL_SAFE_NO_PAD.decode(issued(&ticket).0).unwrap(), protocol::ticket::Day::of(ticket.issued));
    let key = &keys.keys[usize::from(day != keys.first)];
    // The node asks for no more than its own MAC.
    let with = |field: &[u8]| {
        let mut bytes = [&mine[..mine.len() - 32], field, &[0_u8; 16][..]].concat();
        let mac = blake3::keyed_hash(&key.0, &bytes);
        bytes.extend_from_slice(&mac.as_bytes()[..16]);
        SignedTicket(URL_SAFE_NO_PAD.encode(bytes))
    };
    assert_eq!(check(&book, &with(b"\x28\x01\x02")), Ok(ticket));
    let refused = check(&book, &with(b"\xa8\x01\x02")).unwrap_err();
    assert_eq!(refused, TicketError::NotUnderstood.into());
    assert!(refused.to_string().starts_with("not_understood"), "the busy reason names the code");
}

#[test]
fn expiry_is_by_the_platforms_clock() {
    let node = NodeId::new();
    let ticket = ticket(node, Purpose::Run);
    assert!(check(&book(node, 30_000), &issued(&ticket)).is_ok());
    assert_eq!(refusal(&book(node, 61_000), &ticket), TicketError::Expired);
    let too_early = -i64::try_from(LIFE_MAX.as_millis()).unwrap();
    assert_eq!(refusal(&book(node, too_early), &ticket), TicketError::Expired, "it would live for too long");
}

/// A node whose clock is wrong by any time takes what is issued now, and nothing that was issued by its own clock.
#[test]
fn a_clock_that_is_wrong_by_days_does_not_matter() {
    let node = NodeId::new();
    for ahead_ms in [-400 * DAY_MS, -DAY_MS, DAY_MS, 3 * DAY_MS] {
        let book = book(node, ahead_ms);
        let own = ticket(node, Purpose::Run);
        let at = |time: Timestamp| Timestamp(time.0 + ahead_ms);
        let now = Ticket { issued: at(own.issued), expires: at(own.expires), ..own.clone() };
        assert_eq!(check(&book, &issued(&now)), Ok(now), "{ahead_ms}");
        assert!(check(&book, &issued(&own)).unwrap_err().may_be_ours(), "{ahead_ms}: it asks again");
    }
}

#[test]
fn a_key_is_over_with_its_days() {
    let node = NodeId::new();
    let book = book(node, 0);
    let good = ticket(node, Purpose::Run);
    let early = issued(&good);
    assert!(check(&book, &early).is_ok());
    // The same moment, by a platform that counts another day: only the keys change.
    let now = Timestamp::now();
    book.learn(root().node_keys(node, Timestamp(now.0 + 2 * DAY_MS)), now, now);
    assert_eq!(check(&book, &early), Err(TicketError::WrongDay.into()));
    let later = root().issuer(good.epoch, Timestamp(now.0 + 2 * DAY_MS)).issue(&good);
    assert_eq!(check(&book, &later), Ok(good));
}

#[test]
fn a_ticket_permits_one_run() {
    let book = book(NodeId::new(), 0);
    let ticket = ticket(NodeId::new(), Purpose::Run);
    book.spend(&ticket, Timestamp::now()).unwrap().begin();
    assert_eq!(book.spend(&ticket, Timestamp::now()).err(), Some(Invalid::Used));
}

#[test]
fn a05_a_ticket_whose_run_never_began_is_good_again() {
    let book = book(NodeId::new(), 0);
    let ticket = ticket(NodeId::new(), Purpose::Run);
    let revoked = book.spend(&ticket, Timestamp::now()).unwrap();
    assert_eq!(book.spend(&ticket, Timestamp::now()).err(), Some(Invalid::Used), "while it is held");
    drop(revoked);
    book.spend(&ticket, Timestamp::now()).unwrap().begin();
    assert_eq!(book.spend(&ticket, Timestamp::now()).err(), Some(Invalid::Used));
}

#[test]
fn used_tickets_are_forgotten_once_expired() {
    let book = book(NodeId::new(), 0);
    let later = Timestamp::now().plus(Duration::from_secs(120));
    for _ in 0..1024 {
        book.spend(&ticket(NodeId::new(), Purpose::Run), Timestamp::now()).unwrap().begin();
    }
    book.spend(&ticket(NodeId::new(), Purpose::Run), later).unwrap().begin();
    assert_eq!(book.used.lock().len(), 1);
}

/// What is done to a good ticket.
#[derive(Debug, Clone)]
enum Wrong {
    Replayed,
    Foreign,
    Expired(i64),
    NotYet(i64),
    Truncated(prop::sample::Index),
    Flipped(prop::sample::Index),
    OtherPurpose,
    OtherRoot(u8),
    OtherDay(i64),
}

fn any_wrong() -> impl Strategy<Value = Wrong> {
    prop_oneof![
        Just(Wrong::Replayed),
        Just(Wrong::Foreign),
        (1_i64..1 << 45).prop_map(Wrong::Expired),
        (1_i64..1 << 45).prop_map(Wrong::NotYet),
        any::<prop::sample::Index>().prop_map(Wrong::Truncated),
        any::<prop::sample::Index>().prop_map(Wrong::Flipped),
        Just(Wrong::OtherPurpose),
        (2_u8..).prop_map(Wrong::OtherRoot),
        prop_oneof![2_i64..1000, -1000_i64..-1].prop_map(Wrong::OtherDay),
    ]
}

proptest! {
    #[test]
    fn nothing_but_a_good_ticket_begins_a_run(wrong in any_wrong(), ahead_ms in -(1_i64 << 40)..1 << 40) {
        let node = NodeId::new();
        let (book, now) = (book(node, ahead_ms), Timestamp::now());
        let at = |ms: i64| Timestamp(now.0 + ahead_ms + ms);
        // Far from both ends, so that this test may be slow.
        let good = Ticket { issued: at(-200_000), expires: at(300_000), ..ticket(node, Purpose::Run) };
        let signed = issued(&good);
        let flip = |bit: prop::sample::Index| {
            let mut bytes = URL_SAFE_NO_PAD.decode(&signed.0).unwrap();
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            SignedTicket(URL_SAFE_NO_PAD.encode(bytes))
        };
        let life = |issued: i64, expires: i64| Ticket { issued: at(issued), expires: at(expires), ..good.clone() };
        let bad = match wrong {
            Wrong::Replayed => {
                let first = check(&book, &signed).unwrap();
                book.spend(&first, now).unwrap().begin();
                let again = check(&book, &signed).unwrap();
                prop_assert_eq!(book.spend(&again, now).err(), Some(Invalid::Used));
                return Ok(());
            }
            Wrong::Foreign => issued(&Ticket { node: NodeId::new(), ..good.clone() }),
            Wrong::Expired(ago) => issued(&life(-ago - 100_000, -ago)),
            Wrong::NotYet(later) => issued(&life(later, later + 700_000)),
            Wrong::Truncated(length) => SignedTicket(signed.0[..length.index(signed.0.len())].to_owned()),
            Wrong::Flipped(bit) => flip(bit),
            Wrong::OtherPurpose => issued(&Ticket { purpose: Purpose::Prepare, ..good.clone() }),
            Wrong::OtherRoot(root) => TicketRoot::of(&[root; 32]).issuer(good.epoch, good.issued).issue(&good),
            Wrong::OtherDay(days) => root().issuer(good.epoch, at(days * DAY_MS)).issue(&good),
        };
        prop_assert!(matches!(check(&book, &bad), Err(Invalid::Ticket(_))));
        prop_assert_eq!(check(&book, &signed), Ok(good), "the good one is taken all the same");
    }
}
