//! Pages of names in order, from an engine whose names are in none: each scan sees all names and keeps the smallest, for
//! this page and for many to come, so that going through all takes few scans and a bounded memory. Where several engines are
//! listed as one, each goes on somewhere within its page before: so a name is kept until somebody asks for what is after it.

use std::collections::{BTreeSet, VecDeque};

use parking_lot::Mutex;

use crate::SegmentName;

/// Names that one scan keeps.
const AHEAD_MAX: usize = 65_536;

/// Scans that are kept: as many as go through the names at once, at different places.
const SCANS_MAX: usize = 4;

/// What the last scans left for the pages to come, the one that was used last at the front.
#[derive(Default)]
pub(super) struct Pages(Mutex<VecDeque<Ahead>>);

struct Ahead {
    /// Names up to this one are not kept, and may be there all the same.
    from: Option<SegmentName>,
    names: VecDeque<SegmentName>,
    /// Whether there are no further names.
    complete: bool,
    /// How many of the names the last page gave: whoever got it goes on within it.
    given: usize,
}

/// The smallest names of a scan.
pub(super) struct Smallest {
    after: Option<SegmentName>,
    most: usize,
    names: BTreeSet<SegmentName>,
    complete: bool,
}

impl Pages {
    /// The page after this name, where a scan has it.
    pub(super) fn next(&self, after: Option<SegmentName>, most: usize) -> Option<Vec<SegmentName>> {
        let mut scans = self.0.lock();
        // Who begins wants to see what is there now.
        after?;
        let exact = scans.iter().position(|ahead| ahead.last() == after);
        let known = exact.or_else(|| scans.iter().position(|ahead| ahead.is_continued(after)))?;
        let mut ahead = scans.remove(known)?;
        let passed = ahead.names.partition_point(|name| Some(*name) <= after);
        ahead.names.drain(..passed);
        ahead.from = after;
        // What has too few is scanned for: that takes its place.
        let page = (ahead.complete || ahead.names.len() >= most).then(|| ahead.page(most));
        if page.is_some() {
            scans.push_front(ahead);
        }
        page
    }

    /// The first page of a scan; the others are kept.
    pub(super) fn begin(&self, scanned: Smallest, most: usize) -> Vec<SegmentName> {
        let Smallest { after, names, complete, .. } = scanned;
        let mut ahead = Ahead { from: after, names: names.into_iter().collect(), complete, given: 0 };
        let page = ahead.page(most);
        let mut scans = self.0.lock();
        scans.push_front(ahead);
        scans.truncate(SCANS_MAX);
        page
    }
}

impl Ahead {
    /// The last name of the last page.
    fn last(&self) -> Option<SegmentName> {
        self.given.checked_sub(1).and_then(|last| self.names.get(last).copied())
    }

    /// Whether who goes on after this name may have had the last page: else it is somebody else, at another place.
    fn is_continued(&self, after: Option<SegmentName>) -> bool {
        let is_all = self.complete && self.given == self.names.len();
        self.from <= after && (is_all || after <= self.last())
    }

    fn page(&mut self, most: usize) -> Vec<SegmentName> {
        let page: Vec<SegmentName> = self.names.iter().take(most).copied().collect();
        self.given = page.len();
        page
    }
}

impl Smallest {
    /// Names after this one, at least `most` where there are so many.
    pub(super) fn after(after: Option<SegmentName>, most: usize) -> Self {
        Self { after, most: most.max(AHEAD_MAX), names: BTreeSet::new(), complete: true }
    }

