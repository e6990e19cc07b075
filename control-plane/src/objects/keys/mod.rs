//! The master keys: under the newest of them each blob's own key is sealed in the index (`seal.rs`).
//!
//! ```text
//! made (a file in each control plane's folder) --the leader--> registered: rows are sealed under the newest
//!     --a newer one is registered--> the leader wraps its rows anew --no row is left--> retired
//!     --the folder's notes say that exports have it and the newest one--> its file is deleted
//! ```
//! The database knows each key's number and fingerprint (`store_keys`), the folders have the keys themselves. Where the folder
//! lacks one that is registered, the control plane runs, says which, and sweeps nothing. Number 0 is derived from the root
//! secret: rows of databases that were written before there were numbers have it. A new database registers the newest key of
//! its folder alone: the others are another's, which are never deleted, as a database knows what it has retired itself.
//!
//! Why no row is ever sealed under a retired key: whoever writes one locks the row of its key in the same transaction, and
//! finds it there. Retiring deletes that row, so it waits for those transactions, and then looks for rows of blobs; who comes
//! afterwards does not find the key, and takes a newer one.

mod export;
mod exported;
mod folder;
mod rotation;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use protocol::{BlobId, BlobKey, Code};
use sea_orm::sea_query::{LockType, OnConflict};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait as _, QueryOrder as _, QuerySelect as _,
};

use super::index::ReadError;
use super::seal::MasterKey;
use crate::db::Db;
use crate::db::columns::Col;
use crate::db::entities::{blobs, store_keys};
use crate::error::{Error, Result, StartError, refuse};

pub use exported::{KeyExport, KeyImport};
pub use folder::{KeyError, KeyFindings, KeyFolder, KeyNumber};
pub(crate) use folder::{KeyFiles, MasterSecret};
#[cfg(test)]
pub(crate) use rotation::Rotation;
pub(crate) use rotation::run;

/// The key that is derived from the root secret.
const DERIVED: KeyNumber = KeyNumber(0);

/// Why keys could not be looked at; they are again later.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    #[error(transparent)]
    Database(#[from] DbErr),
    #[error(transparent)]
    Folder(#[from] KeyError),
}

impl From<KeysError> for Error {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Database(error) => error.into(),
            KeysError::Folder(error) => Self::Internal(error.to_string()),
        }
    }
}

impl From<KeyError> for StartError {
    fn from(error: KeyError) -> Self {
        Self::Keys(error.to_string())
    }
}

impl From<KeysError> for StartError {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Database(error) => error.into(),
            KeysError::Folder(error) => error.into(),
        }
    }
}

/// The master keys that this process has. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Keyring(Arc<Ring>);

struct Ring {
    folder: KeyFolder,
    held: RwLock<Held>,
}

/// What was seen last.
#[derive(Default)]
struct Held {
    /// Keys that are registered and here.
    keys: BTreeMap<KeyNumber, Arc<MasterKey>>,
    /// Keys that are registered and not here.
    missing: BTreeMap<KeyNumber, Missing>,
}

/// What is here instead of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Missing {
    #[error("there is no file of it")]
    NoFile,
    #[error("its file is no key")]
    NoKey,
    #[error("its file is another key's")]
    Another,
}

impl Missing {
    /// What brings the key back.
    fn remedy(self, number: KeyNumber, folder: &KeyFolder) -> String {
        let (file, folder) = (folder.file(number), folder.path().display());
        let import = format!("`crowdcloud store key import FILE --keys {folder}` has brought it back from an export");
        let file = file.display();
        match self {
            Self::NoFile => import,
            _ if number == DERIVED => {
                format!("{file} has been moved away, and a new start has derived the key from the root secret")
            }
            Self::NoKey => format!("{file} has been moved away, and {import}"),
            Self::Another => format!(
                "{file} has been moved away, and {import}. If `crowdcloud store key rotate` has made that file, rotate \
                 again then: there had been a newer key elsewhere"
            ),
        }
    }
}

