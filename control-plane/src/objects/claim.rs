//! Which store is this database's. A store has an id; each of its engines has that as its mark, and the index knows which
//! engines have been marked. So nothing is put on, or swept from, what is another platform's, or is not what it was. And the
//! index knows the root secret by a check of it: another one could open nothing of what is sealed under keys made of it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use protocol::{BlobId, StoreId};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, DbErr, EntityTrait as _, QueryFilter as _, QuerySelect as _};
use store::{ClaimError, Claims, Store, Taken};
use tokio_util::sync::CancellationToken;

use super::epochs::HORIZON;
use super::{Care, drains, extent};
use crate::db::columns::Col;
use crate::db::entities::{blobs, store_drains, store_engines, store_horizon};
use crate::db::{Committed, Db, loops};
use crate::error::{StartError, invalid};
use crate::identity::caller::Caller;

/// Engines that are set aside are looked at again so often.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// All others, so often.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Engines without marks are known by so many blobs of the index, the first ones.
const FIRST_BLOBS: u64 = 5_000;

/// Takes the store's engines for this database, when its control plane starts. One that fails, or is not what it was, is set
/// aside where another one is there.
pub(crate) async fn claim(db: &Db, store: &Store) -> Result<(), StartError> {
    let refused = look(db, store).await?;
    let is_wrong = |error: &ClaimError| error.is_of_another() || store.claimed().is_empty();
    if !store.is_changing()
        && let Some(error) = refused.into_iter().find(is_wrong)
    {
        return Err(error.into());
    }
    Ok(())
}

/// Takes engines that have come, or are again as they should be, and looks whether the others are still, until it is stopped.
pub(crate) async fn follow(db: Db, store: Store, stop: CancellationToken) {
    let mut looked = Instant::now();
    while !stop.is_cancelled() {
        if store.unclaimed() > 0 || looked.elapsed() >= LOOK_AGAIN {
            looked = Instant::now();
            if let Err(error) = look(&db, &store).await {
                tracing::warn!(%error, "whose the store's engines are cannot be looked up; retrying");
            }
        }
        stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await;
    }
}

/// Takes those that are this database's, and says what the others are.
pub(crate) async fn look(db: &Db, store: &Store) -> Result<Vec<ClaimError>, DbErr> {
    let id = store_id(db).await?;
    if store.unclaimed() == 0 {
        return Ok(store.claim(id, &Claims::Marked).await);
    }
    let known: BTreeSet<String> =
        loops::store_engines().all(db.read()).await?.into_iter().map(|row| row.name).collect();
    let first = loops::blobs_after(None, FIRST_BLOBS).into_tuple::<Col<BlobId>>().all(db.read()).await?;
    let blobs = first.into_iter().map(|id| id.0).collect();
    let taken = Taken { known, blobs, had_none: row(db).await?.unmarked };
    let refused = store.claim(id, &Claims::Taken(&taken)).await;
    extent::note(db, store).await?;
    if taken.had_none && !store.claimed().is_empty() {
        note(db, store_horizon::ActiveModel { unmarked: Set(false), ..Default::default() }).await?;
    }
    Ok(refused)
}

/// Whether this database has seen the root secret: blobs of its first release have keys that are sealed under one made of it.
pub(crate) async fn knows_key(db: &Db) -> Result<bool, DbErr> {
    Ok(row(db).await?.key_check.is_some() || blobs::Entity::find().limit(1).one(db.read()).await?.is_some())
}

/// There is another root secret now.
pub(crate) async fn forget_key(db: &Db) -> Result<(), DbErr> {
    note(db, store_horizon::ActiveModel { key_check: Set(None), ..Default::default() }).await
}

/// Notes the root secret's check where there is none; false where it is of another one.
pub(crate) async fn is_key(db: &Db, check: &[u8; 32]) -> Result<bool, DbErr> {
    store_horizon::Entity::update_many()
        .set(store_horizon::ActiveModel { key_check: Set(Some(check.to_vec())), ..Default::default() })
        .filter(store_horizon::Column::Id.eq(HORIZON))
        .filter(store_horizon::Column::KeyCheck.is_null())
        .exec(db.write())
        .await?;
    Ok(row(db).await?.key_check.is_some_and(|known| known == check))
}

/// The store's id, which the first one that asks for it makes.
pub(crate) async fn store_id(db: &Db) -> Result<StoreId, DbErr> {
    if let Some(id) = row(db).await?.store {
        return Ok(id.0);
    }
    store_horizon::Entity::update_many()
        .set(store_horizon::ActiveModel { store: Set(Some(StoreId::new().into())), ..Default::default() })
        .filter(store_horizon::Column::Id.eq(HORIZON))
        .filter(store_horizon::Column::Store.is_null())
        .exec(db.write())
        .await?;
    row(db).await?.store.map(|id| id.0).ok_or_else(|| DbErr::RecordNotFound("the id of the store".to_owned()))
}

/// `POST /operator/store/disks/{name}/replace`: what was there is lost, and an empty disk takes its place.
pub(crate) async fn replace(care: &Care, caller: &Caller, name: &str) -> crate::error::Result<Committed> {
    drains::require_operator(caller)?;
    let disk = drains::named(care, name).or_else(|| drains::absent(care, name)).ok_or_else(drains::unknown)?;
    let refused = look(&care.db, &care.store).await?;
    if drains::named(care, name).is_some()
        && !refused.iter().any(|error| error.is_lost(&disk))
        && let Some(failing) =
            care.store.disks().await.into_iter().find(|state| state.name == disk).and_then(|it| it.failing)
    {
        let detail =
            format!("it cannot be said what this disk has: {}; put the empty one in its place first", failing.why);
        return Err(invalid("name", detail));
    }
    if care.store.claimed().contains(&disk) {
        return Err(invalid("name", "this disk is there, with what it had; drain it to take it out"));
    }
    let mutation = care.db.mutation().await?;
    store_engines::Entity::delete_by_id(disk.clone()).exec(mutation.tx()).await?;
    store_drains::Entity::delete_by_id(disk.clone()).exec(mutation.tx()).await?;
    let committed = mutation.commit(&caller.actor, None, "store.replace", &disk).await?;
    // Where it is not empty, or does not answer, it stays aside, and its state says why.
    look(&care.db, &care.store).await?;
    Ok(committed)
}

async fn row(db: &Db) -> Result<store_horizon::Model, DbErr> {
    let row = store_horizon::Entity::find_by_id(HORIZON).one(db.read()).await?;
    row.ok_or_else(|| DbErr::RecordNotFound("the row of the store's horizon".to_owned()))
}

async fn note(db: &Db, change: store_horizon::ActiveModel) -> Result<(), DbErr> {
    let update = store_horizon::Entity::update_many().set(change).filter(store_horizon::Column::Id.eq(HORIZON));
    update.exec(db.write()).await.map(drop)
}
