//! What the model knows, that it is the same when stored, and that damaged bytes are refused.

use std::time::Duration;

use proptest::prelude::*;
use protocol::{ByteSize, Lane};

use super::{finished, history, node_id, version};
use crate::{DecodeError, Snapshot, TrainError, Warmth};

/// A snapshot of an earlier build. Made anew, under its version's name, by running these tests with
/// `CROWDCLOUD_BLESS=1`.
const GOLDEN: &[u8] = include_bytes!("golden/snapshot-v2.bin");

/// The class of a node of average speed.
const USUAL: usize = 3;

fn small() -> Snapshot {
    Snapshot::train(&history(600, 7), Duration::from_secs(60)).unwrap()
}

fn median(snapshot: &Snapshot, number: u8, input: u64) -> f32 {
    snapshot.predict(&snapshot.history, version(number), ByteSize(input), Lane::Wasm)[USUAL].median_s()
}

#[test]
fn times_are_learned() {
    let snapshot = Snapshot::train(&history(6_000, 3), Duration::ZERO).unwrap();
    // The average node does 7/6 of node 0's work: all is relative to that.
    for (number, about_s) in [(1_u8, 0.01_f32), (4, 0.193), (6, 1.39)] {
        let found = median(&snapshot, number, 50_000) / about_s;
        assert!((0.6..1.7).contains(&found), "version {number}: {found} of what it takes");
    }
    assert!(snapshot.error < 0.3, "mean error {}", snapshot.error);
    assert!(snapshot.error < snapshot.error_history, "{} against {}", snapshot.error, snapshot.error_history);
}

#[test]
fn input_and_node_count() {
    let snapshot = Snapshot::train(&history(6_000, 3), Duration::ZERO).unwrap();
    let [small, large] = [20_000, 900_000].map(|input| median(&snapshot, 8, input));
    assert!(large > small * 8.0, "{small} s for a small input, {large} s for a large one");
    let speed = |number: usize| snapshot.history.speed(node_id(number)).factor();
    let [usual, fast, slow] = [0, 1, 2].map(speed);
    assert!((1.6..2.4).contains(&(fast / usual)), "{fast} against {usual}");
    assert!((1.6..2.4).contains(&(usual / slow)), "{usual} against {slow}");
    let failures = [0, 1, 2].map(|number: usize| snapshot.history.speed(node_id(number)).failures());
    assert!(failures[2] > 0.07 && failures[0] < 0.04 && failures[1] < 0.04, "{failures:?}");
    let cold_s = snapshot.history.start_s(Lane::Wasm, Warmth::Cold);
    assert!((0.01..0.15).contains(&cold_s), "a cold start takes {cold_s} s");
}

#[test]
fn quantiles_are_in_order_and_an_unknown_version_has_some() {
    let snapshot = small();
    for number in [1, 8, 99] {
        let of = snapshot.predict(&snapshot.history, version(number), ByteSize(1_000), Lane::Wasm)[USUAL];
        assert!(of.mean_s > of.seconds[0] && of.mean_s < of.seconds[6] * 2.0, "{of:?}");
        assert!(of.seconds.is_sorted(), "{:?}", of.seconds);
        assert!(of.seconds.iter().all(|seconds| seconds.is_finite() && *seconds > 0.0));
        assert!((0.0..=1.0).contains(&of.failure));
    }
}

#[test]
fn of_a_node_that_left_nothing_is_kept() {
    let (whole, kept) = (small(), small().with_nodes(|node| node != node_id(1)));
    assert!(whole.knows_node(node_id(1)) && !kept.knows_node(node_id(1)) && kept.knows_node(node_id(2)));
    assert_eq!(kept.history.speed(node_id(1)), whole.history.speed(node_id(99)), "as of one that never worked");
    assert_eq!(median(&kept, 4, 50_000), median(&whole, 4, 50_000), "what its runs taught stays");
    assert!(!Snapshot::decode(&kept.encode().unwrap()).unwrap().knows_node(node_id(1)));
}

#[test]
fn too_little_is_not_learned_from() {
    let few = Snapshot::train(&[finished(1, 10)], Duration::ZERO);
    assert!(matches!(few, Err(TrainError::TooFew { runs: 1 })));
}

#[test]
fn the_same_runs_give_the_same_bytes_and_they_come_back_whole() {
    let (snapshot, again) = (small(), small());
    let bytes = snapshot.encode().unwrap();
    assert_eq!(bytes, again.encode().unwrap());
    let back = Snapshot::decode(&bytes).unwrap();
    for number in 1..=9 {
        assert_eq!(median(&snapshot, number, 5_000), median(&back, number, 5_000));
    }
    assert_eq!(back.encode().unwrap(), bytes);
}

#[test]
fn a_snapshot_of_an_earlier_build_is_still_read() {
    if std::env::var_os("CROWDCLOUD_BLESS").is_some() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/golden/snapshot-v2.bin");
        std::fs::write(path, small().encode().unwrap()).unwrap();
        return;
    }
    let golden = Snapshot::decode(GOLDEN).unwrap();
    assert_eq!((golden.runs, golden.trained_at), (600, Duration::from_secs(60)));
    let found = median(&golden, 4, 50_000);
    assert!((0.1..0.4).contains(&found), "{found}");
}

#[test]
fn bytes_of_another_version_are_refused() {
    let mut bytes = small().encode().unwrap();
    bytes[4] += 1;
    assert!(matches!(Snapshot::decode(&bytes), Err(DecodeError::Version)));
    assert!(matches!(Snapshot::decode(b"something else"), Err(DecodeError::Version)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A damaged snapshot is refused, or predicts something: it never hangs or panics.
    #[test]
    fn damage_does_no_harm(at in 0..10_000_usize, byte: u8, cut in 0..10_000_usize) {
        let mut bytes = GOLDEN.to_vec();
        let length = bytes.len();
        bytes[at % length] = byte;
        if cut % 3 == 0 {
            bytes.truncate(cut % length);
        }
        if let Ok(snapshot) = Snapshot::decode(&bytes) {
            let _ = median(&snapshot, 1, 1_000);
        }
    }
}
