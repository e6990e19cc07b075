//! A download is checked to the byte, and adds up.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use protocol::receipt::Usage;
use protocol::{AccountId, Flag, RunId, Timestamp};
use uuid::Uuid;

use super::sample::{NOW, any_runs, bare, blocks, body, full, id};
use crate::download::{Event, FAULTS_MAX, FaultKind, Lines, Period, Reader, Report, block_line, damaged_line};
use crate::{Error, Run, Sealed, Totals};

/// As the control plane writes it.
fn written(blocks: &[Sealed], lines: impl Fn(&Sealed) -> Lines) -> Vec<u8> {
    let mut text = Vec::new();
    for block in blocks {
        let lines = lines(block);
        text.extend_from_slice(block_line(&block.text, lines).as_bytes());
        if lines == Lines::Follow {
            text.extend(body(block).text().unwrap());
        }
    }
    text
}

fn whole(blocks: &[Sealed]) -> Vec<u8> {
    written(blocks, |_| Lines::Follow)
}

/// Reads a download in pieces of these lengths, over and over.
fn read(text: &[u8], period: Period, lengths: &[usize]) -> (Report, Vec<Event>) {
    let (mut reader, mut events, mut rest) = (Reader::new(period), Vec::new(), text);
    let mut lengths = lengths.iter().cycle();
    while !rest.is_empty() {
        let (piece, later) = rest.split_at((*lengths.next().unwrap()).clamp(1, rest.len()));
        reader.feed(piece, |event| events.push(event));
        rest = later;
    }
    (reader.end(), events)
}

fn report(text: &[u8]) -> Report {
    read(text, Period::default(), &[1 << 20]).0
}

fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// A run that was settled without the gateway's half.
fn alone(number: u64) -> Run {
    Run { flag: Some(Flag::NoObservation), observed: None, ..full(number) }
}