    /// One name of the scan. The same one may be seen twice.
    pub(super) fn see(&mut self, name: SegmentName) {
        if self.after.is_some_and(|after| name <= after) {
            return;
        }
        self.names.insert(name);
        if self.names.len() > self.most {
            self.names.pop_last();
            self.complete = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::{BlobId, Epoch};

    use super::*;

    fn name(number: u32) -> SegmentName {
        SegmentName { blob: BlobId::new(Epoch(1), [0; 12]), number }
    }

    #[test]
    fn pages_follow_each_other_from_few_scans() {
        let all: u32 = 150_000;
        let pages = Pages::default();
        let (mut after, mut seen, mut scans) = (None, Vec::new(), 0);
        loop {
            let page = pages.next(after, 1_000).unwrap_or_else(|| {
                scans += 1;
                let mut smallest = Smallest::after(after, 1_000);
                (0..all).rev().for_each(|number| smallest.see(name(number)));
                assert!(smallest.names.len() <= AHEAD_MAX);
                pages.begin(smallest, 1_000)
            });
            seen.extend(page.iter().map(|name| name.number));
            let Some(&last) = page.last() else { break };
            after = Some(last);
        }
        assert_eq!(seen, (0..all).collect::<Vec<_>>());
        assert_eq!(scans, 3);
    }

    /// As `Store::list` goes through several engines: each gives more than is used of it.
    #[test]
    fn several_that_are_merged_take_few_scans() {
        let (all, most): (u32, usize) = (150_000, 1_000);
        let engines = [(); 3].map(|()| Pages::default());
        let (mut after, mut seen, mut scans) = (None, Vec::new(), 0);
        loop {
            let mut merged = BTreeSet::new();
            for (first, pages) in (0..).zip(&engines) {
                merged.extend(pages.next(after, most).unwrap_or_else(|| {
                    scans += 1;
                    let mut smallest = Smallest::after(after, most);
                    (first..all).step_by(engines.len()).for_each(|number| smallest.see(name(number)));
                    pages.begin(smallest, most)
                }));
            }
            let page: Vec<_> = merged.into_iter().take(most).collect();
            seen.extend(page.iter().map(|name| name.number));
            let Some(&last) = page.last() else { break };
            after = Some(last);
        }
        assert_eq!(seen, (0..all).collect::<Vec<_>>());
        assert_eq!(scans, 3);
    }

    /// As the sweep and the repair do at once: each at its own pace.
    #[test]
    fn several_at_different_places_keep_their_scans() {
        let (all, most): (u32, usize) = (150_000, 1_000);
        let pages = Pages::default();
        let mut scans = 0;
        let mut page = |after| {
            pages.next(after, most).unwrap_or_else(|| {
                scans += 1;
                let mut smallest = Smallest::after(after, most);
                (0..all).for_each(|number| smallest.see(name(number)));
                pages.begin(smallest, most)
            })
        };
        let mut readers = [(None, 0_u32); SCANS_MAX];
        for turn in 0_u32.. {
            let running =
                (1_u32..).zip(&mut readers).filter(|(every, (_, seen))| turn.is_multiple_of(*every) && *seen < all);
            for (_, (after, seen)) in running {
                let page = page(*after);
                assert_eq!(page.first().map(|name| name.number), Some(*seen));
                *seen += u32::try_from(page.len()).unwrap();
                *after = page.last().copied();
            }
            if readers.iter().all(|(_, seen)| *seen == all) {
                break;
            }
        }
        assert!(scans <= 3 * SCANS_MAX, "{scans}");
        assert_eq!(pages.0.lock().len(), SCANS_MAX);
    }

    #[test]
    fn somebody_else_begins_anew() {
        let pages = Pages::default();
        let scan = |after| {
            let mut smallest = Smallest::after(after, 2);
            (0..5).for_each(|number| smallest.see(name(number)));
            smallest
        };
        assert_eq!(pages.next(None, 2), None);
        assert_eq!(pages.begin(scan(None), 2), [name(0), name(1)]);
        assert_eq!(pages.next(Some(name(0)), 2), Some(vec![name(1), name(2)]), "not all of the page was used");
        assert_eq!(pages.next(Some(name(1)), 2), Some(vec![name(2), name(3)]));
        assert_eq!(pages.next(None, 2), None, "a new beginning");
        assert_eq!(pages.next(Some(name(0)), 2), None, "what is after it is not kept any more");
        assert_eq!(pages.next(Some(name(3)), 2), Some(vec![name(4)]));
        assert_eq!(pages.next(Some(name(4)), 2), Some(Vec::new()));
        assert_eq!(pages.next(Some(name(9)), 2), Some(Vec::new()));
        assert_eq!(pages.begin(scan(Some(name(3))), 2), [name(4)]);
        assert_eq!(pages.next(Some(name(2)), 2), None, "the scan began behind it");
    }
}
