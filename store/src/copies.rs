//! Which engines keep a segment, in which order they are asked, and what is done about one that fails.
//!
//! The order is that of rendezvous hashing: each blob has one of its own, which no further engine changes for the others.
//! Writers go down it until enough engines of distinct failure domains have the segment, readers until one gives it
//! undamaged. An engine that fails comes last until a probe has found that it works again (`disks.rs`).
//!
//! The engines of some stores are told while they run: there whoever comes before the first ones waits a little.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric::metric_names;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{StreamExt as _, TryStreamExt as _};
use parking_lot::{Mutex, RwLock};
use protocol::{BlobId, DiskId, Timestamp};
use tokio::sync::watch;

use crate::disks::Failing;
use crate::engine::{EngineError, Trouble};
use crate::known::{Known, Wanted};
use crate::unsure::Unsure;
use crate::{Engine, Error, Listed, Piece, SegmentName};

/// How long an engine may take for one segment.
const PATIENCE: Duration = Duration::from_secs(20);

/// A scan of all names takes longer than one segment: so many times.
const SCAN_PATIENCE: u32 = 10;

/// How long an engine that failed comes last at least, unless a probe finds that it works.
const LAST_FOR: Duration = Duration::from_secs(30);

/// Segments that are being deleted at once, on each engine.
const DELETES_MAX: usize = 8;
/// A put waits so long for engines that are yet to be told.
const TOLD_WITHIN: Duration = Duration::from_secs(3);

/// What an engine has of a blob, counted in segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyState {
    /// The engine's name.
    pub engine: String,
    /// Its failure domain.
    pub domain: String,
    /// Of so many.
    pub segments: u32,
    /// It lacks these.
    pub missing: u32,
    /// They are not what was put.
    pub damaged: u32,
    /// The engine failed, so that nothing is known of these.
    pub unknown: u32,
}

impl CopyState {
    /// Whether it has all of the blob, undamaged.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.missing + self.damaged + self.unknown == 0
    }
}

/// The engines, and how many of them keep each segment.
#[derive(Clone)]
pub(crate) struct Copies {
    places: Arc<watch::Sender<Places>>,
    /// Those of one time, whatever is told later.
    held: Option<Places>,
    /// They are told while it runs.
    changing: bool,
    /// The names of those that get no new segments: they are to be taken out.
    drained: Arc<RwLock<BTreeSet<String>>>,
    /// Only those that are known to be this store's get segments.
    pub(crate) claimed_only: Arc<AtomicBool>,
    /// Engines that are, or were, the store's.
    pub(crate) known: Arc<Known>,
    pub(crate) wanted: Wanted,
    pub(crate) patience: Duration,
}

/// The engines at one time.
pub(crate) type Places = Arc<[Arc<Place>]>;

/// An engine and when it last failed.
pub(crate) struct Place {
    pub(crate) engine: Arc<dyn Engine>,
    failed: Mutex<Option<Instant>>,
    full: Mutex<Option<Instant>>,
    slow: Mutex<Option<Instant>>,
    /// What it has failed at and not done since, with the call that failed.
    pub(crate) failing: Mutex<Option<(&'static str, Failing)>>,
    /// One probe at once (`disks.rs`).
    pub(crate) probe: tokio::sync::Mutex<()>,
    /// When somebody last had it probed.
    probed: Mutex<Option<Instant>>,
    /// Copies that were to be deleted.
    pub(crate) unsure: Unsure,
    /// Those that get no new segments.
    drained: Arc<RwLock<BTreeSet<String>>>,
    /// Whether that must be known.
    claimed_only: Arc<AtomicBool>,
    standing: RwLock<Standing>,
    /// Which place it is, as its mark says.
    id: Mutex<Option<DiskId>>,
}

/// Whether an engine is this store's (`claim.rs`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody has looked.
    Unknown,
    /// It has the store's mark.
    Ours,
    /// It is not what it was, or another's: nothing is put there, read, or deleted.
    Aside(Failing),
}

/// What an engine gave for a segment.
pub(crate) enum Given<T> {
    /// The segment, undamaged.
    Whole(T),
    /// It has none.
    Nothing,
    /// Something else than was put.
    Damaged,
    /// Nothing is known.
    Failed(EngineError),
}

