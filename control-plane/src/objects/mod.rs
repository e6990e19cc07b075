//! The index of the store: which blobs there are, whose, with which keys, and how they end.
//!
//! ```text
//! put (store) --keep, in the owner's transaction--> indexed --nothing refers to it--> doomed --a day--> deleted --> forgotten
//!     |                                                ^  |
//!     |                                          refer +--+
//!     +--its epoch is closed--> never indexed --below the horizon, and listed--> deleted
//! ```
//! A reference is the owner's row itself ([`REFERENCES`]): whoever deletes such a row does nothing else. [`sweep()`] does the
//! rest, and may be interrupted anywhere, or be done by two at once. Why it takes nothing that somebody needs:
//! - A blob becomes doomed in a transaction that locks its row, and then finds no row that refers to it. Whoever refers to
//!   a blob that is there locks the same row: it comes first and is seen, or comes second and is refused.
//! - Copies beyond what is wanted are deleted by the leader alone, which has read enough others just before ([`repair()`]).
//! - What the index does not have may be on its way into it. So writers hold epochs, with which the names of their blobs
//!   begin (`epochs.rs`), and only what is below all open ones is deleted. Nobody goes by times of files, or by clocks.

mod check;
pub(crate) mod claim;
pub(crate) mod drains;
mod epochs;
pub(crate) mod extent;
mod index;
pub(crate) mod keys;
mod lists;
pub(crate) mod moving;
mod notes;
mod pace;
mod repair;
mod scrub;
mod seal;
pub(crate) mod status;
mod sweep;
mod writing;

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::epoch::{AskEpoch, EpochLease};
use protocol::{AccountId, Blob, BlobId, ByteSize, Digest, InstanceId, Timestamp};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr};
use store::{Legacy, Object, Store};
use tokio::sync::Semaphore;

use crate::App;
use crate::db::Db;
use crate::db::columns::Col;
use crate::error::Result;
use keys::Keyring;

pub(crate) use crate::db::REFERENCES;
pub(crate) use check::stream as check;
pub(crate) use claim::{claim, follow as follow_engines, forget_key, is_key, knows_key};
pub(crate) use index::{ReadError, kept, refer};
pub use keys::{KeyError, KeyExport, KeyFindings, KeyFolder, KeyImport, KeyNumber};
pub(crate) use repair::run as repair;
pub(crate) use sweep::run as sweep;
pub use sweep::{BareSweep, SweepError};
pub(crate) use writing::{Epochs, Writing};

/// Where the platform's bytes are.
pub struct Stores {
    /// What is put, and read.
    pub store: Store,
    /// The store of earlier releases, as long as something in it has not been put again.
    pub legacy: Option<Legacy>,
    /// How many copies this start asks for; none: as many as before.
    pub copies: Option<NonZeroUsize>,
}

impl From<Store> for Stores {
    fn from(store: Store) -> Self {
        let copies = NonZeroUsize::new(store.copies_wanted());
        Self { store, legacy: None, copies }
    }
}

/// What the index needs beside the database and the store.
pub(crate) struct Objects {
    keys: Keyring,
    legacy: Option<Legacy>,
}

impl Objects {
    pub(crate) fn new(keys: Keyring, legacy: Option<Legacy>) -> Self {
        Self { keys, legacy }
    }

    /// The store of earlier releases.
    pub(crate) fn legacy(&self) -> Option<&Legacy> {
        self.legacy.as_ref()
    }
}

/// Why copies could not be looked after; they are again later.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CareError {
    #[error(transparent)]
    Database(#[from] DbErr),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What looking after the copies of blobs needs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Care {
    db: Db,
    store: Store,
    objects: Arc<Objects>,
    instance: InstanceId,
    lease: Duration,
    epoch_lease: Duration,
    /// Bytes a second.
    rate: ByteSize,
    /// One check of all bytes at once.
    checks: Arc<Semaphore>,
}

