//! Goes over to a newer master key, in bounded steps that may end anywhere; and deletes keys that have been retired.

use std::time::Duration;

use protocol::BlobId;
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _};
use tokio_util::sync::CancellationToken;

use super::{KeyNumber, Keyring, KeysError, is_used, lock, register};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::{blobs, store_keys};
use crate::db::loops;
use crate::leader::{Lease, Office};

/// Between two looks at the folder and at the database.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Between two steps: others write, too.
const PAUSE: Duration = Duration::from_millis(20);
/// After a failure of the database or of the folder.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// Rows that one step wraps anew.
const WRAPPED_AT_ONCE: u64 = 200;

/// Looks after the keys until it is stopped.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    let mut rotation = Rotation::new(app);
    while !stop.is_cancelled() {
        let pause = match stop.run_until_cancelled(Box::pin(rotation.turn())).await {
            None => break,
            Some(Ok(true)) => PAUSE,
            Some(Ok(false)) => LOOK_EVERY,
            Some(Err(error)) => {
                tracing::warn!(%error, "the store's master keys could not be looked after; retrying");
                RETRY_AFTER
            }
        };
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

/// How far it has come; nothing is lost with that.
pub(crate) struct Rotation {
    app: App,
    /// Older keys up to this one have been gone through, and rows of the next one up to this blob.
    passed: Option<KeyNumber>,
    after: Option<BlobId>,
    /// Rows of the next one that cannot be opened.
    left: usize,
}

impl Rotation {
    pub(crate) fn new(app: App) -> Self {
        Self { app, passed: None, after: None, left: 0 }
    }

    /// Looks at the keys, and does a step where there is one to do; false: there is none.
    pub(crate) async fn turn(&mut self) -> Result<bool, KeysError> {
        let (keys, db) = (&self.app.objects.keys, &self.app.db);
        keys.refresh(db.read()).await?;
        self.delete_retired().await?;
        if !keys.is_due()? {
            return Ok(false);
        }
        let length = self.app.config.lease.duration();
        if Lease::take(db, Office::Store, self.app.instance, length).await?.is_none() {
            return Ok(false);
        }
        self.step().await
    }

    async fn step(&mut self) -> Result<bool, KeysError> {
        if self.register_newer().await? {
            return Ok(true);
        }
        let keys = &self.app.objects.keys;
        let Some((old, newest)) = keys.next_old(self.passed) else {
            self.passed = None;
            return Ok(false);
        };
        if self.wrap_some(old, newest).await? {
            return Ok(true);
        }
        (self.passed, self.after) = (Some(old), None);
        match std::mem::take(&mut self.left) {
            0 => self.retire(old).await?,
            left => tracing::error!(key = %old, rows = left, "blobs' keys cannot be opened; their master key is kept"),
        }
        Ok(true)
    }

    /// Registers a key of the folder that is newer than all that are registered.
    async fn register_newer(&self) -> Result<bool, KeysError> {
        let keys = &self.app.objects.keys;
        let Some(newer) = keys.newer()? else { return Ok(false) };
        let Some(secret) = keys.0.folder.read()?.remove(&newer) else { return Ok(false) };
        let tx = self.app.db.begin_bulk().await?;
        register(&tx, newer, &secret).await?;
        tx.commit().await?;
        fabric::fault::point("keys.registered");
        tracing::info!(key = %newer, "the store goes over to a new master key");
        keys.refresh(self.app.db.read()).await?;
        Ok(true)
    }

    /// Wraps the next rows of an old key anew; false where there are none.
    async fn wrap_some(&mut self, old: KeyNumber, newest: KeyNumber) -> Result<bool, KeysError> {
        let keys = &self.app.objects.keys;
        let tx = self.app.db.begin_bulk().await?;
        // Whoever retires the newest one, having a newer one, waits for this, or comes first and is seen.
        if !lock(&tx, newest).await? {
            return Ok(true);
        }
        let rows = loops::blobs_under(old.0, self.after, WRAPPED_AT_ONCE).lock_exclusive().all(&tx).await?;
        let Some(last) = rows.last().map(|row| row.id.0) else { return Ok(false) };
        let mut left = 0;
        for row in rows {
            let id = row.id.0;
            let Ok(key) = keys.open_key(old, id, &row.sealed_key) else {
                left += 1;
                continue;
            };
            let Some(sealed_key) = keys.seal_under(newest, id, &key) else { return Ok(true) };
            blobs::Entity::update_many()
                .set(blobs::ActiveModel { master: Set(newest.0), sealed_key: Set(sealed_key), ..Default::default() })
                .filter(blobs::Column::Id.eq(Col(id)))
                .exec(&tx)
                .await?;
        }
        fabric::fault::point("keys.wrapping");
        tx.commit().await?;
        fabric::fault::point("keys.wrapped");
        (self.after, self.left) = (Some(last), self.left + left);
        Ok(true)
    }

    /// Retires a key that no row is sealed under.
    async fn retire(&self, old: KeyNumber) -> Result<(), KeysError> {
        let tx = self.app.db.begin_bulk().await?;
        // It waits for those who are writing rows under it; the next statement sees these.
        store_keys::Entity::delete_by_id(old.0).exec(&tx).await?;
        if is_used(&tx, old).await? {
            return Ok(());
        }
        tx.commit().await?;
        fabric::fault::point("keys.retired");
        tracing::info!(key = %old, "a master key of the store is retired: no blob is sealed under it any more");
        self.app.objects.keys.refresh(self.app.db.read()).await?;
        self.delete_retired().await
    }

    /// Deletes the files of keys that have been retired, wherever that was done.
    async fn delete_retired(&self) -> Result<(), KeysError> {
        let keys = &self.app.objects.keys;
        for number in keys.retired()? {
            if !is_used(self.app.db.read(), number).await? {
                keys.0.folder.remove(number)?;
                fabric::fault::point("keys.deleted");
                tracing::info!(key = %number, "a retired master key of the store is deleted");
            }
        }
        Ok(())
    }
}

impl Keyring {
    /// A key of the folder that is newer than all that are registered.
    fn newer(&self) -> Result<Option<KeyNumber>, KeysError> {
        let registered = self.0.held.read().newest();
        Ok(self.0.folder.newest()?.filter(|newest| Some(*newest) > registered))
    }

    /// Keys of the folder that were registered once.
    fn retired(&self) -> Result<Vec<KeyNumber>, KeysError> {
        let files = self.0.folder.read()?;
        let held = self.0.held.read();
        let is_known = |number: &KeyNumber| held.keys.contains_key(number) || held.missing.contains_key(number);
        let newest = held.newest();
        Ok(files.into_keys().filter(|number| Some(*number) < newest && !is_known(number)).collect())
    }

    /// Whether there is something to go over to, or from.
    fn is_due(&self) -> Result<bool, KeysError> {
        Ok(self.next_old(None).is_some() || self.newer()?.is_some())
    }

    /// The next key that is to be retired, after one, and the newest, where both are here.
    fn next_old(&self, after: Option<KeyNumber>) -> Option<(KeyNumber, KeyNumber)> {
        let held = self.0.held.read();
        let newest = held.newest().filter(|newest| held.keys.contains_key(newest))?;
        let old = held.keys.keys().find(|number| Some(**number) > after && **number < newest)?;
        Some((*old, newest))
    }

    /// None: the key is not here any more.
    fn seal_under(&self, number: KeyNumber, id: BlobId, key: &protocol::BlobKey) -> Option<Vec<u8>> {
        let master = self.0.held.read().keys.get(&number).cloned()?;
        Some(master.seal(id, key))
    }
}