impl Copies {
    pub(crate) fn new(engines: Vec<Arc<dyn Engine>>, wanted: NonZeroUsize) -> Self {
        let (drained, claimed_only) = (Arc::default(), Arc::default());
        let place = |engine| Place::new(engine, &drained, &claimed_only);
        let places: Places = engines.into_iter().map(place).collect();
        let places = Arc::new(watch::Sender::new(places));
        Self {
            places,
            held: None,
            changing: false,
            drained,
            claimed_only,
            known: Arc::default(),
            wanted: Wanted::new(wanted),
            patience: PATIENCE,
        }
    }

    /// None yet: they are told.
    pub(crate) fn changing(wanted: NonZeroUsize) -> Self {
        Self { changing: true, ..Self::new(Vec::new(), wanted) }
    }

    pub(crate) fn is_changing(&self) -> bool {
        self.changing
    }

    /// From now on these. One that stays is known as it was: that it has just failed, for example.
    pub(crate) fn replace(&self, engines: Vec<Arc<dyn Engine>>) {
        self.places.send_modify(|places| {
            let known = |engine: &Arc<dyn Engine>| places.iter().find(|place| Arc::ptr_eq(&place.engine, engine));
            let new = |engine| Place::new(engine, &self.drained, &self.claimed_only);
            let place = |engine| known(&engine).cloned().unwrap_or_else(|| new(engine));
            let replaced: Places = engines.into_iter().map(place).collect();
            *places = replaced;
        });
    }

    /// The same, on the engines that there are now, by their places, whatever is told later.
    pub(crate) fn as_of_now(&self) -> Self {
        Self { held: Some(self.places()), ..self.clone() }
    }

    /// Whether nothing else has been told since.
    pub(crate) fn is_of_now(&self) -> bool {
        self.held.as_ref().is_none_or(|held| Arc::ptr_eq(held, &self.places.borrow()))
    }

    /// These engines, by their names, get nothing new, and no other ones; wherever they are, and whenever they are told.
    pub(crate) fn drain(&self, names: &BTreeSet<String>) {
        let is_known = *self.drained.read() == *names;
        if !is_known {
            self.drained.write().clone_from(names);
        }
    }

    pub(crate) fn engines(&self) -> Vec<Arc<dyn Engine>> {
        self.places().iter().map(|place| Arc::clone(&place.engine)).collect()
    }

    /// Refuses what could not be kept by enough engines even if all of them worked.
    pub(crate) async fn check_enough(&self) -> Result<(), Error> {
        let wanted = self.wanted.get();
        let within = TOLD_WITHIN.min(self.patience);
        let left = self.taking(&self.told(|places| self.taking(places), wanted, within).await);
        if left < wanted { Err(Error::TooFewDisks { wanted, left }) } else { Ok(()) }
    }

    /// Whether it may get new segments.
    pub(crate) fn takes(&self, place: &Place) -> bool {
        !place.is_draining()
            && match &*place.standing.read() {
                Standing::Ours => true,
                Standing::Unknown => !self.claimed_only.load(Ordering::Relaxed),
                Standing::Aside(_) => false,
            }
    }

    /// How many that get new segments can fail by themselves.
    pub(crate) fn taking(&self, places: &[Arc<Place>]) -> usize {
        let taking = places.iter().filter(|place| self.takes(place));
        taking.map(|place| place.engine.domain()).collect::<BTreeSet<_>>().len()
    }

    /// Something is known of an engine that was not known before: whoever waits for it looks again.
    pub(crate) fn wake(&self) {
        self.places.send_modify(|_| {});
    }

    pub(crate) fn places(&self) -> Places {
        self.held.clone().unwrap_or_else(|| self.places.borrow().clone())
    }

    /// The engines. Where they are yet to be told, once they count as so many, or after so long.
    async fn told(&self, count: impl Fn(&[Arc<Place>]) -> usize, wanted: usize, within: Duration) -> Places {
        let is_unknown = |places: &[Arc<Place>]| places.iter().any(|place| place.standing() == Standing::Unknown);
        let is_asked = self.claimed_only.load(Ordering::Relaxed) && is_unknown(&self.places.borrow());
        let is_settled = !self.changing && !is_asked;
        if !is_settled && self.held.is_none() {
            let mut places = self.places.subscribe();
            let enough = places.wait_for(|places| count(places) >= wanted);
            drop(tokio::time::timeout(within, enough).await);
        }
        self.places()
    }

