//! What is sealed is what is read.

use proptest::prelude::*;
use protocol::{AccountId, Code, Digest, Flag, Timestamp};
use uuid::Uuid;

use super::sample::{NOW, SALT, account, any_runs, bare, body, full, id, sealed};
use crate::body::Packer;
use crate::{BLOCK_RUNS_MAX, Body, Error, FRAME_RUNS_MAX, Header, Run, Totals, seal};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_block_is_read_as_it_was_sealed(runs in any_runs(400, 100)) {
        let block = sealed(None, runs.clone());
        prop_assert_eq!(&Header::parse(&block.text).unwrap(), &block.header);

        let body = body(&block);
        prop_assert_eq!(body.check(&block.header), Ok(()));
        let mut sorted = runs;
        sorted.sort_by_key(|run| run.run);
        let read: Vec<Run> = (0..body.frames().len()).flat_map(|index| body.frame(index).unwrap()).collect();
        prop_assert_eq!(&read, &sorted);
        prop_assert_eq!(Digest::of(&body.text().unwrap()), block.header.body);
        prop_assert_eq!(block.header.totals, Totals::sum(&sorted));
        for number in 0..400 {
            let wanted = sorted.iter().find(|run| run.run == id(number)).cloned();
            prop_assert_eq!(body.find(id(number)), Ok(wanted));
        }
    }
}

#[test]
fn a_header_tells_ids_times_and_sums() {
    let runs = vec![full(9), Run { received: Timestamp(NOW.0 - 5), ..bare(2) }, full(4)];
    let Header { number, runs: count, first, last, began, ended, totals, month, month_totals, previous, .. } =
        sealed(None, runs.clone()).header;
    assert_eq!((number, count, previous), (1, 3, None));
    assert_eq!((first, last), (id(2), id(9)));
    assert_eq!((began, ended), (Timestamp(NOW.0 - 5), NOW));
    assert_eq!((totals, month_totals), (Totals::sum(&runs), Totals::sum(&runs)));
    assert_eq!(month.to_string(), "2026-11");
}

#[test]
fn a_full_block_has_full_frames_and_is_small() {
    let runs: Vec<Run> = (0..u64::try_from(BLOCK_RUNS_MAX).unwrap()).map(full).collect();
    let block = seal(account(), SALT, None, NOW, runs).unwrap();
    let body = Body::open(block.body.clone()).unwrap();
    assert_eq!(body.frames().len(), BLOCK_RUNS_MAX / FRAME_RUNS_MAX);
    assert!(body.frames().iter().all(|frame| frame.runs == 256));
    assert_eq!(body.check(&block.header), Ok(()));
    assert!(block.body.len() < BLOCK_RUNS_MAX * 100, "{} bytes", block.body.len());
    assert!(block.text.len() < 4096, "{} bytes", block.text.len());
}

#[test]
fn the_same_arguments_make_the_same_block() {
    let (one, other) = (sealed(None, vec![full(1), bare(2)]), sealed(None, vec![bare(2), full(1)]));
    assert_eq!((one.text, one.body), (other.text, other.body));
}

#[test]
fn what_is_no_block_is_refused() {
    let sealed = |runs| seal(account(), SALT, None, NOW, runs).map(|_| ());
    assert_eq!(sealed(Vec::new()), Err(Error::Empty));
    let many = (0..=u64::try_from(BLOCK_RUNS_MAX).unwrap()).map(bare).collect();
    assert_eq!(sealed(many), Err(Error::TooMany { runs: BLOCK_RUNS_MAX + 1 }));
    assert_eq!(sealed(vec![full(1), bare(2), bare(1)]), Err(Error::Twice { run: id(1) }));
    let stranger = AccountId::from_uuid(Uuid::from_u128(9));
    let theirs = Run { account: stranger, ..bare(2) };
    assert_eq!(sealed(vec![full(1), theirs]), Err(Error::OtherAccount { run: id(2), account: stranger }));
    let late = Run { received: Timestamp(i64::MAX), ..bare(1) };
    assert_eq!(sealed(vec![late]), Err(Error::Time { ms: i64::MAX }));
    let long = Run { path: "a".repeat(1 << 16), ..bare(1) };
    assert!(matches!(sealed(vec![long]), Err(Error::Line { run, .. }) if run == id(1)));
    assert_eq!(
        seal(account(), SALT, None, Timestamp(i64::MIN), vec![bare(1)]).map(|_| ()),
        Err(Error::Time { ms: i64::MIN })
    );
}

