//! Repair: the leader looks which copies of which blobs there are, and makes those that are missing.
//!
//! ```text
//! a page of the index, beside all engines' lists --> as many copies as are wanted: next
//!                                               |
//!                                               +--> fewer, or others: all are read; a good one is put where one is
//!                                                    missing or damaged; extra ones go
//! ```
//! It looks once an hour, and again when a disk fails, works again, or is to be taken out: at once where there are other disks,
//! or others are to be taken out, and else once the present look has ended. It is done at a pace
//! (`--store-repair-rate`), may be interrupted anywhere, and goes by lists only to find what it then reads: a blob that was
//! put just now, and that a list does not have, costs a read.
//!
//! Why no copy goes that is needed: no two leaders may each delete one with the copy in mind that the other one deletes. So a
//! leader reads all copies, and then renews its lease by its epoch, which another leader would have changed: since before it
//! read, nobody else has led. All that it deletes then ends, or is not waited for any more, within a third of the lease that
//! was renewed; whoever leads next begins after that, and reads what is left. What was not waited for may be deleted later
//! still. This process does not count it as a copy for a while (`store/src/unsure.rs`), and does not give the office back
//! before the lease has ended. Another one may count it, as long as the disk that hung says that it is there: it puts a new
//! copy in its place once it is gone, unless it has deleted the others by then. With one copy wanted that may be the last one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use protocol::api::StoreLook;
use protocol::{AccountId, BlobId, ByteSize, Epoch, Timestamp};
use sea_orm::{DbErr, EntityTrait as _};
use serde::{Deserialize, Serialize};
use store::{Kept, Segments, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::epochs::HORIZON;
use super::lists::Lists;
use super::pace::Pace;
use super::scrub::Scrub;
use super::sweep::keep;
use super::{Care, CareError, ReadError, drains, notes, status};
use crate::db::columns::Col;
use crate::db::entities::store_horizon;
use crate::db::{loops, now};
use crate::leader::{self, Lease, Office};

/// Between two turns where there is nothing to do, and between two attempts to take the office.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two turns of a pass: others use the database, too.
const PAUSE: Duration = Duration::from_millis(10);
/// How long a turn may take, but for the blob that it is at.
const TURN: Duration = Duration::from_secs(1);
/// How much of that the scrub has while a pass is under way, but for the segment that it is at.
const SHARE: Duration = Duration::from_millis(200);
/// How often disks are asked how they are.
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// Between the beginnings of two passes.
const PASS_EVERY: Duration = Duration::from_secs(3600);
/// The same, where a disk has changed; and after a failure.
const SOON: Duration = Duration::from_secs(10);
/// The same, where the last pass has left fewer copies than are wanted: a disk that failed then may take some now.
const AGAIN: Duration = Duration::from_secs(600);
/// A segment's extra copies are deleted within the lease divided by this.
const REMOVES: u32 = 3;
/// Blobs of one page.
const LOOKED_AT_ONCE: u64 = 500;
/// The note of the looks.
pub(super) const NOTE: &str = "repair";

/// A blob, as it is looked after.
pub(super) type Row = (Col<BlobId>, Option<Col<AccountId>>, Col<ByteSize>);

/// What is noted of the looks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Looks {
    /// The last whole one.
    pub(super) last: Option<StoreLook>,
    /// The one that is under way.
    pub(super) now: Option<StoreLook>,
    /// Segments that the last one saw on disks that are to be taken out, and that are needed or may be. A disk of which
    /// this is not known is not here.
    pub(super) left: BTreeMap<String, u64>,
}

