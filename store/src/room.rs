//! How much room there is for a blob, before somebody puts it who need not put it now.

use std::collections::BTreeMap;

use protocol::ByteSize;

use crate::engine::EngineError;
use crate::{Error, Space, Store};

impl Store {
    /// Bytes that are missing on engines, so that a blob of this size can be kept by as many of them as it is to be, and
    /// each of these keeps so much free as `reserve` says. Nothing: there is room.
    ///
    /// # Errors
    /// When too few engines say how much they can keep.
    pub async fn missing_room(&self, size: ByteSize, reserve: impl Fn(Space) -> u64) -> Result<ByteSize, Error> {
        let (mut missing, mut failed) = (BTreeMap::new(), None);
        let places = self.copies.places();
        for place in places.iter().filter(|place| self.copies.takes(place)) {
            let engine = &place.engine;
            let space = match tokio::time::timeout(self.copies.patience, engine.space()).await {
                Ok(space) => space,
                Err(late) => Err(EngineError::slow(engine.name(), "measure", late)),
            };
            match space {
                Ok(space) => {
                    let needed = size.0.saturating_add(reserve(space)).saturating_sub(space.free);
                    let least = missing.entry(engine.domain()).or_insert(needed);
                    *least = needed.min(*least);
                }
                Err(error) => failed = Some(error),
            }
        }
        let (left, wanted) = (missing.len(), self.copies.wanted.get());
        let mut missing: Vec<u64> = missing.into_values().collect();
        missing.sort_unstable();
        match (missing.get(wanted - 1), failed) {
            (Some(missing), _) => Ok(ByteSize(*missing)),
            (None, Some(error)) => Err(error.into()),
            (None, None) => Err(Error::TooFewDisks { wanted, left }),
        }
    }
}
