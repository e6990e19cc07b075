//! Headers hold each other.

use std::time::Duration;

use proptest::prelude::*;
use protocol::{AccountId, RunId, Timestamp};
use uuid::Uuid;

use super::sample::{NOW, SALT, account, any_runs, bare, blocks, full, sealed};
use crate::{Error, Header, Month, Run, Salt, Totals, seal};

const EARLIER: Timestamp = Timestamp(NOW.0 - 1000);

/// Blocks of one run each, sealed at these times.
fn at(times: &[Timestamp]) -> Vec<Header> {
    let mut previous: Option<String> = None;
    let mut headers = Vec::new();
    for (number, now) in (0..).zip(times) {
        let block = seal(account(), SALT, previous.as_deref(), *now, vec![full(number)]).unwrap();
        previous = Some(block.text);
        headers.push(block.header);
    }
    headers
}

fn is_broken(result: Result<(), Error>, number: u64, wanted: &str) -> bool {
    matches!(result, Err(Error::Chain { block, why }) if block == number && why.contains(wanted))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_block_follows_the_one_before_and_no_other(all in proptest::collection::vec(any_runs(50, 8), 2..6)) {
        let blocks = blocks(all);
        for (index, block) in blocks.iter().enumerate() {
            for (other, before) in blocks.iter().enumerate() {
                prop_assert_eq!(block.header.follows(&before.text).is_ok(), other + 1 == index);
            }
            prop_assert_eq!(block.header.number, u64::try_from(index).unwrap() + 1);
            prop_assert_eq!(block.header.previous.is_none(), index == 0);
        }
    }

    #[test]
    fn sums_of_a_month_are_those_of_its_blocks(
        times in proptest::collection::vec((NOW.0 - 3_000_000_000..NOW.0 + 9_000_000_000).prop_map(Timestamp), 1..20),
    ) {
        let headers = at(&times);
        let mut of_month = (None, Totals::default());
        for header in &headers {
            if of_month.0 != Some(header.month) {
                of_month = (Some(header.month), Totals::default());
            }
            of_month.1.add(&header.totals);
            prop_assert_eq!(header.month_totals, of_month.1);
            prop_assert_eq!(Month::of(header.origin), Ok(header.month));
        }
        prop_assert!(headers.is_sorted_by_key(|header| header.origin), "the clock went back, and the chain with it");
    }
}

#[test]
fn a_block_that_was_changed_or_taken_out_is_missed() {
    let blocks = blocks((0..4).map(|number| vec![full(number), bare(number + 10)]).collect());
    let [first, second, third, fourth] = blocks.as_slice() else { panic!("four blocks") };
    assert!(is_broken(fourth.header.follows(&second.text), 4, "number"));
    assert!(is_broken(third.header.follows(&third.text), 3, "number"));

    let forged = Header { salt: Salt([8; 16]), ..second.header.clone() };
    assert_eq!(forged.follows(&first.text), Ok(()));
    assert!(is_broken(third.header.follows(&forged.text()), 3, "digest"));

    let spaced = second.text.replace("\"runs\":2,\"first\"", "\"runs\": 2,\"first\"");
    assert_eq!(Header::parse(&spaced).as_ref(), Ok(&second.header));
    assert!(is_broken(third.header.follows(&spaced), 3, "digest"), "digests are of the text");

    let more = Totals { wall_us: second.header.month_totals.wall_us + 1, ..second.header.month_totals };
    assert!(is_broken(Header { month_totals: more, ..second.header.clone() }.follows(&first.text), 2, "month"));
    let older = Header { origin: EARLIER, ..second.header.clone() };
    assert!(is_broken(older.follows(&first.text), 2, "older"));
    let stranger = Header { account: AccountId::from_uuid(Uuid::from_u128(9)), ..second.header.clone() };
    assert!(is_broken(stranger.follows(&first.text), 2, "account"));
}

#[test]
fn a_chain_is_of_one_account() {
    let stranger = AccountId::from_uuid(Uuid::from_u128(9));
    let theirs = Run { account: stranger, ..bare(2) };
    let first = sealed(None, vec![full(1)]);
    let result = seal(stranger, SALT, Some(&first.text), NOW, vec![theirs]);
    assert!(matches!(result, Err(Error::Chain { block: 2, .. })));
    assert!(matches!(seal(account(), SALT, Some("{}"), NOW, vec![full(1)]), Err(Error::Header { .. })));
}

#[test]
fn a_later_block_is_never_older() {
    let headers = at(&[NOW, EARLIER, NOW.plus(Duration::from_secs(9))]);
    let origins: Vec<Timestamp> = headers.iter().map(|header| header.origin).collect();
    assert_eq!(origins, [NOW, NOW, NOW.plus(Duration::from_secs(9))]);
}

#[test]
fn a_header_that_contradicts_itself_is_none() {
    let header = sealed(None, vec![full(1), bare(2)]).header;
    let largest = RunId::from_uuid(Uuid::from_u128(u128::MAX));
    let wrong = [
        Header { number: 0, ..header.clone() },
        Header { number: 2, ..header.clone() },
        Header { runs: 0, ..header.clone() },
        Header { runs: 1, ..header.clone() },
        Header { runs: 16_385, ..header.clone() },
        Header { first: largest, ..header.clone() },
        Header { last: header.first, ..header.clone() },
        Header { began: Timestamp(NOW.0 + 1), ..header.clone() },
        Header { month: "2026-10".parse().unwrap(), ..header.clone() },
        Header { totals: Totals::default(), ..header.clone() },
        Header { month_totals: Totals::default(), ..header.clone() },
    ];
    assert_eq!(Header::parse(&header.text()).as_ref(), Ok(&header));
    for wrong in wrong {
        assert!(matches!(Header::parse(&wrong.text()), Err(Error::Header { .. })), "{wrong:?}");
    }
    let text = header.text();
    let last_moment = text.replace("\"ended\":\"2026-11-22T08:43:00.123Z\"", "\"ended\":\"9999-12-31T23:59:59-01:00\"");
    assert_ne!(text, last_moment);
    for wrong in ["", "[]", "{}", &last_moment, &format!("{text}\n"), &format!("{text}{}", " ".repeat(1 << 14))] {
        assert!(matches!(Header::parse(wrong), Err(Error::Header { .. })), "{wrong}");
    }
}

#[test]
fn a_header_of_a_later_release_is_read_if_it_need_not_be_understood() {
    let block = sealed(None, vec![full(1)]);
    let later = block.text.replace("{\"format\"", "{\"region\":\"here\",\"format\"");
    assert_eq!(Header::parse(&later).as_ref(), Ok(&block.header));
    let must = later.replace("\"region\"", "\"!region\"");
    assert!(matches!(Header::parse(&must), Err(Error::Header { .. })));
}
