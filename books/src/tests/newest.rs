//! The merged list is a plain sort, whatever the blocks, and reads no more than it must.

use std::collections::BTreeMap;

use proptest::prelude::*;
use protocol::RunId;

use super::sample::{any_run, bare, blocks, body, full, id, latest, span};
use crate::{Body, Error, Newest, Next, Run, Sealed, Span};

/// Blocks with ids from a small range, so that many overlap and many runs are corrected.
fn overlapping() -> impl Strategy<Value = Vec<Vec<Run>>> {
    let block = (0..60_u64, 1..40_u64).prop_flat_map(|(from, length)| {
        let ids = proptest::collection::btree_set(from..from + length, 1..20);
        ids.prop_flat_map(|ids| ids.into_iter().map(any_run).collect::<Vec<_>>())
    });
    proptest::collection::vec(block, 1..7)
}

/// Reads up to `size` runs, and says which bodies were asked for, whether the list has ended, and what was damaged.
struct Page {
    runs: Vec<Run>,
    asked: Vec<u64>,
    errors: Vec<Error>,
    ended: bool,
}

fn page(newest: &mut Newest, bodies: &BTreeMap<u64, Body>, size: usize) -> Page {
    let mut page = Page { runs: Vec::new(), asked: Vec::new(), errors: Vec::new(), ended: false };
    while page.runs.len() < size && !page.ended {
        match newest.step() {
            Ok(Next::Body(number)) => {
                assert!(!page.asked.contains(&number), "block {number} is asked for twice");
                page.asked.push(number);
                match bodies.get(&number).cloned() {
                    Some(body) => page.errors.extend(newest.give(number, body).err()),
                    None => newest.lost(number),
                }
            }
            Ok(Next::Run(run)) => {
                assert!(newest.bound().is_none_or(|bound| bound < run.run));
                page.runs.push(*run);
            }
            Ok(Next::End) => page.ended = true,
            Err(error) => page.errors.push(error),
        }
    }
    page
}

fn bodies(blocks: &[Sealed]) -> BTreeMap<u64, Body> {
    blocks.iter().map(|block| (block.header.number, body(block))).collect()
}

/// The body with these frames damaged.
fn damaged(block: &Sealed, frames: impl Fn(RunId, RunId) -> bool) -> Body {
    let mut bytes = block.body.clone();
    for frame in body(block).frames().iter().filter(|frame| frames(frame.first, frame.last)) {
        bytes[frame.offset + frame.length / 2] ^= 1;
    }
    Body::open(bytes).unwrap()
}

