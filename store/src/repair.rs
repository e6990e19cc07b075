//! Segments one by one: which engines have them undamaged, and copying them from one to another.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Instant;

use bytes::Bytes;
use protocol::{Blob, BlobId, ByteSize};

use crate::copies::{Copies, Place, rank};
use crate::plan::{Kept, Plan, Seat, plan};
use crate::sealing::{self, Opener};
use crate::{Error, Listed, SegmentName, Store};

/// One blob's segments, for whoever looks after their copies.
pub struct Segments {
    copies: Copies,
    opener: Opener,
    id: BlobId,
    numbers: Range<u32>,
}

/// What was found of a segment, and what was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mended {
    /// What each engine had, by their order: all of it was read. Behind them stands that nobody knows, where one is absent.
    pub kept: Vec<Kept>,
    /// Good copies there were, of distinct failure domains, up to as many as are wanted; on disks that are to stay.
    pub before: usize,
    /// Good copies there are now.
    pub after: usize,
    /// There are more copies than are wanted: see [`Segments::extra`].
    pub extra: bool,
    /// Bytes that were read.
    pub read: ByteSize,
    /// Bytes that were written.
    pub written: ByteSize,
}

impl Mended {
    /// No engine has it, and none could have it. Where no engine is known, nobody knows.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        !self.kept.is_empty() && !self.kept.iter().any(|kept| matches!(kept, Kept::Whole | Kept::Unknown))
    }
}

/// The segments of a blob of this size, as engines that have them whole list them.
///
/// # Errors
/// When no blob is so large.
pub fn kept_by_size(blob: BlobId, size: ByteSize) -> Result<impl Iterator<Item = Listed> + Send, Error> {
    let listed = move |number| Listed { name: SegmentName { blob, number }, bytes: sealing::kept_size(size, number) };
    Ok(sealing::segments(size)?.map(listed))
}

impl Store {
    /// The blob's segments, on the engines that there are now.
    ///
    /// # Errors
    /// When no blob is so large, or its key is none.
    pub fn segments(&self, blob: &Blob) -> Result<Segments, Error> {
        let numbers = sealing::segments(blob.size)?;
        Ok(Segments { copies: self.copies.as_of_now(), opener: Opener::new(blob)?, id: blob.id, numbers })
    }

    /// Whether a copy was to be deleted and may still go by itself: it was not said to be done.
    #[must_use]
    pub fn has_unsure_deletes(&self) -> bool {
        let now = Instant::now();
        self.copies.places().iter().any(|place| place.unsure.any(now))
    }

    /// How many good copies there are of a segment of which engines have this, by their order, as far as their lists say;
    /// and whether there is something to be done about it.
    #[must_use]
    pub fn outlook(&self, name: SegmentName, kept: &[Kept]) -> (usize, bool) {
        let plan = self.copies.plan(name, kept);
        (plan.good.len(), !plan.is_done())
    }
}

impl Segments {
    /// Their numbers.
    #[must_use]
    pub fn numbers(&self) -> Range<u32> {
        self.numbers.clone()
    }

    /// Reads every copy of a segment, makes those that are missing from a good one, and replaces damaged ones. Nothing is
    /// deleted. Engines that are known to fail, by their places, are not asked, nor are those that have just hung.
    pub async fn mend(&self, number: u32, failing: &BTreeSet<usize>) -> Mended {
        let name = SegmentName { blob: self.id, number };
        let (kept, whole, read) = self.read_all(name, failing, Place::has_hung).await;
        let plan = self.copies.plan(name, &kept);
        let before = plan.good.len();
        let (mut after, mut written) = (before, 0);
        let places = self.copies.places();
        for &disk in &plan.put {
            let (Some(segment), Some(place)) = (&whole, places.get(disk)) else { continue };
            let put = place.engine.put(name, segment.clone());
            if place.within(self.copies.patience, "put", put).await.is_ok() {
                after += 1;
                written += segment.len() as u64;
                fabric::fault::point("segment.copied");
            }
        }
        Mended {
            kept,
            before,
            after,
            extra: after >= self.copies.wanted.get() && !plan.remove.is_empty(),
            read: ByteSize(read),
            written: ByteSize(written),
        }
    }

