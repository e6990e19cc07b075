//! Whose an engine is: each has the mark of the store that it belongs to, so that neither another platform's engine nor the
//! folder under a disk that is not mounted is taken for an empty one.

use std::collections::BTreeSet;

use protocol::StoreId;

use crate::engine::EngineError;
use crate::{Engine, Store};

/// Why an engine may not be used.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// It has the mark of another store.
    #[error(
        "{engine} belongs to another platform: it is marked as {found}, and this database's store is {wanted}. Each \
         platform needs a store of its own, and with its database comes its store"
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
         its place, mark it as {store} first (a folder: in its file `store.id`)"
    )]
    Lost {
        /// Which engine.
        engine: String,
        /// Whose it should be.
        store: StoreId,
    },
    /// Nobody knows whose its segments are.
    #[error("{engine} has bytes, but no mark that says whose. If they are this platform's, mark it as {store}")]
    Unmarked {
        /// Which engine.
        engine: String,
        /// Whose it may be.
        store: StoreId,
    },
    /// It cannot say whose it is.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Store {
    /// Takes the engines for the store of this id: each has its mark afterwards. `known` names those that have had it
    /// before, and was asked for before this; only others are marked, and only when they are empty.
    ///
    /// # Errors
    /// When one of them is not this store's, or may be without what it had.
    pub async fn claim(&self, store: StoreId, known: &BTreeSet<String>) -> Result<(), ClaimError> {
        for engine in self.engines() {
            claim(&**engine, store, known.contains(engine.name())).await?;
        }
        Ok(())
    }
}

async fn claim(engine: &dyn Engine, store: StoreId, is_known: bool) -> Result<(), ClaimError> {
    let name = || engine.name().to_owned();
    let found = match engine.mark().await? {
        Some(found) => found,
        None if is_known => return Err(ClaimError::Lost { engine: name(), store }),
        None if engine.list(None, 1).await?.is_empty() => engine.set_mark(store).await?,
        // Somebody else of this platform may have marked it since, and put something.
        None => engine.mark().await?.ok_or_else(|| ClaimError::Unmarked { engine: name(), store })?,
    };
    if found == store { Ok(()) } else { Err(ClaimError::Another { engine: name(), found, wanted: store }) }
}
