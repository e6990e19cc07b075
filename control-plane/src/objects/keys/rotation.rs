//! Goes over to a newer master key, in bounded steps that may end anywhere; and deletes keys that have been retired.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::BlobId;
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait as _,
    QueryFilter as _, QuerySelect as _,
};
use tokio_util::sync::CancellationToken;

use super::{KeyNumber, Keyring, KeysError, is_used, lock, register};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::{blobs, store_keys, store_notes};
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
/// Looks after which a leader that has a newer key has gone over to it.
const LEADER_LOOKS: u32 = 3;
/// What the notes of retired keys begin with; the key's fingerprint follows.
const RETIRED: &str = "retired master key ";

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
    /// Retired keys whose files were kept at the last look.
    kept: BTreeSet<KeyNumber>,
    /// A newer key of this folder that the leader does not go over to, and for how many looks.
    waiting: Option<(KeyNumber, u32)>,
}

impl Rotation {
    pub(crate) fn new(app: App) -> Self {
        Self { app, passed: None, after: None, left: 0, kept: BTreeSet::new(), waiting: None }
    }

    /// Looks at the keys, and does a step where there is one to do; false: there is none.
    pub(crate) async fn turn(&mut self) -> Result<bool, KeysError> {
        let app = self.app.clone();
        let keys = &app.objects.keys;
        keys.refresh(app.db.read()).await?;
        self.delete_retired().await?;
        if !keys.is_due()? {
            return Ok(false);
        }
        if Lease::take(&app.db, Office::Store, app.instance, app.config.lease.duration()).await?.is_none() {
            self.wait_for_leader()?;
            return Ok(false);
        }
        self.step().await
    }

    /// Another one leads. Where it does not go over to a newer key of this folder, it does not have that key.
    fn wait_for_leader(&mut self) -> Result<(), KeysError> {
        let keys = &self.app.objects.keys;
        let Some(newer) = keys.newer()? else {
            self.waiting = None;
            return Ok(());
        };
        let before = self.waiting.filter(|(number, _)| *number == newer);
        let looks = before.map_or(1, |(_, looks)| looks.saturating_add(1));
        if looks == LEADER_LOOKS {
            let folder = keys.0.folder.path().display();
            tracing::warn!(
                key = %newer, %folder,
                "the store does not go over to the newer master key {newer}: the control plane that leads does not have it. \
                 `crowdcloud store key export --keys {folder}` here, and `crowdcloud store key import` there, bring it"
            );
        }
        self.waiting = Some((newer, looks));
        Ok(())
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
        let Some(secret) = keys.0.folder.read()?.keys.remove(&newer) else { return Ok(false) };
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
    async fn retire(&mut self, old: KeyNumber) -> Result<(), KeysError> {
        let tx = self.app.db.begin_bulk().await?;
        if let Some(row) = store_keys::Entity::find_by_id(old.0).one(&tx).await? {
            note_retired(&tx, &row.fingerprint).await?;
        }
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

    /// Deletes the files of keys that have been retired, wherever that was done. Older backups need them, so that only those
    /// go that an export has; and while none has the newest key, whoever loses the folder needs all that there is.
    async fn delete_retired(&mut self) -> Result<(), KeysError> {
        let (keys, db) = (&self.app.objects.keys, self.app.db.read());
        let mut kept = BTreeSet::new();
        for (number, is_exported) in keys.retired(db).await? {
            if is_used(db, number).await? {
                continue;
            }
            if !is_exported {
                kept.insert(number);
                continue;
            }
            keys.0.folder.remove(number)?;
            fabric::fault::point("keys.deleted");
            tracing::info!(key = %number, "a retired master key of the store is deleted");
        }
        if !kept.is_subset(&self.kept) {
            let (numbers, folder) = (words(&kept), keys.0.folder.path().display());
            tracing::warn!(
                keys = numbers, %folder,
                "retired master keys are kept: no export is known to have them and the newest key. They are deleted after \
                 `crowdcloud store key export -o FILE --passphrase-file FILE --keys {folder}`"
            );
        }
        self.kept = kept;
        Ok(())
    }
}

fn words(numbers: &BTreeSet<KeyNumber>) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// This database has no need of the key any more. Another one may have: of its keys there is no such note.
async fn note_retired(tx: &DatabaseTransaction, fingerprint: &str) -> Result<(), DbErr> {
    let row = store_notes::ActiveModel { name: Set(format!("{RETIRED}{fingerprint}")), note: Set("true".to_owned()) };
    store_notes::Entity::insert(row)
        .on_conflict(OnConflict::column(store_notes::Column::Name).update_column(store_notes::Column::Note).to_owned())
        .exec_without_returning(tx)
        .await
        .map(drop)
}

/// The fingerprints of keys that this database has retired.
async fn noted_retired<C: ConnectionTrait>(connection: &C) -> Result<BTreeSet<String>, DbErr> {
    let notes =
        store_notes::Entity::find().filter(store_notes::Column::Name.starts_with(RETIRED)).all(connection).await?;
    Ok(notes.iter().filter_map(|note| note.name.strip_prefix(RETIRED)).map(str::to_owned).collect())
}

impl Keyring {
    /// A key of the folder that is newer than all that are registered.
    fn newer(&self) -> Result<Option<KeyNumber>, KeysError> {
        let registered = self.0.held.read().newest();
        Ok(self.0.folder.newest()?.filter(|newest| Some(*newest) > registered))
    }

    /// Keys of the folder that this database has retired, and whether exports have both them and the newest one.
    async fn retired<C: ConnectionTrait>(&self, connection: &C) -> Result<Vec<(KeyNumber, bool)>, KeysError> {
        let files = self.0.folder.read()?.keys;
        let (newest, old) = {
            let held = self.0.held.read();
            let newest = held.newest();
            let is_old = |number: KeyNumber| {
                Some(number) < newest && !held.keys.contains_key(&number) && !held.missing.contains_key(&number)
            };
            let old: Vec<KeyNumber> = files.keys().copied().filter(|number| is_old(*number)).collect();
            (newest.filter(|newest| held.keys.contains_key(newest)), old)
        };
        if old.is_empty() {
            return Ok(Vec::new());
        }
        let retired = noted_retired(connection).await?;
        let exported = self.0.folder.exported()?;
        let is_exported =
            |number: KeyNumber| files.get(&number).is_some_and(|secret| exported.contains_key(&secret.fingerprint()));
        let is_newest_exported = newest.is_some_and(is_exported);
        let is_retired =
            |number: KeyNumber| files.get(&number).is_some_and(|secret| retired.contains(&secret.fingerprint()));
        let old = old.into_iter().filter(|number| is_retired(*number));
        Ok(old.map(|number| (number, is_newest_exported && is_exported(number))).collect())
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
