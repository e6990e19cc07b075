//! Whose an engine is: each has the mark of the store that it belongs to, so that neither another platform's engine nor the
//! folder under a disk that is not mounted is taken for an empty one.
//!
//! One that is not this store's, or is not what it was, is set aside: nothing is put there, read, or deleted, until a later
//! look finds it as it should be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::node::Mark;
use protocol::{BlobId, DiskId, StoreId, Timestamp};

use crate::copies::{Place, Standing};
use crate::disks::Failing;
use crate::engine::EngineError;
use crate::{Engine, Store};

/// How long an engine may take to say whose it is; and where it has no mark, so that all its names are gone through.
const CLAIM_WITHIN: Duration = Duration::from_secs(5);
const MARK_WITHIN: Duration = Duration::from_secs(40);
/// What is asked of an engine.
const CLAIM: &str = "say whose it is";
/// Of an engine's segments so many show whose they are, where it has no mark.
const LISTED: usize = 64;

/// Why an engine may not be used.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// It has the mark of another store.
    #[error(
        "{engine} belongs to another platform: it is marked as {found}, and this database's store is {wanted}. Each \
         platform needs a store of its own, and with its database comes its store. Where this database is an earlier backup of \
         the same platform, take the mark away (a folder: its file `store.id`): the engine is known by its blobs then"
    )]
    Another {
        /// Which engine.
        engine: String,
        /// Whose it is.
        found: StoreId,
        /// Whose it should be.
        wanted: StoreId,
    },
    /// It had the mark once.
    #[error(
        "{engine} is empty, and was not when this platform used it last: is its disk mounted? If an empty one is to take \
         its place: `crowdcloud store replace`, or where no other disk is left, {store} as its mark (a folder: in its \
         file `store.id`)"
    )]
    Lost {
        /// Which engine.
        engine: String,
        /// Whose it should be.
        store: StoreId,
    },
    /// Nobody knows whose its segments are.
    #[error(
        "{engine} has bytes, but no mark that says whose. If they are this platform's, mark it as {store} (a \
         folder: in its file `store.id`)"
    )]
    Unmarked {
        /// Which engine.
        engine: String,
        /// Whose it may be.
        store: StoreId,
    },
    /// Another one is the same place.
    #[error("{engine} is the same place as {first}: name it once")]
    Twice {
        /// Which engine.
        engine: String,
        /// The other one.
        first: String,
    },
    /// Nobody has marked it yet.
    #[error("{engine} has no mark: its disk is not mounted, or it is new and no control plane has taken it yet")]
    New {
        /// Which engine.
        engine: String,
    },
    /// It cannot say whose it is.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl ClaimError {
    /// Whether an empty engine may take the place of this one: what it had is not there any more.
    #[must_use]
    pub fn is_lost(&self, name: &str) -> bool {
        matches!(self, Self::Lost { engine, .. } | Self::New { engine } if engine == name)
    }

    /// Whether it has been said where blobs are, and that is wrong: no later look will find it otherwise.
    #[must_use]
    pub fn is_of_another(&self) -> bool {
        matches!(self, Self::Another { .. } | Self::Twice { .. })
    }
}

/// Who takes engines, and which.
#[derive(Debug)]
pub enum Claims<'a> {
    /// Somebody who does not mark any.
    Marked,
    /// Whoever says which engines there are.
    Taken(&'a Taken),
}

/// By what engines without a mark are known.
#[derive(Debug, Default)]
pub struct Taken {
    /// These have had the mark, and were asked for before.
    pub known: BTreeSet<String>,
    /// The first blobs of the index: what has some of them is this store's.
    pub blobs: BTreeSet<BlobId>,
    /// Blobs were put when there were no marks: what is empty may be a disk that is not mounted.
    pub had_none: bool,
}

impl Store {
    /// Looks which engines belong to the store of this id: they have its mark afterwards. All others are set aside, and told.
    /// One that was the store's and cannot say so now, stays.
    pub async fn claim(&self, store: StoreId, claims: &Claims<'_>) -> Vec<ClaimError> {
        let places = self.copies.places();
        let patience = self.copies.patience;
        let looks = places.iter().map(|place| look(place, store, claims, patience));
        let looked = futures::future::join_all(looks).await;
        let mut seen = BTreeMap::<DiskId, &str>::new();
        let mut refused = Vec::new();
        for (place, looked) in places.iter().zip(looked) {
            let name = place.engine.name();
            if let Ok(id) = &looked {
                place.is_at(*id);
            }
            // By two names it would count as two copies, and the deletion of one would be that of both.
            let found = looked.and_then(|disk| match disk.map(|disk| *seen.entry(disk).or_insert(name)) {
                Some(first) if first != name => {
                    Err(ClaimError::Twice { engine: name.to_owned(), first: first.to_owned() })
                }
                _ => Ok(()),
            });
            refused.extend(stand(place, found));
        }
        self.copies.wake();
        refused
    }