/// The body of these lines.
fn written(lines: &[(Run, String)]) -> Body {
    let runs: Vec<Run> = lines.iter().map(|(run, _)| run.clone()).collect();
    let text: String = lines.iter().map(|(_, line)| format!("{line}\n")).collect();
    let mut packer = Packer::new(account(), 1).unwrap();
    packer.add(&runs, text.as_bytes()).unwrap();
    Body::open(packer.finish().unwrap()).unwrap()
}

#[test]
fn lines_of_a_later_release_are_read() {
    let run = full(1);
    let later = serde_json::to_string(&run)
        .unwrap()
        .replace("\"contradicted\"", "\"word_of_a_later_release\"")
        .replace("\"trap\"", "\"code_of_a_later_release\"")
        .replace("\"no_slot\"", "\"reason_of_a_later_release\"")
        .replace("\"schedule\"", "\"source_of_a_later_release\"")
        .replace(",\"version\"", ",\"gpus\":{\"count\":1},\"version\"");
    let body = written(&[(run.clone(), later.clone())]);
    let mut placement = run.placement.clone().unwrap();
    placement.refused.clear();
    let read = Run { code: Some(Code::NodeFailed), placement: Some(placement), source: None, ..run.clone() };
    assert_eq!(body.frame(0), Ok(vec![read]));
    assert_eq!(body.text().unwrap(), format!("{later}\n").into_bytes(), "the text is as it was written");

    let must = later.replace("\"gpus\"", "\"!gpus\"");
    assert!(matches!(written(&[(run, must)]).frame(0), Err(Error::Damaged { block: 1, frame: Some(0), .. })));
}

#[test]
fn a_flag_that_is_not_known_is_still_a_flag() {
    let run = bare(1);
    let line = serde_json::to_string(&run).unwrap().replacen('}', "},\"flag\":\"later\"", 1);
    let read = written(&[(run, line)]).find(id(1)).unwrap().unwrap();
    assert_eq!((read.flag, Totals::of(&read).flagged), (Some(Flag::Contradicted), 1));
}

#[test]
fn lines_that_contradict_the_table_are_damage() {
    let line = |run: &Run| serde_json::to_string(run).unwrap();
    let (one, two) = (full(1), bare(2));
    let theirs = Run { account: AccountId::from_uuid(Uuid::from_u128(9)), ..full(1) };
    let cases = [
        vec![(one.clone(), line(&one)), (two.clone(), line(&one))],
        vec![(one.clone(), line(&two)), (two.clone(), line(&one))],
        vec![(one.clone(), line(&one)), (two.clone(), String::new())],
        vec![(one.clone(), line(&theirs))],
        vec![(one.clone(), "{}".to_owned())],
        vec![(one.clone(), format!("{} {{}}", line(&one)))],
        vec![(one.clone(), line(&one).replace("}", ""))],
        vec![(one.clone(), line(&one).replace("2026-11-22T", "9999-12-31T").replace("0.123Z", "0.123-23:00"))],
        vec![(one.clone(), format!("{}\n{}", line(&one), line(&two)))],
    ];
    for case in cases {
        let read = written(&case).frame(0);
        assert!(matches!(read, Err(Error::Damaged { block: 1, frame: Some(0), .. })), "{case:?}: {read:?}");
    }
}
