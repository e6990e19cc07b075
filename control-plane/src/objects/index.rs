//! What the index does within the transactions of its callers.

use protocol::api::KeptBy;
use protocol::{AccountId, Blob, BlobId, ByteSize, Code, Timestamp};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait as _,
    QueryFilter as _, QuerySelect as _, sea_query::OnConflict,
};

use super::epochs;
use super::keys::{KeyError, KeyNumber, Keyring, KeysError};
use crate::db::columns::{Col, unsigned};
use crate::db::entities::{blobs, models};
use crate::db::loops;
use crate::error::{Error, Result, refuse};

/// Models that are kept: gateways may still be reading the one before.
const MODELS_KEPT: u64 = 3;

/// Notes a blob; again is fine. The same transaction writes the row that refers to it.
pub(super) async fn keep(
    keys: &Keyring,
    tx: &DatabaseTransaction,
    account: Option<AccountId>,
    blob: &Blob,
) -> Result<BlobId> {
    let id = blob.id;
    if !epochs::is_open(tx, id.epoch()).await? {
        // Whose answer was lost asks again, and its epoch may have been closed meanwhile.
        if is_there(tx, id).await? {
            return Ok(id);
        }
        return Err(refuse(Code::StorageUnavailable, "Storing the bytes took too long; send them again."));
    }
    let (number, sealed_key) = keys.seal(tx, id, &blob.key).await?;
    let row = blobs::ActiveModel {
        id: Set(id.into()),
        account_id: Set(account.map(Col)),
        size: Set(blob.size.into()),
        digest: Set(blob.digest.into()),
        master: Set(number.0),
        sealed_key: Set(sealed_key),
        created: Set(Timestamp::now().into()),
        doomed: Set(None),
    };
    let inserted = blobs::Entity::insert(row)
        .on_conflict(OnConflict::column(blobs::Column::Id).do_nothing().to_owned())
        .exec_without_returning(tx)
        .await
        .or_else(|error| if matches!(error, DbErr::RecordNotInserted) { Ok(0) } else { Err(error) })?;
    // Where another one came first, it may be doomed already.
    if inserted == 0 {
        refer(tx, id).await?;
    }
    fabric::fault::point("blob.kept");
    Ok(id)
}

/// Whether it is in the index; refused where nobody may refer to it any more. Until the transaction ends it stays.
async fn is_there(tx: &DatabaseTransaction, id: BlobId) -> Result<bool> {
    let row = blobs::Entity::find_by_id(Col(id)).lock_shared().one(tx).await?;
    if row.as_ref().is_some_and(|row| row.doomed.is_some()) {
        return Err(refuse(Code::StorageUnavailable, "The bytes are being deleted; send them again."));
    }
    Ok(row.is_some())
}

/// For a further row that refers to a blob, which the same transaction writes: refused where the blob is doomed or gone.
pub(crate) async fn refer(tx: &DatabaseTransaction, id: BlobId) -> Result<()> {
    if is_there(tx, id).await? {
        return Ok(());
    }
    Err(refuse(Code::StorageUnavailable, "The bytes have been deleted; send them again."))
}

/// Notes the blob of a placement model, and lets older models go.
pub(super) async fn keep_model(
    keys: &Keyring,
    tx: &DatabaseTransaction,
    blob: &Blob,
    published: Timestamp,
) -> Result<BlobId> {
    let id = keep(keys, tx, None, blob).await?;
    let row = models::ActiveModel { blob: Set(id.into()), published: Set(published.into()) };
    models::Entity::insert(row).exec_without_returning(tx).await?;
    let nth: Option<Col<Timestamp>> = loops::models_nth(MODELS_KEPT).into_tuple().one(tx).await?;
    if let Some(nth) = nth {
        models::Entity::delete_many().filter(models::Column::Published.lte(nth)).exec(tx).await?;
    }
    Ok(id)
}

/// Why something cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The index does not have it.
    #[error("there is no blob {0} in the index")]
    Unknown(BlobId),
    /// The master key that its key is sealed under is not here.
    #[error("blob {id} is sealed under the master key {number}, which is missing")]
    NoKey {
        /// Which blob.
        id: BlobId,
        /// Which master key.
        number: KeyNumber,
    },
    /// Its key is damaged.
    #[error("the key of blob {0} cannot be opened")]
    Sealed(BlobId),
    /// It is an object of an earlier release, and the store of that time is not there.
    #[error("object {0} is of an earlier release, whose store is not there")]
    NoLegacy(protocol::Digest),
    /// The folder of master keys cannot be read.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The store does not give it.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbErr),
}

impl ReadError {
    /// Whether it may be there again later: the store, the database or the master key is away.
    pub(crate) fn passes(&self) -> bool {
        matches!(self, Self::Database(_) | Self::NoKey { .. } | Self::Keys(_) | Self::Store(store::Error::Engine(_)))
    }

    /// Whether it is nowhere.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::NoLegacy(_) | Self::Store(store::Error::Missing { .. }))
    }
}

impl From<KeysError> for ReadError {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Database(error) => error.into(),
            KeysError::Folder(error) => error.into(),
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Database(error) => error.into(),
            error => {
                tracing::error!(%error, "what the store should have cannot be read");
                refuse(Code::StorageUnavailable, "The store cannot give it.")
            }
        }
    }
}

/// All that a reader of a blob needs.
pub(super) async fn open<C: ConnectionTrait>(keys: &Keyring, connection: &C, id: BlobId) -> Result<Blob, ReadError> {
    let mut row = find(connection, id).await?;
    let mut number = KeyNumber(row.master);
    if !keys.has(number) && keys.may_be_new(number) {
        // Another process goes over to a new one, or has just retired this one.
        keys.refresh(connection).await?;
        row = find(connection, id).await?;
        number = KeyNumber(row.master);
    }
    let key = keys.open_key(number, id, &row.sealed_key)?;
    Ok(Blob { id, key, size: row.size.0, digest: row.digest.0 })
}

async fn find<C: ConnectionTrait>(connection: &C, id: BlobId) -> Result<blobs::Model, ReadError> {
    blobs::Entity::find_by_id(Col(id)).one(connection).await?.ok_or(ReadError::Unknown(id))
}

/// Bytes of an account that the store keeps, each blob once. What nothing refers to any more is not among them.
pub(crate) async fn kept<C: ConnectionTrait>(connection: &C, account: AccountId) -> Result<KeptBy, DbErr> {
    let [functions, uploads, artifacts] = sums(connection, loops::artifacts_kept(account)).await?;
    let [jobs, history] = sums(connection, loops::blobs_kept(account)).await?;
    let deleted = ByteSize(artifacts.0.saturating_sub(functions.0).saturating_sub(uploads.0));
    Ok(KeptBy { functions, uploads, jobs, deleted, history })
}

async fn sums<C: ConnectionTrait, const N: usize>(connection: &C, query: loops::Raw) -> Result<[ByteSize; N], DbErr> {
    let row = connection.query_one_raw(query.statement(connection.get_database_backend())).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound("a row of sums".to_owned()))?;
    let mut sums = [ByteSize(0); N];
    for (place, sum) in sums.iter_mut().enumerate() {
        *sum = ByteSize(unsigned(row.try_get_by_index(place)?));
    }
    Ok(sums)
}