impl Held {
    fn of(rows: &[store_keys::Model], files: &KeyFiles) -> Self {
        let mut held = Self::default();
        for row in rows {
            let number = KeyNumber(row.number);
            let why = match files.keys.get(&number) {
                Some(secret) if secret.fingerprint() == row.fingerprint => {
                    held.keys.insert(number, Arc::new(MasterKey::new(secret.bytes())));
                    continue;
                }
                Some(_) => Missing::Another,
                None if files.damaged.contains(&number) => Missing::NoKey,
                None => Missing::NoFile,
            };
            held.missing.insert(number, why);
        }
        held
    }

    /// The newest one that is registered, wherever it is.
    fn newest(&self) -> Option<KeyNumber> {
        self.keys.keys().chain(self.missing.keys()).max().copied()
    }
}

impl Keyring {
    /// Reads the keys; on a new platform the first one is made.
    pub(crate) async fn open(folder: PathBuf, derived: [u8; 32], db: &Db) -> Result<Self, StartError> {
        let (folder, derived) = (KeyFolder::at(folder), MasterSecret::of(derived));
        let tx = db.begin().await?;
        let rows = all(&tx).await?;
        if rows.is_empty() {
            if let Some(blob) = blobs::Entity::find().limit(1).one(&tx).await? {
                if MasterKey::new(derived.bytes()).open(blob.id.0, &blob.sealed_key).is_none() {
                    let why = "the keys of this database's blobs were not sealed under this root secret (--ticket-key): \
                               it is another platform's";
                    return Err(StartError::Keys(why.to_owned()));
                }
                // The folder's newer ones come by rotation.
                put_derived(&folder, &derived)?;
                register(&tx, DERIVED, &derived).await?;
            } else {
                folder.make_first()?;
                let newest = folder.read()?.keys.pop_last();
                if let Some((number, secret)) = newest {
                    register(&tx, number, &secret).await?;
                }
            }
        } else if rows.iter().any(|row| row.number == DERIVED.0 && row.fingerprint == derived.fingerprint()) {
            put_derived(&folder, &derived)?;
        }
        tx.commit().await?;
        look_over(&folder);
        let ring = Self(Arc::new(Ring { folder, held: RwLock::default() }));
        ring.refresh(db.read()).await?;
        Ok(ring)
    }

    /// Looks which keys are registered, and which of them are here.
    pub(crate) async fn refresh<C: ConnectionTrait>(&self, connection: &C) -> Result<(), KeysError> {
        let files = self.0.folder.read()?;
        let rows = all(connection).await?;
        let mut held = Held::of(&rows, &files);
        if !held.missing.is_empty() {
            // They may have been made, and registered, since the folder was read.
            held = Held::of(&rows, &self.0.folder.read()?);
        }
        let before = {
            let mut place = self.0.held.write();
            std::mem::replace(&mut *place, held).missing
        };
        self.tell(&before);
        Ok(())
    }

    /// Says what is missing, once.
    fn tell(&self, before: &BTreeMap<KeyNumber, Missing>) {
        let folder = self.0.folder.path().display();
        let missing = self.0.held.read().missing.clone();
        for (number, why) in missing.iter().filter(|entry| before.get(entry.0) != Some(entry.1)) {
            tracing::error!(
                key = %number, %folder,
                "the store's master key {number} is missing: {why}. What is sealed under it cannot be read, and nothing is \
                 swept, until {}",
                why.remedy(*number, &self.0.folder)
            );
        }
        if missing.is_empty() && !before.is_empty() {
            tracing::info!(%folder, "all master keys of the store are there again");
        }
    }

    /// Whether each registered key is here.
    pub(crate) fn is_whole(&self) -> bool {
        self.0.held.read().missing.is_empty()
    }

    /// Seals a blob's key for a row that this transaction writes: under which key, and the result.
    pub(super) async fn seal(
        &self,
        tx: &DatabaseTransaction,
        id: BlobId,
        key: &BlobKey,
    ) -> Result<(KeyNumber, Vec<u8>)> {
        for _ in 0..2 {
            let keys = self.0.held.read().keys.clone();
            for (number, master) in keys.into_iter().rev() {
                if lock(tx, number).await? {
                    return Ok((number, master.seal(id, key)));
                }
            }
            // All that were seen last have been retired, or there was none.
            self.refresh(tx).await?;
        }
        Err(refuse(Code::StorageUnavailable, "The store's master key is missing."))
    }

