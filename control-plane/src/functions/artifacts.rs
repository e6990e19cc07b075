//! Which artifacts an account may deploy: those that it has uploaded itself.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use protocol::job::JobInput;
use protocol::{AccountId, Blob, Code, Digest, Field, Timestamp};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DatabaseTransaction, EntityTrait as _, QueryFilter as _,
    QuerySelect as _,
};
use serde::Deserialize;

use super::upload_quota;
use crate::App;
use crate::config::Config;
use crate::db::columns::Col;
use crate::db::entities::{artifacts, triggers};
use crate::db::{Actor, Db, loops};
use crate::error::{Error, Result, refuse_field};
use crate::objects::{self, Address};

const DAY_MS: i64 = 86_400_000;
/// Uploads of one look for those that nothing needs.
const PRUNED_AT_ONCE: u64 = 500;
/// That no version is made of it.
const UNUSED: &str = "NOT EXISTS (SELECT 1 FROM versions WHERE versions.account_id = artifacts.account_id AND \
                      versions.artifact = artifacts.digest)";

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
            .update_columns([artifacts::Column::Blob, artifacts::Column::Root, artifacts::Column::Created])
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
    address(&locked(tx, account, digest, field).await?)
}

/// The same, as its row.
pub(crate) async fn locked(
    tx: &DatabaseTransaction,
    account: AccountId,
    digest: Digest,
    field: impl Into<Field>,
) -> Result<artifacts::Model> {
    let row = artifacts::Entity::find_by_id((Col(account), Col(digest))).lock_shared().one(tx).await?;
    row.ok_or_else(|| missing(digest, field))
}

/// Deletes uploads that were made long ago, that no version is made of and no trigger names; says how many. A job refers to
/// the bytes of its input itself.
pub(crate) async fn prune(db: &Db, config: &Config, now: Timestamp) -> Result<u64> {
    let before = Timestamp(now.0.saturating_sub(i64::from(config.uploads_days).saturating_mul(DAY_MS)));
    let (mut after, mut gone) = ((Timestamp(i64::MIN), String::new()), 0);
    loop {
        let unused = loops::artifacts_unused(before, after, PRUNED_AT_ONCE);
        let rows = db.read().query_all_raw(unused.statement(db.read().get_database_backend())).await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let account: Col<AccountId> = row.try_get_by_index(0)?;
            let digest: Col<Digest> = row.try_get_by_index(1)?;
            let created: Col<Timestamp> = row.try_get_by_index(2)?;
            found.push((account.0, digest.0, created.0));
        }
        let Some((_, digest, created)) = found.last() else { break };
        after = (*created, digest.to_string());
        let mut named = HashMap::new();
        for (account, digest, _) in found {
            let named = match named.entry(account) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(named_by_triggers(db, account).await?),
            };
            if !named.contains(&digest) {
                gone += forget(db, account, digest, before).await?;
            }
        }
    }
    if gone > 0 {
        tracing::info!(gone, "uploads that nothing needs deleted");
    }
    Ok(gone)
}

async fn named_by_triggers(db: &Db, account: AccountId) -> Result<HashSet<Digest>> {
    let rows = triggers::Entity::find().filter(triggers::Column::AccountId.eq(Col(account))).all(db.read()).await?;
    let upload = |row: triggers::Model| match row.job.0.input {
        Some(JobInput::Upload(digest)) => Some(digest),
        _ => None,
    };
    Ok(rows.into_iter().filter_map(upload).collect())
}

/// Deletes it, if nobody has uploaded or deployed it meanwhile.
async fn forget(db: &Db, account: AccountId, digest: Digest, before: Timestamp) -> Result<u64> {
    let tx = db.begin_bulk().await?;
    // Whoever makes a version of it has its lock. Only a statement that begins afterwards is sure to see that version.
    artifacts::Entity::find_by_id((Col(account), Col(digest))).lock_exclusive().one(&tx).await?;
    let gone = artifacts::Entity::delete_many()
        .filter(artifacts::Column::AccountId.eq(Col(account)))
        .filter(artifacts::Column::Digest.eq(Col(digest)))
        .filter(artifacts::Column::Created.lt(Col(before)))
        .filter(Expr::cust(UNUSED))
        .exec(&tx)
        .await?;
    tx.commit().await?;
    Ok(gone.rows_affected)
}

/// Where its bytes are.
pub(crate) fn address(row: &artifacts::Model) -> Result<Address> {
    Address::of(row.blob, row.root)
        .ok_or_else(|| Error::Internal(format!("the artifact {} has no bytes", row.digest.0)))
}

fn missing(digest: Digest, field: impl Into<Field>) -> Error {
    refuse_field(Code::ArtifactNotFound, field, format!("The account has no artifact {digest}."))
}
