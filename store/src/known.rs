//! What a store is told of itself while it runs: how many copies there are to be, and which engines it has had. One of those
//! that it does not have now is absent: what it keeps is neither lost nor deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use protocol::{DiskId, Timestamp};

use crate::Store;
use crate::copies::{Copies, Place, Standing};
use crate::disks::{DiskState, Failing};
use crate::engine::{EngineError, Trouble};

/// Why an engine that is absent does nothing.
const NOT_THERE: &str = "it is not among the disks of this start";

/// How many engines keep each segment: the same for all clones of a store.
#[derive(Clone)]
pub(crate) struct Wanted(Arc<AtomicUsize>);

impl Wanted {
    pub(crate) fn new(copies: NonZeroUsize) -> Self {
        Self(Arc::new(AtomicUsize::new(copies.get())))
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, copies: NonZeroUsize) {
        self.0.store(copies.get(), Ordering::Relaxed);
    }
}

/// Engines that are, or were, the store's, by their names.
#[derive(Default)]
pub(crate) struct Known(Mutex<BTreeMap<String, Had>>);

struct Had {
    /// Which place that is, by whatever name.
    place: Option<DiskId>,
    /// Since when this process knows that it is not there.
    absent: Option<Timestamp>,
}

impl Known {
    fn set(&self, engines: BTreeMap<String, Option<DiskId>>) {
        let mut known = self.0.lock();
        let had = |(name, place): (String, Option<DiskId>)| {
            let absent = known.get(&name).and_then(|had| had.absent);
            (name, Had { place, absent })
        };
        let next: BTreeMap<String, Had> = engines.into_iter().map(had).collect();
        *known = next;
    }

    fn absent(&self, places: &[Arc<Place>]) -> BTreeMap<String, Timestamp> {
        let mut known = self.0.lock();
        if known.is_empty() {
            return BTreeMap::new();
        }
        let names: BTreeSet<&str> = places.iter().map(|place| place.engine.name()).collect();
        let ids: BTreeSet<DiskId> = places.iter().filter_map(|place| place.id()).collect();
        let mut absent = BTreeMap::new();
        for (name, had) in known.iter_mut() {
            if names.contains(name.as_str()) || had.place.is_some_and(|place| ids.contains(&place)) {
                had.absent = None;
            } else {
                absent.insert(name.clone(), *had.absent.get_or_insert_with(Timestamp::now));
            }
        }
        absent
    }
}

impl Copies {
    /// Which engines are absent, and since when this process knows.
    pub(crate) fn absent(&self) -> BTreeMap<String, Timestamp> {
        self.known.absent(&self.places())
    }

    /// Why something cannot be said to be done everywhere, or to be nowhere: an engine is absent.
    pub(crate) fn not_there(&self, verb: &'static str) -> Option<EngineError> {
        let engine = self.absent().into_keys().next()?;
        Some(EngineError { engine, verb, trouble: Trouble::Failed, source: NOT_THERE.into() })
    }

    /// Those that are absent, as an operator sees them.
    pub(crate) fn absent_disks(&self) -> impl Iterator<Item = DiskState> {
        self.absent().into_iter().map(|(name, since)| DiskState {
            domain: name.clone(),
            name,
            space: None,
            failing: Some(Failing { since, why: NOT_THERE.to_owned() }),
            full: false,
            draining: false,
            replicas: 1,
        })
    }
}

impl Store {
    /// From now on so many engines are to keep each segment, in this store and in every clone of it.
    pub fn set_copies(&self, copies: NonZeroUsize) {
        self.copies.wanted.set(copies);
    }

    /// In how many failure domains copies can be kept.
    #[must_use]
    pub fn domains(&self) -> usize {
        let places = self.copies.places();
        self.copies.taking(&places)
    }

    /// These engines are, or were, the store's, each with the place that it is where that is known. As long as it does not
    /// have one of them, what nobody has is not known to be lost, and what is deleted is not known to be deleted everywhere.
    pub fn set_known(&self, engines: BTreeMap<String, Option<DiskId>>) {
        self.copies.known.set(engines);
    }

    /// The names of those that it does not have, and since when this process knows.
    #[must_use]
    pub fn absent(&self) -> BTreeMap<String, Timestamp> {
        self.copies.absent()
    }

    /// The names of engines that are known to be this store's, and which places these are; none where somebody has marked one
    /// by hand.
    #[must_use]
    pub fn claimed_places(&self) -> BTreeMap<String, Option<DiskId>> {
        let places = self.copies.places();
        let ours = places.iter().filter(|place| place.standing() == Standing::Ours);
        ours.map(|place| (place.engine.name().to_owned(), place.id())).collect()
    }
}