    /// A blob's key, which was sealed under this master key.
    pub(super) fn open_key(&self, number: KeyNumber, id: BlobId, sealed: &[u8]) -> Result<BlobKey, ReadError> {
        let master = self.0.held.read().keys.get(&number).cloned();
        let master = master.ok_or(ReadError::NoKey { id, number })?;
        master.open(id, sealed).ok_or(ReadError::Sealed(id))
    }

    /// Whether this key is registered and here.
    pub(super) fn has(&self, number: KeyNumber) -> bool {
        self.0.held.read().keys.contains_key(&number)
    }

    /// Whether another look would tell more of this key: it is not known to be missing.
    pub(super) fn may_be_new(&self, number: KeyNumber) -> bool {
        !self.0.held.read().missing.contains_key(&number)
    }

    #[cfg(test)]
    pub(crate) fn folder(&self) -> &KeyFolder {
        &self.0.folder
    }
}

/// Whether something is sealed under the key that is made of the root secret, which is in no file of the folder.
pub(crate) async fn need_root_secret(folder: &Path, db: &Db) -> Result<bool, StartError> {
    let rows = all(db.read()).await?;
    let held = Held::of(&rows, &KeyFolder::at(folder).read()?);
    Ok(rows.is_empty() || held.missing.contains_key(&DERIVED))
}

/// The first master key of all grounds.
#[cfg(test)]
pub(crate) fn of_tests(config: &crate::Config) {
    KeyFolder::at(config.store_keys()).put(folder::FIRST, &MasterSecret::of([42; 32])).unwrap();
}

/// Keeps the derived key as a file, as all others are, so that it is exported with them. Where its file has something else, it is
/// missing as another key would be.
fn put_derived(folder: &KeyFolder, derived: &MasterSecret) -> Result<(), KeyError> {
    match folder.put(DERIVED, derived) {
        Err(error @ (KeyError::Differs { .. } | KeyError::NotAKey(_))) => {
            tracing::error!(%error, "the file of the store's master key that is derived from the root secret has something else");
            Ok(())
        }
        put => put,
    }
}

/// Says at the start what is wrong in the folder and stops nothing.
fn look_over(folder: &KeyFolder) {
    let findings = match folder.look_over() {
        Ok(findings) => findings,
        Err(error) => return tracing::warn!(%error, "the folder of the store's master keys could not be looked over"),
    };
    for path in &findings.exposed {
        let path = path.display();
        tracing::warn!(%path, "others than its owner may open what the store's master keys are in: `chmod go= {path}`");
    }
    for path in &findings.damaged {
        tracing::warn!(path = %path.display(), "not a master key (32 bytes): it counts as missing");
    }
}

async fn all<C: ConnectionTrait>(connection: &C) -> Result<Vec<store_keys::Model>, DbErr> {
    store_keys::Entity::find().order_by_asc(store_keys::Column::Number).all(connection).await
}

/// Rows may be sealed under this key from now on; where another one was faster, that one stands.
async fn register(tx: &DatabaseTransaction, number: KeyNumber, secret: &MasterSecret) -> Result<(), DbErr> {
    let row = store_keys::ActiveModel { number: Set(number.0), fingerprint: Set(secret.fingerprint()) };
    store_keys::Entity::insert(row)
        .on_conflict(OnConflict::column(store_keys::Column::Number).do_nothing().to_owned())
        .exec_without_returning(tx)
        .await
        .map(drop)
        .or_else(|error| if matches!(error, DbErr::RecordNotInserted) { Ok(()) } else { Err(error) })
}

/// Whether the key is registered; it stays so until the transaction ends.
async fn lock(tx: &DatabaseTransaction, number: KeyNumber) -> Result<bool, DbErr> {
    let row = store_keys::Entity::find_by_id(number.0).lock(LockType::KeyShare).one(tx).await?;
    Ok(row.is_some())
}

/// Whether a row is sealed under the key.
async fn is_used<C: ConnectionTrait>(connection: &C, number: KeyNumber) -> Result<bool, DbErr> {
    let id: Option<Col<BlobId>> = crate::db::loops::blobs_under(number.0, None, 1)
        .select_only()
        .column(blobs::Column::Id)
        .into_tuple()
        .one(connection)
        .await?;
    Ok(id.is_some())
}
