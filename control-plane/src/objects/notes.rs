//! What the leader notes of its work, so that every control plane can tell it, and the next leader goes on.

use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, DbErr, EntityTrait as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::db::Db;
use crate::db::entities::store_notes;

/// The note of this name; none where there is none, or another release wrote it in a form of its own.
pub(super) async fn read<T: DeserializeOwned>(db: &Db, name: &str) -> Result<Option<T>, DbErr> {
    let row = store_notes::Entity::find_by_id(name.to_owned()).one(db.read()).await?;
    Ok(row.and_then(|row| serde_json::from_str(&row.note).ok()))
}

/// Notes it in place of what was there.
pub(super) async fn write<T: Serialize>(db: &Db, name: &str, note: &T) -> Result<(), DbErr> {
    let note = serde_json::to_string(note).map_err(|error| DbErr::Custom(error.to_string()))?;
    store_notes::Entity::insert(store_notes::ActiveModel { name: Set(name.to_owned()), note: Set(note) })
        .on_conflict(OnConflict::column(store_notes::Column::Name).update_column(store_notes::Column::Note).to_owned())
        .exec_without_returning(db.write())
        .await
        .map(drop)
}