impl Care {
    pub(crate) fn new(app: &App) -> Self {
        Self {
            db: app.db.clone(),
            store: app.store.clone(),
            objects: Arc::clone(&app.objects),
            instance: app.instance,
            lease: app.config.lease.duration(),
            epoch_lease: app.config.store_epoch_lease.duration(),
            rate: app.config.store_repair_rate,
            checks: Arc::clone(&app.checks),
        }
    }

    /// All that a reader of a blob needs.
    async fn open(&self, id: BlobId) -> Result<Blob, ReadError> {
        index::open(&self.objects.keys, self.db.read(), id).await
    }
}

/// Where something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Address {
    /// A blob of the index.
    Blob(BlobId),
    /// An object of an earlier release, by its manifest.
    Legacy(Digest),
}

impl Address {
    /// As a row has it, in its columns `blob` and `root`.
    pub(crate) fn of(blob: Option<Col<BlobId>>, root: Option<Col<Digest>>) -> Option<Self> {
        blob.map(|blob| Self::Blob(blob.0)).or(root.map(|root| Self::Legacy(root.0)))
    }
}

/// Notes a blob in the transaction that writes the row which refers to it; again is fine. Refused where its epoch is not
/// open any more: then its bytes may be deleted already.
pub(crate) async fn keep(
    app: &App,
    tx: &DatabaseTransaction,
    account: Option<AccountId>,
    blob: &Blob,
) -> Result<BlobId> {
    index::keep(&app.objects.keys, tx, account, blob).await
}

/// Notes the blob of the newest placement model. The ones before stay for a while.
pub(crate) async fn keep_model(
    app: &App,
    tx: &DatabaseTransaction,
    blob: &Blob,
    published: Timestamp,
) -> Result<BlobId> {
    index::keep_model(&app.objects.keys, tx, blob, published).await
}

/// All that a reader of a blob needs.
pub(crate) async fn open<C: ConnectionTrait>(app: &App, connection: &C, id: BlobId) -> Result<Blob, ReadError> {
    index::open(&app.objects.keys, connection, id).await
}

/// The bytes at an address, as a stream.
pub(crate) async fn read(app: &App, address: Address) -> Result<Object, ReadError> {
    read_over(app, app.db.read(), address).await
}

/// All bytes at an address, at most so many. It is looked up over this connection: whoever has a transaction waits for no
/// second one.
pub(crate) async fn read_whole<C: ConnectionTrait>(
    app: &App,
    connection: &C,
    address: Address,
    max: ByteSize,
) -> Result<Bytes, ReadError> {
    Ok(read_over(app, connection, address).await?.collect(max).await?)
}

async fn read_over<C: ConnectionTrait>(app: &App, connection: &C, address: Address) -> Result<Object, ReadError> {
    match address {
        Address::Blob(id) => Ok(app.store.get(&open(app, connection, id).await?).await?),
        Address::Legacy(root) => Ok(app.objects.legacy().ok_or(ReadError::NoLegacy(root))?.get(root).await?),
    }
}

/// `POST /internal/store/epochs`: a gateway is about to put something, or goes on.
pub(crate) async fn lease_epoch(
    db: &Db,
    engines: &Store,
    lasts: protocol::Millis,
    asked: AskEpoch,
) -> Result<EpochLease, DbErr> {
    for epoch in asked.close {
        epochs::close(db, epoch).await?;
    }
    let draining: Vec<String> = drains::known(db.read()).await?.into_keys().collect();
    let store = Some(claim::store_id(db).await?);
    extent::apply(engines, db.read()).await?;
    let copies = NonZeroUsize::new(engines.copies_wanted());
    let absent: Vec<String> = engines.absent().into_keys().collect();
    if let Some(epoch) = asked.renew
        && epochs::renew(db, epoch, lasts).await?
    {
        return Ok(EpochLease { epoch, lasts, draining, store, copies, absent });
    }
    let epoch = epochs::open(db, &asked.holder.to_string(), lasts).await?;
    Ok(EpochLease { epoch, lasts, draining, store, copies, absent })
}
