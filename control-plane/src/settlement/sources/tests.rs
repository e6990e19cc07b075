//! A source's batches are taken in order and once, however they come.

use proptest::prelude::*;

use super::*;

fn head(number: u64, acknowledged: u64) -> BatchHead {
    let digest = Digest::of(&number.to_be_bytes());
    BatchHead { epoch: EpochId::from_uuid(uuid::Uuid::from_u128(7)), number, digest, acknowledged }
}

fn mark(number: u64) -> Mark {
    Mark { number, digest: head(number, 0).digest }
}

#[test]
fn only_the_next_one_is_taken() {
    assert_eq!(place(None, &head(1, 0)), Place::Next);
    assert_eq!(place(None, &head(2, 0)), Place::Early);
    assert_eq!(place(Some(mark(4)), &head(5, 0)), Place::Next);
    assert_eq!(place(Some(mark(4)), &head(6, 0)), Place::Early);
    for again in 0..=4 {
        assert_eq!(place(Some(mark(4)), &head(again, 0)), Place::Committed(4));
    }
    let other = BatchHead { digest: Digest::of(b"other"), ..head(4, 0) };
    assert_eq!(place(Some(mark(4)), &other), Place::Conflict);
    // The source is forgotten, or the database is of a backup.
    for forgotten in [None, Some(mark(2))] {
        assert_eq!(place(forgotten, &head(8, 7)), Place::Next);
        assert_eq!(place(forgotten, &head(9, 7)), Place::Early);
    }
    assert_eq!(place(None, &head(u64::MAX, u64::MAX)), Place::Committed(u64::MAX));
}

#[test]
fn what_cannot_be_read_is_void() {
    let read = |body: &[u8]| Content::read(&head(1, 0), body).map(|content| (content.seen.len(), content.void));
    assert_eq!(read(b"[]").unwrap(), (0, 0));
    assert_eq!(read(b"[{\"run\":1}, 7, null]").unwrap(), (0, 3));
    for body in [&b"["[..], b"{}", b"[]]", b"\xff", b""] {
        assert_eq!(read(body).unwrap(), (0, 1), "{body:?}");
    }
    let long = format!("[{}]", vec!["1"; OBSERVATIONS_MAX + 1].join(","));
    assert_eq!(read(long.as_bytes()).unwrap(), (0, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Batches in any order, again and again, several at once, with acknowledgements that get lost.
    #[test]
    fn each_is_taken_once_and_in_order(
        window in 1_u64..8,
        count in 1_u64..20,
        deliveries in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..200),
    ) {
        let (mut committed, mut taken) = (None, Vec::new());
        // What the sender has heard of.
        let mut acknowledged = 0;
        let mut deliver = |number: u64, heard: bool, acknowledged: &mut u64| {
            let answer = match place(committed, &head(number, *acknowledged)) {
                Place::Next => {
                    taken.push(number);
                    committed = Some(mark(number));
                    number
                }
                Place::Committed(committed) => committed,
                Place::Early => committed.map_or(0, |mark| mark.number).max(*acknowledged),
                Place::Conflict => panic!("nobody has changed it"),
            };
            if heard {
                *acknowledged = answer.max(*acknowledged);
            }
        };
        for (which, heard) in deliveries {
            // One of those on their way, or an old one that was held up.
            let last = count.min(acknowledged + window);
            let number = 1 + which.index(usize::try_from(last).unwrap()) as u64;
            deliver(number, heard, &mut acknowledged);
        }
        while acknowledged < count {
            deliver(acknowledged + 1, true, &mut acknowledged);
        }
        prop_assert_eq!(taken, (1..=count).collect::<Vec<_>>());
    }
}
