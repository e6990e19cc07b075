//! The sweep: dooms what nothing refers to, deletes what was doomed long ago, and what the index never had.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt as _;
use protocol::{BlobId, ByteSize, Millis, Timestamp};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, DatabaseTransaction, DbErr, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};
use store::{Deleted, SegmentName, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::claim;
use super::epochs::{self, HORIZON};
use super::keys::Keyring;
use crate::App;
use crate::db::columns::{Col, signed};
use crate::db::entities::{blobs, store_horizon};
use crate::db::{Db, loops, now};
use crate::error::StartError;
use crate::leader::{self, Lease, Office};

/// Between two looks, and between two attempts to take the office.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Renewals of the office in the time of its lease.
const RENEWALS: u32 = 4;
/// Blobs that are looked at in one step, which ends with a pause.
const LOOKED_AT_ONCE: u64 = 500;
/// Blobs that are younger are not looked at: nearly all of them have just been put.
const YOUNG: Duration = Duration::from_secs(3600);
/// Between two passes over all blobs, and between two looks whether engines are to be listed.
const PASS_EVERY: Duration = Duration::from_secs(600);
/// Blobs that are deleted in one step.
const DELETED_AT_ONCE: u64 = 100;
/// Deletions on their way to the engines at once.
const DELETES_MAX: usize = 8;
/// After all engines have failed, they are asked again so much later.
const FAILED_FOR: Duration = Duration::from_secs(60);
/// And where one of them is not there, so much later: what it has waits for it.
const ABSENT_FOR: Duration = Duration::from_secs(4 * 3600);
/// Engines are compared with the index so often.
const LIST_EVERY: Duration = Duration::from_secs(86_400);
/// Segments of one page of their lists.
const LISTED_AT_ONCE: usize = 1_000;
/// Of a sweep by itself.
const BARE_CONNECTIONS: u32 = 4;
const BARE_LEASE: Millis = Millis(60_000);

/// Why a step was not done; it is done again later.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbErr),
    /// Every engine failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Sweeps while this instance leads, until it is stopped.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    let mut sweep = Sweep::new(&app);
    let length = app.config.lease.duration();
    while !stop.is_cancelled() {
        match Lease::take(&app.db, Office::Store, app.instance, length).await {
            Ok(Some(lease)) => {
                let turn = async {
                    tokio::select! {
                        swept = sweep.turn() => swept,
                        () = keep(&app.db, &lease) => Ok(()),
                    }
                };
                if let Some(Err(error)) = stop.run_until_cancelled(Box::pin(turn)).await {
                    tracing::warn!(%error, "the store could not be swept; retrying");
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "leader election of the store's sweep failed"),
        }
        stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await;
    }
    // What the repair wanted to delete may be deleted just now: nobody else is to lead yet.
    if app.store.has_unsure_deletes() {
        return;
    }
    if let Err(error) = leader::resign(&app.db, Office::Store, app.instance).await {
        tracing::warn!(%error, "release of the store sweep's lease failed");
    }
}

/// Keeps the office, so that not two do the same work; returns when it is lost.
pub(super) async fn keep(db: &Db, lease: &Lease) {
    loop {
        tokio::time::sleep(lease.length() / RENEWALS).await;
        if !matches!(lease.renew(db).await, Ok(true)) {
            return;
        }
    }
}

/// What the leader remembers of its sweep; nothing is lost with it.
pub(super) struct Sweep {
    db: Db,
    store: Store,
    /// None where it opens no blob: the sweep by itself.
    keys: Option<Keyring>,
    doomed_for: Millis,
    epoch_lease: Millis,
    /// How far the present pass over all blobs is.
    looked: Option<BlobId>,
    /// When the next pass begins, when engines are asked to delete again, and when they are listed again.
    next_pass: Instant,
    next_delete: Instant,
    next_list: Instant,
}

impl Sweep {
    pub(super) fn new(app: &App) -> Self {
        let (doomed_for, epoch_lease) = (app.config.store_doomed_for, app.config.store_epoch_lease);
        Self::of(app.db.clone(), app.store.clone(), Some(app.objects.keys.clone()), doomed_for, epoch_lease)
    }

    fn of(db: Db, store: Store, keys: Option<Keyring>, doomed_for: Millis, epoch_lease: Millis) -> Self {
        let begun = Instant::now();
        Self {
            db,
            store,
            keys,
            doomed_for,
            epoch_lease,
            looked: None,
            next_pass: begun,
            next_delete: begun,
            next_list: begun,
        }
    }

    /// One step of each kind that is due.
    pub(super) async fn turn(&mut self) -> Result<(), SweepError> {
        if !self.may_sweep() {
            return Ok(());
        }
        let (begun, now) = (Instant::now(), now(self.db.read()).await?);
        if begun >= self.next_pass && !self.doom_some(now).await? {
            self.next_pass = begun + PASS_EVERY;
        }
        if begun >= self.next_delete {
            let pause = self.delete_doomed(now).await?;
            self.next_delete = Instant::now() + pause;
        }
        if begun >= self.next_list {
            self.next_list = begun + PASS_EVERY;
            let row = store_horizon::Entity::find_by_id(HORIZON).one(self.db.read()).await?;
            // What lies ahead is of a clock that has jumped back since.
            if row.is_none_or(|row| *row.listed > now || row.listed.plus(LIST_EVERY) <= now) {
                self.delete_unindexed(now).await?;
            }
        }
        Ok(())
    }

    /// All that there is to do at this time, engines' lists included.
    #[cfg(test)]
    pub(super) async fn whole(&mut self, now: Timestamp) -> Result<(), SweepError> {
        if !self.may_sweep() {
            return Ok(());
        }
        while self.doom_some(now).await? {}
        self.delete_doomed(now).await?;
        self.delete_unindexed(now).await
    }

    /// Not while a master key is missing: such a platform has been restored in part, and may be again, with other rows.
    fn may_sweep(&self) -> bool {
        self.keys.as_ref().is_none_or(Keyring::is_whole)
    }

    /// Looks at the next blobs, and dooms those to which nothing refers. False at the end of a pass.
    async fn doom_some(&mut self, now: Timestamp) -> Result<bool, DbErr> {
        if self.looked.is_none() {
            loops::blobs_doomed_later(now).exec(self.db.write()).await?;
        }
        let page: Vec<Col<BlobId>> =
            loops::blobs_after(self.looked, LOOKED_AT_ONCE).into_tuple().all(self.db.read()).await?;
        let ends = (page.first().copied(), page.last().copied());
        let (Some(first), Some(last)) = ends else {
            self.looked = None;
            return Ok(false);
        };
        let before = Timestamp(now.0.saturating_sub(signed(YOUNG.as_secs()) * 1_000));
        let unreferenced = loops::blobs_unreferenced((first.0, last.0), before);
        let unreferenced: Vec<Col<BlobId>> = unreferenced.into_tuple().all(self.db.read()).await?;
        if !unreferenced.is_empty() {
            self.doom(&unreferenced.into_iter().map(|id| id.0).collect::<Vec<BlobId>>(), now).await?;
        }
        self.looked = Some(last.0);
        Ok(true)
    }

    /// Dooms those of them to which still nothing refers.
    async fn doom(&self, ids: &[BlobId], now: Timestamp) -> Result<(), DbErr> {
        let tx = self.db.begin_bulk().await?;
        // Whoever is about to refer to one has its lock. Only a statement that begins afterwards is sure to see the reference.
        lock(&tx, ids).await?;
        let doomed = loops::blobs_doom(ids, now).exec(&tx).await?.rows_affected;
        tx.commit().await?;
        fabric::fault::point("blob.doomed");
        tracing::debug!(doomed, "blobs doomed: nothing refers to them");
        Ok(())
    }

    /// Deletes what was doomed long enough ago: the bytes, then the row, which stays where an engine may still have
    /// some of them. When to do it next.
    async fn delete_doomed(&self, now: Timestamp) -> Result<Duration, DbErr> {
        let before = Timestamp(now.0.saturating_sub(signed(self.doomed_for.0)));
        let (mut after, mut pause) = (None, Duration::ZERO);
        loop {
            type Row = (Option<Col<Timestamp>>, Col<BlobId>, Col<ByteSize>);
            let page = loops::blobs_doomed(before, after, DELETED_AT_ONCE).into_tuple::<Row>();
            let page: Vec<Row> = page.all(self.db.read()).await?;
            let Some((Some(doomed), last, _)) = page.last() else { return Ok(pause) };
            after = Some((doomed.0, last.0));
            let deletes: Vec<_> = page.iter().map(|(_, id, size)| self.delete(id.0, size.0)).collect();
            let deleted: Vec<(BlobId, Option<Deleted>)> =
                futures::stream::iter(deletes).buffer_unordered(DELETES_MAX).collect().await;
            fabric::fault::point("blob.deleted");
            let gone = deleted.iter().filter(|(_, how)| matches!(how, Some(Deleted::Everywhere)));
            let gone: Vec<BlobId> = gone.map(|(id, _)| *id).collect();
            if !gone.is_empty() {
                self.forget(&gone).await?;
            }
            fabric::fault::point("blob.forgotten");
            if deleted.iter().all(|(_, how)| how.is_none()) {
                return Ok(FAILED_FOR);
            }
            // The others have room again; what the one that failed has waits for it.
            if gone.len() < deleted.len() {
                pause = if self.store.absent().is_empty() { PASS_EVERY } else { ABSENT_FOR };
            }
        }
    }

    /// Deletes the rows of what is deleted.
    async fn forget(&self, ids: &[BlobId]) -> Result<(), DbErr> {
        let tx = self.db.begin_bulk().await?;
        lock(&tx, ids).await?;
        let rows = blobs::Entity::delete_many().filter(blobs::Column::Id.is_in(ids.iter().map(|id| Col(*id))));
        rows.filter(blobs::Column::Doomed.is_not_null()).exec(&tx).await?;
        tx.commit().await
    }

    /// None where all engines have failed.
    async fn delete(&self, id: BlobId, size: ByteSize) -> (BlobId, Option<Deleted>) {
        let deleted = self.store.delete(id, size).await;
        match &deleted {
            Ok(Deleted::Everywhere) => {}
            Ok(Deleted::InPart(error)) => tracing::debug!(blob = %id, %error, "an engine still has some of a blob"),
            Err(error) => tracing::warn!(blob = %id, %error, "deletion of a blob failed; retrying"),
        }
        (id, deleted.ok())
    }

    /// Deletes what engines have and the index never will: what is below the horizon, and has no row.
    async fn delete_unindexed(&self, now: Timestamp) -> Result<(), SweepError> {
        // What is another platform's must not be listed as this one's.
        if self.keys.is_some() {
            claim::look(&self.db, &self.store).await?;
        }
        let horizon = epochs::raise_horizon(&self.db, self.epoch_lease).await?;
        fabric::fault::point("store.horizon");
        let (mut after, mut deleted, mut left) = (None, 0_u64, 0_u64);
        loop {
            let page = self.store.list(after, LISTED_AT_ONCE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.name);
            let below: Vec<SegmentName> =
                page.iter().map(|listed| listed.name).take_while(|name| name.blob.epoch() < horizon).collect();
            let blobs: BTreeSet<BlobId> = below.iter().map(|name| name.blob).collect();
            let blobs: Vec<BlobId> = blobs.into_iter().collect();
            let known: Vec<Col<BlobId>> = loops::blobs_among(&blobs).into_tuple().all(self.db.read()).await?;
            let known: BTreeSet<BlobId> = known.into_iter().map(|id| id.0).collect();
            let is_last = below.len() < page.len();
            for name in below {
                if known.contains(&name.blob) {
                    continue;
                }
                match self.store.delete_segment(name).await {
                    Ok(Deleted::Everywhere) => deleted += 1,
                    Ok(Deleted::InPart(_)) | Err(_) => left += 1,
                }
            }
            if is_last {
                break;
            }
        }
        fabric::fault::point("store.listed");
        if deleted > 0 {
            tracing::info!(segments = deleted, %horizon, "segments deleted: no commit ever came for them");
        }
        if left > 0 {
            tracing::warn!(segments = left, "segments that nobody needs could not be deleted; retrying");
            return Ok(());
        }
        store_horizon::Entity::update_many()
            .set(store_horizon::ActiveModel { listed: Set(now.into()), ..Default::default() })
            .filter(store_horizon::Column::Id.eq(HORIZON))
            .exec(self.db.write())
            .await?;
        Ok(())
    }
}

/// The sweep of an index by itself, for whoever measures it: no platform runs beside it, and it makes no pauses.
pub struct BareSweep(Sweep);

impl BareSweep {
    /// The sweep of the index in this database, whose schema is brought up to date, and of this store.
    ///
    /// # Errors
    /// When the database cannot be opened.
    pub async fn open(database: &str, store: Store) -> Result<Self, StartError> {
        let db = Box::pin(Db::open(database, BARE_CONNECTIONS)).await?;
        Ok(Self(Sweep::of(db, store, None, Millis(0), BARE_LEASE)))
    }

    /// One pass over all blobs: dooms those to which nothing refers.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn doom(&mut self) -> Result<(), SweepError> {
        let now = now(self.0.db.read()).await?;
        while self.0.doom_some(now).await? {}
        Ok(())
    }

    /// Raises the horizon, and deletes what engines have below it and the index has not.
    ///
    /// # Errors
    /// When the database fails, or every engine.
    pub async fn delete_unindexed(&self) -> Result<(), SweepError> {
        let now = now(self.0.db.read()).await?;
        self.0.delete_unindexed(now).await
    }

    /// Ends its connections.
    pub async fn close(self) {
        self.0.db.close().await;
    }
}

/// Locks their rows in one order, so that two who do so never wait for each other.
async fn lock(tx: &DatabaseTransaction, ids: &[BlobId]) -> Result<(), DbErr> {
    let rows = blobs::Entity::find()
        .select_only()
        .column(blobs::Column::Id)
        .filter(blobs::Column::Id.is_in(ids.iter().map(|id| Col(*id))))
        .order_by_asc(blobs::Column::Id)
        .lock_exclusive();
    rows.into_tuple::<Col<BlobId>>().all(tx).await.map(drop)
}
