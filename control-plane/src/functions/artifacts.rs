//! Which artifacts an account may deploy: those that it has uploaded itself.

use protocol::{AccountId, ByteSize, Code, Digest, Field};
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait as _, sea_query::OnConflict};
use serde::Deserialize;

use super::upload_quota;
use crate::App;
use crate::db::Actor;
use crate::db::columns::Col;
use crate::db::entities::artifacts;
use crate::error::{Result, refuse_field};

/// `POST /internal/artifacts`: the gateway has put an upload into the store.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Uploaded {
    /// Whose.
    account: AccountId,
    /// BLAKE3 of its bytes.
    digest: Digest,
    /// Its size.
    size: ByteSize,
    /// The store's manifest chunk.
    root: Digest,
}

/// Writes the row; again is fine.
pub(crate) async fn uploaded(app: &App, artifact: Uploaded) -> Result<()> {
    let mutation = app.db.mutation().await?;
    let had = artifacts::Entity::find_by_id((Col(artifact.account), Col(artifact.digest))).one(mutation.tx()).await?;
    if had.is_some() {
        upload_quota::had_already(mutation.tx(), artifact.account, artifact.size).await?;
    }
    artifacts::Entity::insert(artifacts::ActiveModel {
        account_id: Set(artifact.account.into()),
        digest: Set(artifact.digest.into()),
        size: Set(artifact.size.into()),
        root: Set(artifact.root.into()),
        created: Set(mutation.at().into()),
    })
    .on_conflict(
        OnConflict::columns([artifacts::Column::AccountId, artifacts::Column::Digest])
            .update_column(artifacts::Column::Root)
            .to_owned(),
    )
    .exec_without_returning(mutation.tx())
    .await?;
    let committed =
        mutation.commit(&Actor::platform(), Some(artifact.account), "artifact.upload", artifact.digest).await?;
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
    let missing = || format!("The account has no artifact {digest}.");
    row.ok_or_else(|| refuse_field(Code::ArtifactNotFound, field, missing()))
}
