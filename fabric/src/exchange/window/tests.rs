//! Two flows joined, driven in any order: what goes in comes out, and never more is held than was granted.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Send(usize),
    Read,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(prop_oneof![(0..300_000usize).prop_map(Step::Send), Just(Step::Read)], 0..200)
}

proptest! {
    #[test]
    fn bytes_arrive_in_order_within_the_window(steps in steps()) {
        let mut inflow = Inflow::new();
        let mut outflow = Outflow::new(WINDOW_COST);
        let (mut sent, mut read) = (0usize, 0usize);
        for step in steps {
            match step {
                Step::Send(wanted) => {
                    if let Some(granted) = outflow.reserve(wanted) {
                        prop_assert!(granted <= wanted);
                        let place = outflow.take_place();
                        inflow.push(place, Bytes::from(vec![0; granted]), false).unwrap();
                        sent += granted;
                    }
                }
                Step::Read => match inflow.next() {
                    Next::Piece(piece, grant) => {
                        read += piece.len();
                        outflow.grant(grant);
                    }
                    next => prop_assert_eq!(next, Next::Wait),
                },
            }
            prop_assert!(inflow.held_bytes() <= WINDOW_COST as usize);
            prop_assert_eq!(inflow.held_bytes(), sent - read);
        }
        // Whoever reads everything can always be sent more.
        while let Next::Piece(_, grant) = inflow.next() {
            outflow.grant(grant);
        }
        prop_assert!(outflow.reserve(100_000).is_some());
    }

    #[test]
    fn a_peer_out_of_step_is_found(places in prop::collection::vec(0..6u32, 1..8)) {
        let mut inflow = Inflow::new();
        for (expected, place) in (0..).zip(places) {
            let pushed = inflow.push(place, Bytes::from_static(b"x"), false);
            if place != expected {
                prop_assert_eq!(pushed.unwrap_err(), Violation::Gap);
                break;
            }
            prop_assert!(pushed.is_ok());
        }
    }
}

#[test]
fn an_overrun_is_found_also_in_tiny_pieces() {
    let mut inflow = Inflow::new();
    let mut taken = 0;
    let overrun =
        (0..).find_map(|place| inflow.push(place, Bytes::from_static(b"x"), false).err().inspect(|_| taken = place));
    assert_eq!(overrun, Some(Violation::Overrun));
    assert!(taken <= WINDOW_COST / 256, "{taken} pieces were held");
}

#[test]
fn what_was_queued_is_read_before_the_failure() {
    let mut inflow = Inflow::new();
    inflow.push(0, Bytes::from_static(b"x"), false).unwrap();
    inflow.fail(Failure::Lost);
    assert_eq!(inflow.next(), Next::Piece(Bytes::from_static(b"x"), 0));
    assert_eq!(inflow.next(), Next::Failed(Failure::Lost));
}

#[test]
fn nothing_follows_the_end() {
    let mut inflow = Inflow::new();
    inflow.push(0, Bytes::new(), true).unwrap();
    assert_eq!(inflow.next(), Next::End);
    assert_eq!(inflow.push(1, Bytes::new(), false).unwrap_err(), Violation::AfterFin);
}
