//! Which artifacts an account may deploy: those that it has uploaded itself.

use protocol::{AccountId, Blob, Code, Digest, Field};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DatabaseTransaction, EntityTrait as _, QuerySelect as _, sea_query::OnConflict,
};
use serde::Deserialize;

use super::upload_quota;
use crate::App;
use crate::db::Actor;
use crate::db::columns::Col;
use crate::db::entities::artifacts;
use crate::error::{Error, Result, refuse_field};
use crate::objects::{self, Address};

/// `POST /internal/artifacts`: the gateway has put an upload into the store.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Uploaded {
    /// Whose.
    account: AccountId,
    /// Its bytes.
    blob: Blob,
}

/// Writes the row. Where the account had the same bytes already, the upload takes their place: nobody knows whether they
/// can still be read.
pub(crate) async fn uploaded(app: &App, Uploaded { account, blob }: Uploaded) -> Result<()> {
    let mutation = app.db.mutation().await?;
    let had = artifacts::Entity::find_by_id((Col(account), Col(blob.digest))).one(mutation.tx()).await?;
    if had.is_some() {
        upload_quota::had_already(mutation.tx(), account, blob.size).await?;
    }
    let id = objects::keep(app, mutation.tx(), Some(account), &blob).await?;
    artifacts::Entity::insert(artifacts::ActiveModel {
        account_id: Set(account.into()),
        digest: Set(blob.digest.into()),
        size: Set(blob.size.into()),
        blob: Set(Some(id.into())),
        root: Set(None),
        created: Set(mutation.at().into()),
    })
    .on_conflict(
        OnConflict::columns([artifacts::Column::AccountId, artifacts::Column::Digest])
            .update_columns([artifacts::Column::Blob, artifacts::Column::Root])
            .to_owned(),
    )
    .exec_without_returning(mutation.tx())
    .await?;
    let committed = mutation.commit(&Actor::platform(), Some(account), "artifact.upload", blob.digest).await?;
    app.announce(committed).await;
    Ok(())
}

/// The account's artifact, as this field names it.
pub(crate) async fn find<C: ConnectionTrait>(
    connection: &C,
    account: AccountId,
    digest: Digest,
    field: impl Into<Field>,
) -> Result<artifacts::Model> {
    let row = artifacts::Entity::find_by_id((Col(account), Col(digest))).one(connection).await?;
    row.ok_or_else(|| missing(digest, field))
}

/// Where the account's artifact is; its row stays as it is until the transaction ends.
pub(crate) async fn held(
    tx: &DatabaseTransaction,
    account: AccountId,
    digest: Digest,
    field: impl Into<Field>,
) -> Result<Address> {
    let row = artifacts::Entity::find_by_id((Col(account), Col(digest))).lock_shared().one(tx).await?;
    address(&row.ok_or_else(|| missing(digest, field))?)
}

/// Where its bytes are.
pub(crate) fn address(row: &artifacts::Model) -> Result<Address> {
    Address::of(row.blob, row.root)
        .ok_or_else(|| Error::Internal(format!("the artifact {} has no bytes", row.digest.0)))
}

fn missing(digest: Digest, field: impl Into<Field>) -> Error {
    refuse_field(Code::ArtifactNotFound, field, format!("The account has no artifact {digest}."))
}
