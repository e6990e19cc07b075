//! How far the store goes, as the database says: how many copies it keeps, and which engines it has had. A process that was
//! started otherwise goes by the database.

use std::num::NonZeroUsize;

use protocol::words;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _};
use store::Store;

use super::epochs::HORIZON;
use super::repair::Looks;
use super::{Care, drains, notes, repair, status};
use crate::db::columns::Col;
use crate::db::entities::{store_drains, store_engines, store_horizon};
use crate::db::{Committed, Db, loops};
use crate::error::{Result, invalid};
use crate::identity::caller::Caller;

/// More copies than anybody keeps.
const COPIES_MAX: usize = 16;

/// Has this process go by what the database says.
pub(super) async fn apply<C: ConnectionTrait>(store: &Store, connection: &C) -> Result<(), DbErr> {
    let row = store_horizon::Entity::find_by_id(HORIZON).one(connection).await?;
    let copies = row.and_then(|row| usize::try_from(row.copies).ok()).and_then(NonZeroUsize::new);
    if let Some(copies) = copies {
        store.set_copies(copies);
    }
    let engines = loops::store_engines().all(connection).await?;
    store.set_known(engines.into_iter().map(|row| (row.name, row.place.map(|place| place.0))).collect());
    Ok(())
}

/// When a control plane starts: the number of copies is what was said last, or what this start says where that is more.
pub(crate) async fn start(db: &Db, store: &Store, said: Option<NonZeroUsize>) -> Result<(), DbErr> {
    if let Some(said) = said {
        let number = i32::try_from(said.get()).unwrap_or(i32::MAX);
        store_horizon::Entity::update_many()
            .set(store_horizon::ActiveModel { copies: Set(number), ..Default::default() })
            .filter(store_horizon::Column::Id.eq(HORIZON))
            .filter(store_horizon::Column::Copies.lt(number))
            .exec(db.write())
            .await?;
    }
    apply(store, db.read()).await?;
    let copies = store.copies_wanted();
    if let Some(said) = said.filter(|said| said.get() < copies) {
        tracing::warn!(
            copies,
            %said,
            "the platform goes on with more copies of each blob than this start says; `crowdcloud store copies N` lowers it, and `crowdcloud store \
             forget DISK` gives up disks that are not there"
        );
    }
    Ok(())
}

/// Notes engines that have been taken. By another name it is the same place: that one is not absent.
pub(super) async fn note(db: &Db, store: &Store) -> Result<(), DbErr> {
    let known = loops::store_engines().all(db.read()).await?;
    for (name, place) in store.claimed_places() {
        let place = place.map(Col);
        if known.iter().any(|row| row.name == name && (row.place == place || place.is_none())) {
            continue;
        }
        let row = store_engines::ActiveModel { name: Set(name.clone()), place: Set(place) };
        let column = store_engines::Column::Name;
        let conflict = OnConflict::column(column).update_column(store_engines::Column::Place).to_owned();
        store_engines::Entity::insert(row).on_conflict(conflict).exec_without_returning(db.write()).await?;
        if let Some(place) = place {
            store_engines::Entity::delete_many()
                .filter(store_engines::Column::Place.eq(place))
                .filter(store_engines::Column::Name.ne(name))
                .exec(db.write())
                .await?;
        }
    }
    apply(store, db.read()).await
}

/// Disks that were emptied, and taken out since, are the store's no more.
pub(super) async fn let_go(care: &Care) -> Result<(), DbErr> {
    let absent = care.store.absent();
    // Where no disk is known yet, all seem to be.
    if absent.is_empty() || care.store.engines().is_empty() {
        return Ok(());
    }
    let drained = drains::known(care.db.read()).await?;
    let looks = notes::read::<Looks>(&care.db, repair::NOTE).await?.unwrap_or_default();
    for disk in absent.into_keys() {
        let since = drained.get(&disk).copied();
        if since.is_some_and(|since| status::is_empty(care, &looks, &disk, since)) {
            tracing::info!(disk, "a disk that was emptied has been taken out");
            store_engines::Entity::delete_by_id(disk.clone()).exec(care.db.write()).await?;
            store_drains::Entity::delete_by_id(disk).exec(care.db.write()).await?;
        }
    }
    apply(&care.store, care.db.read()).await
}

/// `PUT /operator/store/copies`: so many are kept from now on. Repair makes what is missing, and deletes what is too many.
pub(crate) async fn set_copies(care: &Care, caller: &Caller, copies: u32) -> Result<Committed> {
    drains::require_operator(caller)?;
    let number = usize::try_from(copies).ok().and_then(NonZeroUsize::new).filter(|number| number.get() <= COPIES_MAX);
    let Some(number) = number else { return Err(invalid("copies", format!("1 to {COPIES_MAX} copies can be kept"))) };
    let mutation = care.db.mutation().await?;
    // Disks that are to be taken out do not count: which these are is asked within the transaction.
    drains::apply(care, mutation.tx()).await?;
    let domains = care.store.domains();
    if number.get() > care.store.copies_wanted().max(domains) {
        let copies = words::count(number.get(), "copy");
        let detail =
            format!("the disks are too few for {copies}: {domains} of distinct failure domains; add one first");
        return Err(invalid("copies", detail));
    }
    store_horizon::Entity::update_many()
        .set(store_horizon::ActiveModel {
            copies: Set(i32::try_from(copies).unwrap_or(i32::MAX)),
            ..Default::default()
        })
        .filter(store_horizon::Column::Id.eq(HORIZON))
        .exec(mutation.tx())
        .await?;
    let committed = mutation.commit(&caller.actor, None, "store.copies", copies).await?;
    drains::apply(care, care.db.read()).await?;
    Ok(committed)
}

/// `DELETE /operator/store/disks/{name}`: a disk that is not there will not come back; what it alone had is lost.
pub(crate) async fn forget(care: &Care, caller: &Caller, name: &str) -> Result<Committed> {
    drains::require_operator(caller)?;
    drains::apply(care, care.db.read()).await?;
    if drains::named(care, name).is_some() {
        let detail = "this disk is among those that the platform was started with, or a node still tells of it; drain it, and start \
                      without it, or remove its node";
        return Err(invalid("name", detail));
    }
    if care.store.engines().is_empty() {
        return Err(invalid("name", "no disk is known yet; try again soon"));
    }
    let disk = drains::absent(care, name).ok_or_else(drains::unknown)?;
    let mutation = care.db.mutation().await?;
    store_engines::Entity::delete_by_id(disk.clone()).exec(mutation.tx()).await?;
    store_drains::Entity::delete_by_id(disk.clone()).exec(mutation.tx()).await?;
    let committed = mutation.commit(&caller.actor, None, "store.forget", &disk).await?;
    drains::apply(care, care.db.read()).await?;
    Ok(committed)
}