    /// Engines that are not known to be this store's.
    #[must_use]
    pub fn unclaimed(&self) -> usize {
        self.copies.places().iter().filter(|place| place.standing() != Standing::Ours).count()
    }

    /// Engines that nobody has looked at.
    #[must_use]
    pub fn unknown(&self) -> usize {
        self.copies.places().iter().filter(|place| place.standing() == Standing::Unknown).count()
    }

    /// The names of those that are known to be.
    #[must_use]
    pub fn claimed(&self) -> BTreeSet<String> {
        let places = self.copies.places();
        let ours = places.iter().filter(|place| place.standing() == Standing::Ours);
        ours.map(|place| place.engine.name().to_owned()).collect()
    }
}

/// Which place it is, where it is this store's.
async fn look(
    place: &Place,
    store: StoreId,
    claims: &Claims<'_>,
    patience: Duration,
) -> Result<Option<DiskId>, ClaimError> {
    let engine = &*place.engine;
    let slow = |late| EngineError::slow(engine.name(), CLAIM, late);
    let marked = tokio::time::timeout(CLAIM_WITHIN.min(patience), engine.mark()).await.map_err(slow)??;
    let found = match marked {
        Some(found) => found,
        None => tokio::time::timeout(MARK_WITHIN, mark(engine, store, claims)).await.map_err(slow)??,
    };
    if found.store == store {
        Ok(found.disk)
    } else {
        Err(ClaimError::Another { engine: engine.name().to_owned(), found: found.store, wanted: store })
    }
}

/// Notes what was found; gives why it is not used.
fn stand(place: &Place, found: Result<(), ClaimError>) -> Option<ClaimError> {
    let Err(error) = found else {
        if place.aside().is_some() {
            tracing::info!(engine = place.engine.name(), "an engine of the store is as it should be again");
        }
        if place.standing() != Standing::Ours {
            place.recovered();
        }
        place.stands(Standing::Ours);
        return None;
    };
    let why = error.to_string();
    match place.standing() {
        Standing::Ours if matches!(error, ClaimError::Engine(_)) => return None,
        Standing::Aside(failing) if failing.why == why => {}
        Standing::Aside(failing) => {
            tracing::error!(%error, "an engine of the store is set aside still");
            place.stands(Standing::Aside(Failing { why, ..failing }));
        }
        // Whether it is set aside is known when it answers; a new one has its mark soon.
        Standing::Unknown => {
            if let ClaimError::Engine(error) = &error {
                place.note(CLAIM, error);
            } else {
                if !matches!(error, ClaimError::New { .. }) {
                    tracing::error!(%error, "an engine of the store is set aside");
                }
                place.stands(Standing::Aside(Failing { since: Timestamp::now(), why }));
            }
        }
        Standing::Ours => {
            tracing::error!(%error, "an engine of the store is set aside");
            place.stands(Standing::Aside(Failing { since: Timestamp::now(), why }));
        }
    }
    Some(error)
}

/// The mark of an engine that had none.
async fn mark(engine: &dyn Engine, store: StoreId, claims: &Claims<'_>) -> Result<Mark, ClaimError> {
    let name = || engine.name().to_owned();
    let Claims::Taken(taken) = claims else { return Err(ClaimError::New { engine: name() }) };
    let listed = engine.list(None, LISTED).await?;
    let is_ours = listed.iter().any(|listed| taken.blobs.contains(&listed.name.blob));
    if listed.is_empty() && (taken.had_none || taken.known.contains(engine.name())) {
        return Err(ClaimError::Lost { engine: name(), store });
    }
    if listed.is_empty() || is_ours {
        return Ok(engine.set_mark(Mark::new(store)).await?);
    }
    // Somebody else of this platform may have marked it since, and put something.
    engine.mark().await?.ok_or_else(|| ClaimError::Unmarked { engine: name(), store })
}