    /// The engines, of which there is one at least: where there are none, nobody knows what they have.
    async fn told_some(&self, verb: &'static str) -> Result<Places, EngineError> {
        let places = self.told(<[Arc<Place>]>::len, 1, self.patience).await;
        if places.is_empty() && self.changing { Err(EngineError::none_known(verb)) } else { Ok(places) }
    }

    /// Has the segment kept by as many engines as are wanted, no two of one domain; durable when this returns.
    pub(crate) async fn put(self, name: SegmentName, segment: Bytes) -> Result<(), Error> {
        let wanted = self.wanted.get();
        let places = self.places();
        let mut waiting = in_order(&places, name.blob, |place| place.is_failing() || place.is_full());
        waiting.retain(|place| self.takes(place));
        let mut domains = BTreeSet::new();
        let mut running = FuturesUnordered::new();
        let (mut kept, mut any_full) = (0, false);
        loop {
            while kept + running.len() < wanted {
                let Some(next) = waiting.iter().position(|place| !domains.contains(place.engine.domain())) else {
                    let left = kept + running.len();
                    return Err(if any_full {
                        Error::NoRoom { wanted, left }
                    } else {
                        Error::TooFewDisks { wanted, left }
                    });
                };
                let place = waiting.remove(next);
                domains.insert(place.engine.domain());
                let put = place.within(self.patience, "put", place.engine.put(name, segment.clone()));
                running.push(async move { (place, put.await) });
            }
            let Some((place, put)) = running.next().await else { return Ok(()) };
            match put {
                Ok(()) => {
                    kept += 1;
                    fabric::fault::point("segment.kept");
                }
                Err(error) => {
                    any_full |= error.trouble == Trouble::Full;
                    domains.remove(place.engine.domain());
                }
            }
        }
    }