/// Blocks in which runs of ids below 10 are settled alone and may be corrected, once; each other id stands in one block.
fn corrected() -> impl Strategy<Value = Vec<Vec<Run>>> {
    proptest::collection::vec(any_runs(30, 20), 1..6).prop_map(|mut all| {
        let mut seen = BTreeMap::<RunId, u32>::new();
        for (number, runs) in (1_u128..).zip(&mut all) {
            runs.retain_mut(|run| {
                // Sums that have reached their end cannot be corrected.
                let least = |figure: u64| figure.min(1 << 28);
                run.billed.wall_us = least(run.billed.wall_us);
                run.billed.cpu_us = least(run.billed.cpu_us);
                let Usage { memory_peak, bytes_in, bytes_out, egress_bytes, .. } = &mut run.billed;
                for size in [memory_peak, bytes_in, bytes_out, egress_bytes] {
                    size.0 = least(size.0);
                }
                if run.run >= id(10) {
                    run.run = RunId::from_uuid(Uuid::from_u128(run.run.uuid().as_u128() + (number << 32)));
                    return true;
                }
                let times = seen.entry(run.run).or_default();
                *times += 1;
                run.flag = Some(Flag::NoObservation);
                run.observed = (*times > 1).then(Usage::default);
                *times < 3
            });
        }
        all.retain(|runs| !runs.is_empty());
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_sums_are_those_of_the_last_line_of_each_run(
        all in corrected(), from in any::<Option<i32>>(), to in any::<Option<i32>>(),
        lengths in proptest::collection::vec(1..5000_usize, 1..4),
    ) {
        let blocks = blocks(all.clone());
        let moment = |offset: i32| Timestamp(NOW.0 + i64::from(offset) / 2);
        let period = Period { from: from.map(moment), to: to.map(moment) };
        let (report, events) = read(&whole(&blocks), period, &lengths);
        prop_assert!(report.is_whole(), "{:?}", report.faults);

        let mut lines = Vec::<Run>::new();
        for mut runs in all {
            runs.sort_by_key(|run| run.run);
            lines.append(&mut runs);
        }
        let last: BTreeMap<RunId, &Run> = lines.iter().map(|run| (run.run, run)).collect();
        let counts = last.values().copied().filter(|run| period.has(run.received));
        prop_assert_eq!(report.totals, Totals::sum(counts));
        prop_assert_eq!(report.corrected, u64::try_from(lines.len() - last.len()).unwrap());
        prop_assert_eq!((report.blocks, report.gone), (u64::try_from(blocks.len()).unwrap(), 0));
        let run = |event| if let Event::Run { run, .. } = event { Some(*run) } else { None };
        let told: Vec<Run> = events.into_iter().filter_map(run).collect();
        prop_assert_eq!(told, lines);
    }

    #[test]
    fn a_changed_byte_is_found(
        all in proptest::collection::vec(any_runs(30, 6), 2..4), at in any::<Index>(), flip in 1..=u8::MAX,
    ) {
        let blocks = blocks(all);
        let mut text = whole(&blocks);
        // The last header is what nothing after it holds.
        let end = text.len() - written(&blocks[blocks.len() - 1..], |_| Lines::Follow).len();
        let at = at.index(end);
        text[at] ^= flip;
        prop_assert!(!report(&text).is_whole(), "{}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn a_line_that_is_missing_repeated_or_moved_is_found(
        all in proptest::collection::vec(any_runs(30, 6), 2..4), at in any::<Index>(), to in any::<Index>(),
    ) {
        let lines = lines(&whole(&blocks(all)));
        let (at, to) = (at.index(lines.len()), to.index(lines.len()));
        let mut without = lines.clone();
        let line = without.remove(at);
        prop_assert!(!report(&without.concat()).is_whole());
        let mut repeated = lines.clone();
        repeated.insert(at, line.clone());
        prop_assert!(!report(&repeated.concat()).is_whole());
        let mut moved = without;
        moved.insert(to.min(moved.len()), line);
        if moved != lines {
            prop_assert!(!report(&moved.concat()).is_whole());
        }
    }

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..300), lengths in 1..40_usize) {
        let _ = read(&bytes, Period::default(), &[lengths]);
        let mut text = whole(&blocks(vec![vec![full(1)]]));
        text.splice(20..20, bytes);
        let _ = read(&text, Period::default(), &[lengths]);
    }
}

#[test]
fn a_correction_takes_the_place_of_the_line_before() {
    let late = Run { flag: Some(Flag::NoObservation), billed: Usage { wall_us: 7, ..Usage::default() }, ..full(1) };
    let blocks = blocks(vec![vec![alone(1), full(2)], vec![bare(3)], vec![late.clone()]]);
    let (report, events) = read(&whole(&blocks), Period::default(), &[50]);
    assert_eq!((report.totals, report.corrected), (Totals::sum(&[full(2), bare(3), late.clone()]), 1));
    assert_eq!(report.numbers, Some((1, 3)));
    let corrections = events.iter().filter(|event| matches!(event, Event::Run { corrects: true, .. }));
    assert_eq!(corrections.collect::<Vec<_>>(), [&Event::Run { run: Box::new(late.clone()), corrects: true }]);

    // By its gateway's clock it was of another time.
    let moved = Run { received: Timestamp(NOW.0 + 10), ..late };
    let blocks = super::sample::blocks(vec![vec![alone(1)], vec![moved.clone()]]);
    let period = |from, to| Period { from: Some(Timestamp(NOW.0 + from)), to: Some(Timestamp(NOW.0 + to)) };
    assert_eq!(read(&whole(&blocks), period(0, 10), &[50]).0.totals, Totals::default());
    assert_eq!(read(&whole(&blocks), period(10, 11), &[50]).0.totals, Totals::of(&moved));
}

#[test]
fn blocks_without_bodies_are_told() {
    let early = Run { received: Timestamp(NOW.0 - 1000), ..bare(1) };
    let blocks = blocks(vec![vec![early], vec![full(2)], vec![full(3)]]);
    let period = Period { from: Some(NOW), to: None };
    let first = |lines: Lines| move |block: &Sealed| if block.header.number == 1 { lines } else { Lines::Follow };
    let sums = Totals::sum(&[full(2), full(3)]);
    for lines in [Lines::Outside, Lines::Gone, Lines::Follow] {
        let (report, _) = read(&written(&blocks, first(lines)), period, &[50]);
        assert_eq!((report.is_whole(), report.totals), (true, sums), "{lines:?}");
    }
    let all = Period::default();
    let (gone, _) = read(&written(&blocks, first(Lines::Gone)), all, &[50]);
    assert_eq!((gone.is_whole(), gone.gone, gone.faults_count, gone.totals), (false, 1, 0, sums));
    let (hidden, _) = read(&written(&blocks, first(Lines::Outside)), all, &[50]);
    assert!(matches!(hidden.faults[0].what, FaultKind::Block(Error::Damaged { block: 1, .. })));
    let claimed = [block_line(&blocks[0].text, Lines::Gone).into_bytes(), body(&blocks[0]).text().unwrap()].concat();
    assert!(matches!(report(&claimed).faults[0].what, FaultKind::Block(Error::Damaged { block: 1, .. })));
}

#[test]
fn damage_that_the_platform_tells_is_told_once() {
    let blocks = blocks(vec![(0..10).map(full).collect(), vec![full(20)]]);
    let first = body(&blocks[0]);
    let told = [
        block_line(&blocks[0].text, Lines::Follow).into_bytes(),
        first.frame_text(0).unwrap(),
        damaged_line(1, "frame 1: \"lost\"\n").into_bytes(),
        first.frame_text(2).unwrap(),
        whole(&blocks[1..]),
    ];
    let report = report(&told.concat());
    assert_eq!(report.totals.runs, 7);
    assert_eq!((report.faults_count, report.faults[0].line), (1, 5));
    assert_eq!(report.faults[0].what, FaultKind::Missing { block: 1, why: "frame 1: \"lost\"\n".to_owned() });
}

#[test]
fn each_fault_says_what_and_where() {
    let blocks = blocks(vec![vec![full(1), bare(2)], vec![full(3)], vec![full(4)]]);
    let lines = lines(&whole(&blocks));
    let fault = |lines: &[&[u8]]| {
        let report = report(&lines.concat());
        (report.faults.first().map(|fault| (fault.line, fault.to_string())), report.faults_count)
    };
    let [first, one, two, second, three, third, four] =
        [0, 1, 2, 3, 4, 5, 6].map(|index: usize| lines[index].as_slice());
    assert_eq!(fault(&[first, one, two, second, three, third, four]), (None, 0));
    let found = |lines: &[&[u8]], line: u64, wanted: &str| {
        let (found, count) = fault(lines);
        let (at, what) = found.unwrap();
        assert!(at == line && count == 1 && what.contains(wanted), "{count}: {at}: {what}");
    };
    found(&[one], 1, "before the first block");
    found(&[first, one, second, three], 3, "another number of runs");
    found(&[first, one, two, third, four], 4, "number is not the next");
    found(&[first, two, one, second, three], 3, "order of their ids");
    found(&[first, one, &two[..two.len() - 1]], 3, "cut off");
    found(&[first, one, two, b"\n"], 4, "cannot be read");
    found(&[first, one, two, b"{}\n"], 4, "no known kind");
    found(&[first, one, two, b"{\"!later\":1}\n"], 4, "must be understood");
    found(&[first, one, two, b"{\"block\":{}}\n", three, three], 4, "not a block's header");
    found(&[first, one, two, b"{\"block\":{\"format\":2}}\n", three, three], 4, "format 2");
    let theirs = Run { account: AccountId::from_uuid(Uuid::from_u128(9)), ..bare(2) };
    let theirs = [serde_json::to_vec(&theirs).unwrap(), b"\n".to_vec()].concat();
    found(&[first, one, &theirs], 3, "another account");

    let mut later = first.strip_suffix(b"}\n").unwrap().to_vec();
    later.extend_from_slice(b",\"later\":{\"a\":1}}\n");
    assert_eq!(fault(&[&later, one, two, second, three]), (None, 0));
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let block = blocks(vec![vec![full(1)], vec![full(2)]]);
    let endless = vec![b'a'; 1 << 20];
    let text = [whole(&block[..1]), endless, b"\n".to_vec(), whole(&block[1..])].concat();
    for length in [1 << 10, 1 << 30] {
        let (report, events) = read(&text, Period::default(), &[length]);
        assert_eq!((report.faults_count, report.totals.runs, events.len()), (1, 2, 5));
        assert!(report.faults[0].to_string().starts_with("line 3: it is longer than"));
    }
    let many = report(&b"x\n".repeat(3 * FAULTS_MAX));
    assert_eq!((many.faults.len(), many.faults_count), (FAULTS_MAX, 3 * u64::try_from(FAULTS_MAX).unwrap()));
}

#[test]
fn a_period_has_its_first_moment_and_not_its_last() {
    let period = Period { from: Some(Timestamp(10)), to: Some(Timestamp(20)) };
    let has = [9, 10, 19, 20].map(|moment| period.has(Timestamp(moment)));
    assert_eq!(has, [false, true, true, false]);
    let overlaps = [(0, 9), (0, 10), (12, 15), (19, 30), (20, 30), (0, 30)];
    let overlaps = overlaps.map(|(began, ended)| period.overlaps(Timestamp(began), Timestamp(ended)));
    assert_eq!(overlaps, [false, true, true, true, false, true]);
    assert!(Period::default().has(Timestamp(i64::MIN)));
}
