//! What goes into a block comes out of it, and what is damaged is said to be.

use proptest::prelude::*;

use super::*;

fn line(id: i64, function: FunctionId, run: RunId, text: String) -> Line {
    let (at, stream) = (Timestamp(1_795_336_980_000 - id * 7 % 100), LogStream::Stderr);
    Line { id, function, run, sequence: 3, at, stream, text }
}

fn filled(lines: &[Line]) -> (Vec<u8>, Summary, usize) {
    let mut draft = Draft::new(8192);
    let taken = lines.iter().take_while(|line| draft.push((*line).clone()).unwrap()).count();
    let (bytes, summary) = draft.seal().unwrap().unwrap();
    (bytes, summary, taken)
}

#[test]
fn an_empty_block_is_none() {
    assert_eq!(Draft::new(1).seal().unwrap(), None);
}

#[test]
fn a_block_is_full_by_lines_and_by_bytes() {
    let (function, run) = (FunctionId::new(), RunId::new());
    let mut draft = Draft::new(2);
    let pushed: Vec<bool> = (0..3).map(|id| draft.push(line(id, function, run, "x".to_owned())).unwrap()).collect();
    assert_eq!(pushed, [true, true, false]);

    // Each byte is six in JSON, and the text is too long.
    let wide: Vec<Line> = (0..3).map(|id| line(id, function, run, "\u{1}".repeat(LINE_BYTES_MAX + 9))).collect();
    let (bytes, summary, taken) = filled(&wide);
    assert_eq!((taken, summary.lines), (1, 1));
    assert_eq!(unpack(&bytes, 1).unwrap()[0].text.len(), LINE_BYTES_MAX);
    let wider = "é".repeat(LINE_BYTES_MAX);
    assert_eq!(cut(wider).len(), LINE_BYTES_MAX);
    assert_eq!(cut(format!("x{}", "é".repeat(LINE_BYTES_MAX))).len(), LINE_BYTES_MAX - 1);
}

#[test]
fn many_functions_are_not_named() {
    let run = RunId::new();
    let lines = |count| (0..count).map(|id| line(id, FunctionId::new(), run, String::new())).collect::<Vec<_>>();
    assert_eq!(filled(&lines(64)).1.functions.unwrap().len(), 64);
    assert_eq!(filled(&lines(65)).1.functions, None);
}

#[test]
fn a_filter_knows_its_runs_and_few_others() {
    let runs: BTreeSet<RunId> = (0..2000).map(|_| RunId::new()).collect();
    let filter = filter_of(&runs);
    assert!(runs.iter().all(|run| may_hold(&filter, *run)));
    let others = (0..2000).filter(|_| may_hold(&filter, RunId::new())).count();
    assert!(others < 200, "{others} of 2000");
    assert!(may_hold(&[], RunId::new()), "no filter rules nothing out");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_goes_in_comes_out(
        texts in proptest::collection::vec(any::<String>(), 1..40),
        flip in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (functions, runs) = ([FunctionId::new(), FunctionId::new()], [RunId::new(), RunId::new()]);
        let lines: Vec<Line> = (10..)
            .zip(texts)
            .map(|(id, text)| line(id, functions[usize::from(id % 3 == 0)], runs[usize::from(id % 2 == 0)], text))
            .collect();
        let (bytes, summary, taken) = filled(&lines);
        prop_assert_eq!(taken, lines.len());
        prop_assert_eq!(&unpack(&bytes, lines.len()).unwrap(), &lines);
        prop_assert_eq!((summary.first_line, summary.last_line), (10, lines[lines.len() - 1].id));
        prop_assert!(lines.iter().all(|line| (summary.began..=summary.ended).contains(&line.at)));
        prop_assert!(lines.iter().all(|line| (summary.first_run..=summary.last_run).contains(&line.run)));
        prop_assert!(lines.iter().all(|line| may_hold(&summary.run_filter, line.run)));
        prop_assert!(lines.iter().all(|line| summary.functions.as_ref().unwrap().contains(&line.function)));

        // Whatever bytes there are: lines or an error.
        prop_assert!(unpack(&bytes, lines.len() + 1).is_err());
        prop_assert!(unpack(&bytes[..cut.index(bytes.len())], lines.len()).is_err());
        let mut damaged = bytes;
        let at = flip.index(damaged.len());
        damaged[at] ^= 0x55;
        drop(unpack(&damaged, lines.len()));
    }
}