/// Repairs while this instance leads, until it is stopped.
pub(crate) async fn run(care: Care, stop: CancellationToken) {
    let mut repair = Repair::new(&care);
    let length = care.lease;
    while !stop.is_cancelled() {
        let mut pause = LOOK_EVERY;
        match Lease::take(&care.db, Office::Store, care.instance, length).await {
            Ok(Some(lease)) => {
                let turn = async {
                    tokio::select! {
                        done = repair.turn(lease.epoch()) => Some(done),
                        () = keep(&care.db, &lease) => None,
                    }
                };
                let done = stop.run_until_cancelled(Box::pin(turn)).await.flatten();
                match done {
                    Some(Ok(true)) => pause = PAUSE,
                    Some(Ok(false)) => {}
                    Some(Err(error)) => {
                        tracing::warn!(%error, "copies in the store could not be looked after; retrying");
                        repair.begin_anew();
                    }
                    None => repair.begin_anew(),
                }
            }
            Ok(None) => repair.begin_anew(),
            Err(error) => tracing::warn!(%error, "leader election of the store's repair failed"),
        }
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
    // What was not said to be deleted may be deleted just now: nobody else is to lead yet.
    if care.store.has_unsure_deletes() {
        return;
    }
    if let Err(error) = leader::resign(&care.db, Office::Store, care.instance).await {
        tracing::warn!(%error, "release of the store repair's lease failed");
    }
}

/// What the leader remembers of its repair; nothing is lost with it.
pub(super) struct Repair {
    care: Care,
    pace: Pace,
    pass: Option<Pass>,
    scrub: Scrub,
    /// What was known of the disks when they were asked last.
    disks: Option<Known>,
    looks: Looks,
    next_probe: Instant,
    next_pass: Instant,
}

/// What is known of the disks.
struct Known {
    /// Their names, in their order.
    names: Vec<String>,
    /// Those that fail.
    failing: BTreeSet<String>,
    /// Those that are to be taken out, and since when.
    leaving: BTreeMap<String, Timestamp>,
}

/// A pass over all blobs.
struct Pass {
    began: Instant,
    /// On the disks that there were when it began.
    store: Store,
    look: StoreLook,
    page: VecDeque<Row>,
    after: Option<BlobId>,
    lists: Lists,
    /// Disks that are to be taken out, by their places: what they have that is needed. None: not known.
    leaving: BTreeMap<usize, Option<u64>>,
    /// A disk has failed, or works again, since it began.
    is_outdated: bool,
}

impl Repair {
    pub(super) fn new(care: &Care) -> Self {
        let begun = Instant::now();
        Self {
            care: care.clone(),
            pace: Pace::new(care.rate),
            pass: None,
            scrub: Scrub::new(care),
            disks: None,
            looks: Looks::default(),
            next_probe: begun,
            next_pass: begun,
        }
    }

    /// What was under way is not gone on with: lists have been read that are not known any more.
    fn begin_anew(&mut self) {
        if self.pass.take().is_some() {
            self.next_pass = Instant::now() + SOON;
        }
        self.looks = Looks::default();
        self.scrub.begin_anew();
    }

    /// Does some of what is due. False: nothing is under way.
    pub(super) async fn turn(&mut self, office: i64) -> Result<bool, CareError> {
        let begun = Instant::now();
        if begun >= self.next_probe {
            self.next_probe = begun + PROBE_EVERY;
            self.probe().await?;
        }
        // Where no disk is known yet, nobody knows what is missing.
        if self.care.store.engines().is_empty() {
            return Ok(false);
        }
        if self.pass.is_none() && begun >= self.next_pass {
            self.pass = Some(self.begin().await?);
            self.next_pass = begun + PASS_EVERY;
        }
        let until = Instant::now() + if self.pass.is_some() { SHARE } else { TURN };
        let is_scrubbing = match self.scrub.go_on(&mut self.pace, until).await {
            Ok(is_scrubbing) => is_scrubbing,
            Err(error) => {
                tracing::warn!(%error, "the scrub of the store broke off; it goes on later");
                self.scrub.begin_anew();
                false
            }
        };
        let Some(pass) = &mut self.pass else { return Ok(is_scrubbing) };
        let begun = Instant::now();
        while begun.elapsed() < TURN {
            if pass.step(&self.care, &mut self.pace, office).await? {
                continue;
            }
            self.end().await?;
            return Ok(is_scrubbing);
        }
        self.looks.now = Some(pass.look.clone());
        notes::write(&self.care.db, NOTE, &self.looks).await?;
        Ok(true)
    }

    /// A whole pass, as the leader.
    #[cfg(test)]
    pub(super) async fn whole(&mut self, office: i64) -> Result<Looks, CareError> {
        self.pass = Some(self.begin().await?);
        self.next_pass = Instant::now() + PASS_EVERY;
        while let Some(pass) = &mut self.pass {
            if !pass.step(&self.care, &mut self.pace, office).await? {
                self.end().await?;
            }
        }
        Ok(self.looks.clone())
    }

    /// Begins a pass.
    #[cfg(test)]
    pub(super) async fn begin_pass(&mut self) {
        self.pass = Some(self.begin().await.unwrap());
        self.next_pass = Instant::now() + PASS_EVERY;
    }

    /// The scrub's next share is due.
    #[cfg(test)]
    pub(super) fn hurry_scrub(&mut self) {
        self.scrub.hurry();
    }

    /// Whether a pass is under way.
    #[cfg(test)]
    pub(super) fn has_pass(&self) -> bool {
        self.pass.is_some()
    }

    /// How long until the next pass.
    #[cfg(test)]
    pub(super) fn next_pass_in(&self) -> Duration {
        self.next_pass.saturating_duration_since(Instant::now())
    }

    /// Asks the disks how they are. A pass is due where that has changed. One that is under way begins anew where there are
    /// others, as it goes by their places, or others are to be taken out. It does not where one fails or works again: so
    /// one that does both all the time cannot keep it from its end.
    pub(super) async fn probe(&mut self) -> Result<(), DbErr> {
        let leaving = drains::apply(&self.care, self.care.db.read()).await?;
        let mut now = Known { names: Vec::new(), failing: BTreeSet::new(), leaving };
        for disk in self.care.store.disks().await {
            if disk.failing.is_some() {
                now.failing.insert(disk.name.clone());
            }
            now.names.push(disk.name);
        }
        let before = self.disks.as_ref();
        let is_other = before.is_some_and(|before| before.names != now.names || before.leaving != now.leaving);
        let is_changed = before.is_some_and(|before| before.failing != now.failing);
        self.disks = Some(now);
        match &mut self.pass {
            Some(pass) if is_other || !pass.store.is_of_now() => {
                self.next_pass = self.next_pass.min(pass.began + SOON);
                self.pass = None;
            }
            Some(pass) => pass.is_outdated |= is_changed,
            None if is_other || is_changed => self.next_pass = self.next_pass.min(Instant::now()),
            None => {}
        }
        Ok(())
    }

    async fn begin(&mut self) -> Result<Pass, CareError> {
        let care = &self.care;
        if self.looks.last.is_none() {
            self.looks = notes::read(&care.db, NOTE).await?.unwrap_or_default();
        }
        let leaving = drains::apply(care, care.db.read()).await?;
        let horizon = store_horizon::Entity::find_by_id(HORIZON).one(care.db.read()).await?;
        let began = now(care.db.read()).await?;
        let of = status::count(care.db.read()).await?.blobs;
        let store = care.store.as_of_now();
        let engines = store.engines().into_iter().enumerate();
        let places = engines.filter(|(_, engine)| leaving.contains_key(engine.name())).map(|(disk, _)| (disk, Some(0)));
        Ok(Pass {
            began: Instant::now(),
            look: StoreLook {
                began,
                ended: None,
                blobs: 0,
                of,
                found: 0,
                fewer: 0,
                lost: 0,
                copied: 0,
                copied_bytes: ByteSize(0),
                removed: 0,
            },
            page: VecDeque::new(),
            after: None,
            lists: Lists::new(&store, horizon.map_or(Epoch(0), |row| row.epoch.0)),
            leaving: places.collect(),
            is_outdated: false,
            store,
        })
    }

    /// Notes what a pass has come to.
    async fn end(&mut self) -> Result<(), CareError> {
        let Some(mut pass) = self.pass.take() else { return Ok(()) };
        let names: Vec<String> = pass.store.engines().iter().map(|engine| engine.name().to_owned()).collect();
        let mut left = BTreeMap::new();
        for (disk, needed) in pass.leaving {
            let unindexed = pass.lists.unindexed(&pass.store, disk).await;
            if let (Some(needed), Some(unindexed), Some(name)) = (needed, unindexed, names.get(disk)) {
                left.insert(name.clone(), needed + unindexed);
            }
        }
        let StoreLook { blobs, found, fewer, lost, copied, .. } = pass.look;
        if found + lost > 0 {
            tracing::info!(blobs, found, fewer, lost, copied, "looked after the copies in the store");
        }
        if fewer > 0 {
            self.next_pass = self.next_pass.min(pass.began + AGAIN);
        }
        if pass.is_outdated {
            self.next_pass = self.next_pass.min(pass.began + SOON);
        }
        // Whether a disk may be taken out is known once no process puts anything there.
        let (told_within, began) = (status::told_within(&self.care), pass.look.began);
        let is_left = |(name, since): (&String, &Timestamp)| {
            names.contains(name) && (left.get(name) != Some(&0) || began < since.plus(told_within))
        };
        if self.disks.as_ref().is_some_and(|known| known.leaving.iter().any(is_left)) {
            self.next_pass = self.next_pass.min(pass.began + told_within.max(SOON));
        }
        pass.look.ended = Some(now(self.care.db.read()).await?);
        self.looks = Looks { last: Some(pass.look), now: None, left };
        notes::write(&self.care.db, NOTE, &self.looks).await?;
        fabric::fault::point("repair.noted");
        Ok(())
    }
}

impl Pass {
    /// Looks at the next blob. False: there is none.
    async fn step(&mut self, care: &Care, pace: &mut Pace, office: i64) -> Result<bool, CareError> {
        if self.page.is_empty() {
            // What is doomed is needed for a day, and must not be left on a disk that goes.
            let page = loops::blobs_looked_after(self.after, !self.leaving.is_empty(), LOOKED_AT_ONCE);
            self.page = page.into_tuple::<Row>().all(care.db.read()).await?.into();
        }
        let Some((id, _, size)) = self.page.pop_front() else { return Ok(false) };
        self.after = Some(id.0);
        Box::pin(self.blob(care, pace, office, (id.0, size.0))).await?;
        fabric::fault::point("repair.looked");
        Ok(true)
    }

    async fn blob(
        &mut self,
        care: &Care,
        pace: &mut Pace,
        office: i64,
        (id, size): (BlobId, ByteSize),
    ) -> Result<(), CareError> {
        let wanted = self.store.copies_wanted();
        let (mut before, mut after, mut is_lost) = (wanted, wanted, false);
        let mut segments = None;
        for listed in store::kept_by_size(id, size)? {
            let kept = self.lists.kept(&self.store, listed).await;
            let (good, is_due) = self.store.outlook(listed.name, &kept);
            if !is_due {
                (before, after) = (before.min(good), after.min(good));
                self.count_left(&kept, &[]);
                continue;
            }
            if segments.is_none() {
                segments = open(care, &self.store, id).await?;
            }
            let Some(opened) = &segments else {
                // It has been deleted, or cannot be read: the check names those.
                self.count_left(&kept, &[]);
                return Ok(());
            };
            let failing = self.lists.failing();
            let mended = opened.mend(listed.name.number, &failing).await;
            pace.spend(ByteSize(mended.read.0.saturating_add(mended.written.0))).await;
            (before, after) = (before.min(mended.before), after.min(mended.after));
            is_lost |= mended.is_lost();
            self.look.copied += (mended.after - mended.before) as u64;
            self.look.copied_bytes.0 += mended.written.0;
            let removed = match mended.extra {
                true => trim(care, opened, listed.name.number, &failing, office).await?,
                false => Vec::new(),
            };
            self.look.removed += removed.len() as u64;
            self.count_left(&mended.kept, &removed);
        }
        self.look.blobs += 1;
        if before == wanted {
            return Ok(());
        }
        // What was deleted meanwhile is not lost.
        if is_lost && is_gone(care, id).await? {
            return Ok(());
        }
        self.look.found += 1;
        self.look.fewer += u64::from(after < wanted);
        self.look.lost += u64::from(is_lost);
        if is_lost {
            tracing::error!(blob = %id, "no whole copy of a blob is left");
        }
        Ok(())
    }

    /// Counts what disks that are to be taken out still have of a segment.
    fn count_left(&mut self, kept: &[Kept], removed: &[usize]) {
        for (disk, left) in &mut self.leaving {
            match kept.get(*disk) {
                Some(Kept::Whole | Kept::Damaged) if !removed.contains(disk) => *left = left.map(|left| left + 1),
                Some(Kept::Unknown) | None => *left = None,
                _ => {}
            }
        }
    }
}

/// Deletes a segment's extra copies, as the only one who does; those engines that had one.
async fn trim(
    care: &Care,
    segments: &Segments,
    number: u32,
    failing: &BTreeSet<usize>,
    office: i64,
) -> Result<Vec<usize>, DbErr> {
    drains::apply(care, care.db.read()).await?;
    let extra = segments.extra(number, failing).await;
    if extra.is_empty() {
        return Ok(extra);
    }
    // By our own clock, and before it is asked: the lease ends later than this says.
    let until = Instant::now() + care.lease / REMOVES;
    if !leader::extend(care.db.leases(), Office::Store, office, care.lease).await? {
        return Ok(Vec::new());
    }
    let removed = segments.remove(number, &extra, until.into_std()).await;
    fabric::fault::point("repair.trimmed");
    Ok(removed)
}

/// The segments of a blob; none where it is in the index no more, or its key cannot be opened.
async fn open(care: &Care, store: &Store, id: BlobId) -> Result<Option<Segments>, CareError> {
    match care.open(id).await {
        Ok(blob) => Ok(Some(store.segments(&blob)?)),
        Err(ReadError::Unknown(_) | ReadError::NoKey { .. } | ReadError::Sealed(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether nothing refers to it any more.
pub(super) async fn is_gone(care: &Care, id: BlobId) -> Result<bool, DbErr> {
    let row = crate::db::entities::blobs::Entity::find_by_id(Col(id)).one(care.db.read()).await?;
    Ok(row.is_none_or(|row| row.doomed.is_some()))
}
