//! Which store is this database's. A store has an id; each of its engines has that as its mark, and the index knows which
//! engines have been marked. So nothing is put on, or swept from, what is another platform's, or is not what it was. And the
//! index knows the master key by a check of it: what is sealed under one key cannot be opened with another.

use std::collections::BTreeSet;

use protocol::StoreId;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait as _, DbErr, EntityTrait as _, QueryFilter as _};
use store::Store;

use super::epochs::HORIZON;
use crate::db::Db;
use crate::db::entities::{store_engines, store_horizon};
use crate::error::StartError;

/// Takes the store's engines for this database.
pub(crate) async fn claim(db: &Db, store: &Store) -> Result<(), StartError> {
    let id = store_id(db).await?;
    let known: BTreeSet<String> =
        store_engines::Entity::find().all(db.read()).await?.into_iter().map(|row| row.name).collect();
    store.claim(id, &known).await?;
    let engines = store.engines();
    let names = engines.iter().map(|engine| engine.name().to_owned());
    let new: Vec<String> = names.filter(|name| !known.contains(name)).collect();
    for name in new {
        store_engines::Entity::insert(store_engines::ActiveModel { name: Set(name) })
            .on_conflict(OnConflict::column(store_engines::Column::Name).do_nothing().to_owned())
            .exec_without_returning(db.write())
            .await?;
    }
    Ok(())
}

/// Whether this database has seen the master key.
pub(crate) async fn knows_key(db: &Db) -> Result<bool, DbErr> {
    Ok(row(db).await?.key_check.is_some())
}

/// Notes the master key's check where there is none; false where it is of another key.
pub(crate) async fn is_key(db: &Db, check: &[u8; 32]) -> Result<bool, DbErr> {
    store_horizon::Entity::update_many()
        .set(store_horizon::ActiveModel { key_check: Set(Some(check.to_vec())), ..Default::default() })
        .filter(store_horizon::Column::Id.eq(HORIZON))
        .filter(store_horizon::Column::KeyCheck.is_null())
        .exec(db.write())
        .await?;
    Ok(row(db).await?.key_check.is_some_and(|known| known == check))
}

async fn row(db: &Db) -> Result<store_horizon::Model, DbErr> {
    let row = store_horizon::Entity::find_by_id(HORIZON).one(db.write()).await?;
    row.ok_or_else(|| DbErr::RecordNotFound("the row of the store's horizon".to_owned()))
}

/// The store's id, which the first one that asks for it makes.
async fn store_id(db: &Db) -> Result<StoreId, DbErr> {
    store_horizon::Entity::update_many()
        .set(store_horizon::ActiveModel { store: Set(Some(StoreId::new().into())), ..Default::default() })
        .filter(store_horizon::Column::Id.eq(HORIZON))
        .filter(store_horizon::Column::Store.is_null())
        .exec(db.write())
        .await?;
    row(db).await?.store.map(|id| id.0).ok_or_else(|| DbErr::RecordNotFound("the id of the store".to_owned()))
}