/// Which blocks a page looks at that wants to look at few, and the greatest `last` of the others.
fn chosen(blocks: &[Sealed], before: Option<RunId>, most: usize) -> (Vec<Span>, Option<RunId>) {
    let below = |span: &Span| before.is_none_or(|before| span.first < before);
    let (mut chosen, mut others): (Vec<Span>, Vec<Span>) =
        blocks.iter().map(span).filter(below).partition(|span| before.is_some_and(|before| before <= span.last));
    others.sort_by_key(|span| std::cmp::Reverse(span.last));
    let mut taken = most.min(others.len());
    while taken > 0 && others.get(taken).is_some_and(|next| next.last == others[taken - 1].last) {
        taken += 1;
    }
    let left = others.split_off(taken);
    chosen.extend(others);
    (chosen, left.first().map(|span| span.last))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn pages_of_any_size_are_the_sorted_list(all in overlapping(), size in 1..30_usize) {
        let blocks = blocks(all.clone());
        let bodies = bodies(&blocks);
        let wanted: Vec<Run> = latest(&all).into_values().rev().collect();
        let mut listed = Vec::<Run>::new();
        loop {
            let before = listed.last().map(|run| run.run);
            let mut newest = Newest::new(blocks.iter().map(span).collect(), before, None);
            let page = page(&mut newest, &bodies, size);
            prop_assert!(page.errors.is_empty(), "{:?}", page.errors);
            prop_assert_eq!(newest.rest(), None);
            listed.extend(page.runs);
            if page.ended {
                break;
            }
        }
        prop_assert_eq!(listed, wanted);
    }

    #[test]
    fn pages_that_look_at_few_blocks_are_the_sorted_list(all in overlapping(), size in 1..30_usize, most in 1..4_usize) {
        let blocks = blocks(all.clone());
        let bodies = bodies(&blocks);
        let wanted: Vec<Run> = latest(&all).into_values().rev().collect();
        let (mut listed, mut cursor) = (Vec::<Run>::new(), None);
        loop {
            let (spans, floor) = chosen(&blocks, cursor, most);
            let mut newest = Newest::new(spans, cursor, floor);
            let page = page(&mut newest, &bodies, size);
            prop_assert!(page.errors.is_empty(), "{:?}", page.errors);
            let last = page.runs.last().map(|run| run.run);
            listed.extend(page.runs);
            let next = if page.ended { newest.rest() } else { last };
            let Some(next) = next else { break };
            prop_assert!(cursor.is_none_or(|cursor| next < cursor), "it would never end");
            cursor = Some(next);
        }
        prop_assert_eq!(listed, wanted);
    }

    #[test]
    fn a_page_reads_only_what_may_hold_its_runs(all in overlapping(), size in 1..30_usize, before in 0..100_u64) {
        let blocks = blocks(all.clone());
        let before = id(before);
        let list = latest(&all).into_values().rev().filter(|run| run.run < before);
        let wanted: Vec<Run> = list.take(size).collect();
        let Some(last) = wanted.last().map(|run| run.run) else { return Ok(()) };
        let elsewhere = |least: RunId, greatest: RunId| greatest < last || least >= before;
        let bodies = blocks.iter().map(|block| (block.header.number, damaged(block, elsewhere))).collect();

        let page = page(&mut Newest::new(blocks.iter().map(span).collect(), Some(before), None), &bodies, wanted.len());
        prop_assert!(page.errors.is_empty(), "unpacked in vain: {:?}", page.errors);
        prop_assert_eq!(page.runs, wanted);
        for number in page.asked {
            let header = &blocks[usize::try_from(number).unwrap() - 1].header;
            prop_assert!(!elsewhere(header.first, header.last), "block {} was opened", number);
        }
    }

    #[test]
    fn runs_of_another_source_are_merged(all in overlapping(), rows in proptest::collection::btree_set(0..100_u64, 0..30)) {
        let blocks = blocks(all.clone());
        let bodies = bodies(&blocks);
        let mut newest = Newest::new(blocks.iter().map(span).collect(), None, None);
        let mut listed = Vec::<(RunId, bool)>::new();
        let mut ahead = None::<RunId>;
        // What is in a row counts. Runs are read one ahead, and only where one may be above the row.
        for row in rows.iter().rev().map(|row| id(*row)) {
            loop {
                if ahead.is_none() && newest.bound().is_some_and(|bound| bound > row) {
                    ahead = page(&mut newest, &bodies, 1).runs.pop().map(|run| run.run);
                }
                match ahead.take_if(|run| *run > row) {
                    Some(run) => listed.push((run, false)),
                    None => break,
                }
            }
            newest.below(row);
            ahead = ahead.filter(|run| *run != row);
            listed.push((row, true));
        }
        listed.extend(ahead.map(|run| (run, false)));
        let rest = page(&mut newest, &bodies, usize::MAX);
        listed.extend(rest.runs.iter().map(|run| (run.run, false)));

        let mut wanted: BTreeMap<RunId, bool> = latest(&all).into_keys().map(|run| (run, false)).collect();
        wanted.extend(rows.iter().map(|row| (id(*row), true)));
        prop_assert_eq!(listed, wanted.into_iter().rev().collect::<Vec<_>>());
    }

    #[test]
    fn a_damaged_frame_is_named_once_and_the_rest_is_listed(all in overlapping(), bad in 0..100_u64) {
        let blocks = blocks(all);
        let bad = id(bad);
        let is_bad = |least: RunId, greatest: RunId| least <= bad && bad <= greatest;
        let bodies: BTreeMap<u64, Body> =
            blocks.iter().map(|block| (block.header.number, damaged(block, is_bad))).collect();
        let mut readable = BTreeMap::new();
        let mut broken = 0;
        for body in bodies.values() {
            for frame in (0..body.frames().len()).map(|index| body.frame(index)) {
                match frame {
                    Ok(runs) => readable.extend(runs.into_iter().map(|run| (run.run, run))),
                    Err(_) => broken += 1,
                }
            }
        }
        let page = page(&mut Newest::new(blocks.iter().map(span).collect(), None, None), &bodies, usize::MAX);
        let named: std::collections::BTreeSet<String> = page.errors.iter().map(Error::to_string).collect();
        // A frame whose every run has a later line is never unpacked.
        prop_assert!(named.len() == page.errors.len() && named.len() <= broken);
        prop_assert_eq!(page.runs, readable.into_values().rev().collect::<Vec<_>>());
    }
}

#[test]
fn a_body_that_is_lost_or_of_another_block_leaves_the_rest() {
    let all = vec![vec![full(1), full(5)], vec![bare(2), bare(5)], vec![bare(3), bare(9)]];
    let blocks = blocks(all);
    let mut bodies = bodies(&blocks);
    let list = |bodies: &BTreeMap<u64, Body>| {
        let page = page(&mut Newest::new(blocks.iter().map(span).collect(), None, None), bodies, usize::MAX);
        (page.runs, page.errors.len())
    };
    assert_eq!(list(&bodies), (vec![bare(9), bare(5), bare(3), bare(2), full(1)], 0));
    let second = bodies.remove(&2).unwrap();
    assert_eq!(list(&bodies), (vec![bare(9), full(5), bare(3), full(1)], 0));
    bodies.insert(2, bodies[&3].clone());
    assert_eq!(list(&bodies), (vec![bare(9), full(5), bare(3), full(1)], 1));
    bodies.insert(3, second.clone());
    bodies.insert(2, second);
    assert_eq!(list(&bodies), (vec![bare(5), bare(2), full(1)], 1));
}

#[test]
fn nothing_is_read_where_nothing_can_be() {
    let blocks = blocks(vec![vec![full(5), full(9)], vec![bare(20), bare(30)]]);
    let spans = || blocks.iter().map(span).collect::<Vec<_>>();
    for before in [0, 5] {
        let mut newest = Newest::new(spans(), Some(id(before)), None);
        assert_eq!((newest.bound(), newest.step()), (None, Ok(Next::End)));
    }
    assert_eq!(Newest::new(Vec::new(), None, None).step(), Ok(Next::End));
    let mut newest = Newest::new(spans(), None, Some(id(30)));
    assert_eq!((newest.step(), newest.rest()), (Ok(Next::End), Some(id(31))));
    let mut newest = Newest::new(spans(), Some(id(3)), Some(id(30)));
    assert_eq!((newest.step(), newest.rest()), (Ok(Next::End), Some(id(3))));

    let mut newest = Newest::new(spans(), None, None);
    assert_eq!((newest.step(), newest.bound()), (Ok(Next::Body(2)), Some(id(30))));
    newest.below(id(40));
    newest.below(id(20));
    assert_eq!((newest.step(), newest.bound()), (Ok(Next::Body(1)), Some(id(9))));
}