    /// Which engines, by their places, have a copy of a segment beyond those that are wanted: so many others have been read
    /// just now. No engine is asked that fails or has just hung.
    pub async fn extra(&self, number: u32, failing: &BTreeSet<usize>) -> Vec<usize> {
        let name = SegmentName { blob: self.id, number };
        let (kept, ..) = self.read_all(name, failing, Place::is_doubtful).await;
        let plan = self.copies.plan(name, &kept);
        if plan.good.len() < self.copies.wanted.get() { Vec::new() } else { plan.remove }
    }

    /// Deletes such copies, but begins and waits for nothing after this time. Gives the places of the engines that had them.
    /// Whoever calls it has [`Self::extra`] read and this done with nobody else doing it meanwhile, or after: each would rely
    /// on copies that the other one deletes. What was not said to be deleted in time does not count as a copy for a while.
    pub async fn remove(&self, number: u32, extra: &[usize], until: Instant) -> Vec<usize> {
        let name = SegmentName { blob: self.id, number };
        let mut removed = Vec::new();
        // Where other engines have been told since, some of those that were read may not be the store's any more.
        if !self.copies.is_of_now() {
            return removed;
        }
        let places = self.copies.places();
        for &disk in extra {
            let now = Instant::now();
            let left = until.saturating_duration_since(now);
            let Some(place) = places.get(disk) else { continue };
            if left.is_zero() || !place.unsure.begin(name, now) {
                continue;
            }
            let delete = place.engine.delete(name);
            let deleted = place.within(self.copies.patience.min(left), "delete", delete).await;
            place.unsure.ended(name, &deleted);
            if deleted.is_ok() {
                removed.push(disk);
                fabric::fault::point("segment.trimmed");
            }
        }
        removed
    }

    /// What each engine has, the segment as it is kept, and how many bytes were read.
    async fn read_all(
        &self,
        name: SegmentName,
        failing: &BTreeSet<usize>,
        is_skipped: fn(&Place) -> bool,
    ) -> (Vec<Kept>, Option<Bytes>, u64) {
        let part = self.opener.segment(name.number);
        let (mut all, mut whole, mut bytes) = (Vec::new(), None, 0);
        let places = self.copies.places();
        for (disk, place) in places.iter().enumerate() {
            if failing.contains(&disk) || is_skipped(place) {
                all.push(Kept::Unknown);
                continue;
            }
            let read = place.within(self.copies.patience, "read", place.engine.read(name, None)).await;
            all.push(match read {
                Err(_) => Kept::Unknown,
                Ok(None) => Kept::Missing,
                Ok(Some(kept)) => {
                    bytes += kept.len() as u64;
                    // The one that is kept must not be opened in its place.
                    if self.opener.open(&part, kept.clone()).is_some() {
                        whole.get_or_insert(kept);
                        Kept::Whole
                    } else {
                        Kept::Damaged
                    }
                }
            });
        }
        // An engine that is absent may have it.
        if !self.copies.absent().is_empty() {
            all.push(Kept::Unknown);
        }
        (all, whole, bytes)
    }
}

impl Copies {
    /// What is to be done about a segment of which engines have this.
    fn plan(&self, name: SegmentName, kept: &[Kept]) -> Plan {
        let (places, now) = (self.places(), Instant::now());
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_by_cached_key(|disk| rank(name.blob, places[*disk].engine.name()));
        let seat = |disk: usize| {
            let place = &places[disk];
            Seat {
                disk,
                domain: place.engine.domain(),
                // One that may go by itself is no copy, and where one may go none is put.
                kept: match kept.get(disk) {
                    Some(kept) if !place.unsure.has(name, now) => *kept,
                    _ => Kept::Unknown,
                },
                takes: self.takes(place) && !place.is_failing() && !place.is_full(),
                leaves: place.is_draining(),
            }
        };
        let seats: Vec<Seat<'_>> = order.into_iter().map(seat).collect();
        plan(&seats, self.wanted.get())
    }
}