    /// What `open` makes of a range of the segment, from the first engine whose bytes it can be made of.
    pub(crate) async fn read<T>(
        &self,
        name: SegmentName,
        range: Range<u64>,
        open: impl Fn(Bytes) -> Option<T>,
    ) -> Result<T, Error> {
        let piece = Piece::Segment(name);
        let (mut failed, mut damaged) = (None, None);
        let places = self.told_some("read").await?;
        for (rank, place) in in_order(&places, name.blob, Place::is_failing).into_iter().enumerate() {
            match self.ask(place, name, Some(range.clone()), &open).await {
                Given::Whole(opened) => return Ok(opened),
                // The others need not have it.
                Given::Nothing if rank >= self.wanted.get() => {}
                Given::Nothing => {
                    count("missing");
                    tracing::debug!(segment = %name, engine = place.engine.name(), "the engine lacks a segment");
                }
                Given::Damaged => {
                    count("damaged");
                    tracing::error!(segment = %name, engine = place.engine.name(), "a segment is damaged");
                    damaged.get_or_insert_with(|| place.engine.name().to_owned());
                }
                Given::Failed(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        // An engine that fails, or is absent, may have the segment: it is not lost.
        Err(match (failed.or_else(|| self.not_there("read")), damaged) {
            (Some(error), _) => Error::Engine(error),
            (None, Some(engine)) => Error::Corrupt { piece, engine },
            (None, None) => Error::Missing { piece },
        })
    }

    /// What each engine has of these segments.
    pub(crate) async fn survey<F>(&self, names: &[SegmentName], is_whole: F) -> Vec<CopyState>
    where
        F: Fn(SegmentName, Bytes) -> Option<()> + Sync,
    {
        let places = self.places();
        let survey = places.iter().map(|place| self.survey_one(place, names, &is_whole));
        futures::future::join_all(survey).await
    }

    async fn survey_one<F>(&self, place: &Place, names: &[SegmentName], is_whole: &F) -> CopyState
    where
        F: Fn(SegmentName, Bytes) -> Option<()> + Sync,
    {
        let mut state = CopyState {
            engine: place.engine.name().to_owned(),
            domain: place.engine.domain().to_owned(),
            segments: 0,
            missing: 0,
            damaged: 0,
            unknown: 0,
        };
        for &name in names {
            state.segments += 1;
            match self.ask(place, name, None, |kept| is_whole(name, kept)).await {
                Given::Whole(()) => {}
                Given::Nothing => state.missing += 1,
                Given::Damaged => state.damaged += 1,
                Given::Failed(_) => state.unknown += 1,
            }
        }
        state
    }

    /// Deletes these segments of a blob on every engine; what came of it on each.
    pub(crate) async fn delete(
        &self,
        blob: BlobId,
        numbers: Range<u32>,
    ) -> Result<Vec<Result<(), EngineError>>, EngineError> {
        let places = self.told_some("delete").await?;
        let deletes = places.iter().map(|place| self.delete_on(place, blob, numbers.clone()));
        let mut deleted = futures::future::join_all(deletes).await;
        deleted.extend(self.not_there("delete").map(Err));
        Ok(deleted)
    }

    /// An engine that fails at one segment is not asked about the others, and one that has just hung about none.
    async fn delete_on(&self, place: &Place, blob: BlobId, numbers: Range<u32>) -> Result<(), EngineError> {
        futures::stream::iter(numbers)
            .map(|number| async move {
                if place.has_hung() {
                    let source = "it did not answer just now".into();
                    let engine = place.engine.name().to_owned();
                    return Err(EngineError { engine, verb: "delete", trouble: Trouble::Slow, source });
                }
                place.within(self.patience, "delete", place.engine.delete(SegmentName { blob, number })).await?;
                fabric::fault::point("segment.deleted");
                Ok(())
            })
            .buffer_unordered(DELETES_MAX)
            .try_collect()
            .await
    }

    /// How long an engine may take for a page of its list.
    pub(crate) fn scan_patience(&self) -> Duration {
        self.patience * SCAN_PATIENCE
    }

    /// What each engine lists.
    pub(crate) async fn list(&self, after: Option<SegmentName>, most: usize) -> Vec<Result<Vec<Listed>, EngineError>> {
        let patience = self.scan_patience();
        let places = self.places();
        let lists = places.iter().map(|place| place.within(patience, "list", place.engine.list(after, most)));
        futures::future::join_all(lists).await
    }

    async fn ask<T>(
        &self,
        place: &Place,
        name: SegmentName,
        range: Option<Range<u64>>,
        open: impl Fn(Bytes) -> Option<T>,
    ) -> Given<T> {
        match place.within(self.patience, "read", place.engine.read(name, range)).await {
            Ok(Some(kept)) => open(kept).map_or(Given::Damaged, Given::Whole),
            Ok(None) => Given::Nothing,
            Err(error) => Given::Failed(error),
        }
    }
}

/// The engines in this blob's order, those that are to come last behind all others.
fn in_order(places: &[Arc<Place>], blob: BlobId, is_last: impl Fn(&Place) -> bool) -> Vec<&Place> {
    let mut places: Vec<&Place> = places.iter().map(|place| &**place).collect();
    places.sort_by_cached_key(|place| (is_last(place), rank(blob, place.engine.name())));
    places
}

impl Place {
    fn new(
        engine: Arc<dyn Engine>,
        drained: &Arc<RwLock<BTreeSet<String>>>,
        claimed_only: &Arc<AtomicBool>,
    ) -> Arc<Self> {
        Arc::new(Self {
            engine,
            failed: Mutex::new(None),
            full: Mutex::new(None),
            slow: Mutex::new(None),
            failing: Mutex::new(None),
            probe: tokio::sync::Mutex::new(()),
            probed: Mutex::new(None),
            unsure: Unsure::default(),
            drained: Arc::clone(drained),
            claimed_only: Arc::clone(claimed_only),
            standing: RwLock::new(Standing::Unknown),
            id: Mutex::new(None),
        })
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.aside().is_some() || self.has_failed()
    }

    /// It failed, and has not been seen to work since.
    fn has_failed(&self) -> bool {
        self.failing.lock().is_some() || is_recent(*self.failed.lock())
    }

    /// Whether it is to be probed now, by whoever asks: often enough for one that fails, and no more.
    pub(crate) fn is_probe_due(&self, every: Duration) -> bool {
        if self.aside().is_some() || !self.has_failed() {
            return false;
        }
        let mut probed = self.probed.lock();
        let is_due = probed.is_none_or(|at| at.elapsed() >= every);
        if is_due {
            *probed = Some(Instant::now());
        }
        is_due
    }

    /// As if all that is known of it had been seen long ago.
    #[cfg(test)]
    pub(crate) fn age(&self) {
        for known in [&self.failed, &self.full, &self.slow] {
            let mut known = known.lock();
            *known = known.and_then(|at| at.checked_sub(LAST_FOR));
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        is_recent(*self.full.lock())
    }

    pub(crate) fn has_hung(&self) -> bool {
        is_recent(*self.slow.lock())
    }

    /// What it says need not be waited for, or gone by.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.is_failing() || self.has_hung()
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing.read().clone()
    }

    pub(crate) fn stands(&self, standing: Standing) {
        *self.standing.write() = standing;
    }

    pub(crate) fn id(&self) -> Option<DiskId> {
        *self.id.lock()
    }

    /// It is this place.
    pub(crate) fn is_at(&self, id: Option<DiskId>) {
        *self.id.lock() = id;
    }

    /// Why it is set aside, where it is.
    pub(crate) fn aside(&self) -> Option<Failing> {
        match &*self.standing.read() {
            Standing::Aside(failing) => Some(failing.clone()),
            Standing::Unknown | Standing::Ours => None,
        }
    }

    /// Why it may not be asked for this: whoever finds nothing must not take it for lost, and another's is not listed.
    fn unusable(&self, verb: &str) -> Option<String> {
        match &*self.standing.read() {
            Standing::Aside(failing) => Some(failing.why.clone()),
            Standing::Unknown if verb != "read" && self.claimed_only.load(Ordering::Relaxed) => {
                Some("nobody has looked whose it is yet".to_owned())
            }
            Standing::Unknown | Standing::Ours => None,
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.drained.read().contains(self.engine.name())
    }

    /// It does everything again.
    pub(crate) fn recovered(&self) {
        (*self.failing.lock(), *self.failed.lock(), *self.slow.lock()) = (None, None, None);
        self.unsure.recovered();
    }

    /// Waits only so long, and notes a failure. One that is set aside does nothing.
    pub(crate) async fn within<T>(
        &self,
        patience: Duration,
        verb: &'static str,
        work: BoxFuture<'_, Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        if let Some(why) = self.unusable(verb) {
            let engine = self.engine.name().to_owned();
            return Err(EngineError { engine, verb, trouble: Trouble::Failed, source: why.into() });
        }
        let done = match tokio::time::timeout(patience, work).await {
            Ok(done) => done,
            Err(late) => Err(EngineError::slow(self.engine.name(), verb, late)),
        };
        match &done {
            Ok(_) => drop(self.failing.lock().take_if(|(failed, _)| *failed == verb)),
            Err(error) => self.note(verb, error),
        }
        done
    }

    pub(crate) fn note(&self, verb: &'static str, error: &EngineError) {
        count(error.trouble.name());
        if error.trouble == Trouble::Slow {
            *self.slow.lock() = Some(Instant::now());
        }
        if error.trouble != Trouble::Full {
            let why = error.to_string();
            match &mut *self.failing.lock() {
                Some((failed, failing)) => (*failed, failing.why) = (verb, why),
                nothing => *nothing = Some((verb, Failing { since: Timestamp::now(), why })),
            }
        }
        let noted = if error.trouble == Trouble::Full { &self.full } else { &self.failed };
        let before = noted.lock().replace(Instant::now());
        // Once for each time that it begins: not for each segment.
        if !is_recent(before) {
            tracing::warn!(%error, "an engine of the store fails; it comes last for now");
        }
    }
}

fn is_recent(failed: Option<Instant>) -> bool {
    failed.is_some_and(|at| at.elapsed() < LAST_FOR)
}

/// An engine's place in a blob's order: of all engines, the one with the lowest is asked first.
pub(crate) fn rank(blob: BlobId, engine: &str) -> [u8; 32] {
    *blake3::Hasher::new().update(blob.bytes()).update(engine.as_bytes()).finalize().as_bytes()
}

fn count(fault: &'static str) {
    metrics::counter!(metric_names::STORE_FAULTS, "fault" => fault).increment(1);
}
