//! Engines as an operator sees them: which work, how much room they have, and which are to be taken out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::{BlobId, Epoch, Timestamp};

use crate::copies::Place;
use crate::engine::{EngineError, Trouble};
use crate::put::fresh;
use crate::sealing::SEALED_SIZE_MAX;
use crate::{Listed, SegmentName, Space, Store};

/// How long an engine may take to say how it is.
const LOOK_WITHIN: Duration = Duration::from_secs(3);

/// Engines that fail are probed so often.
const PROBE_EVERY: Duration = Duration::from_secs(10);

/// The epoch of what is only put to see whether that works: nobody writes under it.
const TRIED: Epoch = Epoch(0);

/// Since when an engine fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// Since when this process knows.
    pub since: Timestamp,
    /// What it last said.
    pub why: String,
}

/// How an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskState {
    /// Its name.
    pub name: String,
    /// Its failure domain.
    pub domain: String,
    /// How much room it has; none where it does not say.
    pub space: Option<Space>,
    /// Something fails there.
    pub failing: Option<Failing>,
    /// It takes no segment more.
    pub full: bool,
    /// It is to be taken out.
    pub draining: bool,
    /// So many copies of what it has it keeps by itself.
    pub replicas: usize,
}

impl Store {
    /// How many copies of each segment are kept.
    #[must_use]
    pub fn copies_wanted(&self) -> usize {
        self.copies.wanted.get()
    }

    /// How each engine is, by their order, and those that are absent behind them. One that has failed is asked to keep, and to
    /// delete, a few bytes.
    pub async fn disks(&self) -> Vec<DiskState> {
        let patience = self.copies.patience.min(LOOK_WITHIN);
        let places = self.copies.places();
        let looks = places.iter().map(|place| look(place, patience));
        let mut states = futures::future::join_all(looks).await;
        states.extend(self.copies.absent_disks());
        states
    }

    /// Has engines that fail tried again, in the background, each once in 10 s however often this is called: it comes last
    /// until that succeeds. Where nobody asks for [`Self::disks`], nothing else would see that it works again.
    pub fn probe_failing(&self) {
        let patience = self.copies.patience.min(LOOK_WITHIN);
        for place in self.copies.places().iter().filter(|place| place.is_probe_due(PROBE_EVERY)) {
            let place = Arc::clone(place);
            tokio::spawn(async move { look(&place, patience).await });
        }
    }

    /// In how many failure domains copies could be kept now if this engine were taken out: those that fail or are full, as
    /// [`Self::disks`] says, do not count.
    #[must_use]
    pub fn domains_without(&self, engine: &str, disks: &[DiskState]) -> usize {
        let works = |name: &str| disks.iter().any(|disk| disk.name == name && disk.failing.is_none() && !disk.full);
        let places = self.copies.places();
        let others = places.iter().filter(|place| self.copies.takes(place) && place.engine.name() != engine);
        let others = others.filter(|place| works(place.engine.name()));
        others.map(|place| place.engine.domain()).collect::<BTreeSet<_>>().len()
    }

    /// The names of engines that fail, or are set aside.
    #[must_use]
    pub fn failing(&self) -> BTreeSet<String> {
        let places = self.copies.places();
        let failing = places.iter().filter(|place| place.is_failing() || place.failing.lock().is_some());
        failing.map(|place| place.engine.name().to_owned()).collect()
    }

    /// These engines, by their names, get nothing new, and no other ones; one that is told of later, too.
    pub fn drain(&self, names: &BTreeSet<String>) {
        self.copies.drain(names);
    }

    /// The segments after this one that the engine of this place in the order has; see `Engine::list`.
    ///
    /// # Errors
    /// When it fails, or does not answer in time.
    pub async fn list_on(
        &self,
        disk: usize,
        after: Option<SegmentName>,
        most: usize,
    ) -> Result<Vec<Listed>, EngineError> {
        let places = self.copies.places();
        let Some(place) = places.get(disk) else { return Ok(Vec::new()) };
        place.within(self.copies.scan_patience(), "list", place.engine.list(after, most)).await
    }
}

async fn look(place: &Place, patience: Duration) -> DiskState {
    if let Some(failing) = place.aside() {
        return DiskState {
            name: place.engine.name().to_owned(),
            domain: place.engine.domain().to_owned(),
            space: None,
            failing: Some(failing),
            full: false,
            draining: place.is_draining(),
            replicas: place.engine.replicas(),
        };
    }
    let space = place.within(patience, "measure", place.engine.space()).await.ok();
    // What failed may work again, and the engine come last still.
    if place.is_failing()
        && space.is_some()
        // What hangs takes a thread of each who tries.
        && let Ok(_probe) = place.probe.try_lock()
        && let Ok((blob, _)) = fresh(TRIED)
    {
        // One that says that it is full works.
        let kept = keeps(place, blob, patience).await;
        if kept.map_or_else(|error| error.trouble == Trouble::Full, |()| true) {
            place.recovered();
        }
    }
    let no_room = space.is_some_and(|space| space.free < SEALED_SIZE_MAX as u64);
    DiskState {
        name: place.engine.name().to_owned(),
        domain: place.engine.domain().to_owned(),
        space,
        failing: place.failing.lock().as_ref().map(|(_, failing)| failing.clone()),
        full: place.is_full() || no_room,
        draining: place.is_draining(),
        replicas: place.engine.replicas(),
    }
}

/// Whether something that is put there can be read, and deleted.
async fn keeps(place: &Place, blob: BlobId, patience: Duration) -> Result<(), EngineError> {
    let name = SegmentName { blob, number: 0 };
    place.within(patience, "put", place.engine.put(name, Bytes::from_static(b"a look whether this is kept"))).await?;
    place.within(patience, "read", place.engine.read(name, None)).await?;
    place.within(patience, "delete", place.engine.delete(name)).await
}
