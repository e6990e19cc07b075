//! Disks that are to be taken out. The database says which; every process that puts something follows: control planes look,
//! and gateways are told with their epochs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::{Code, Timestamp};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ConnectionTrait, DbErr, EntityTrait as _};
use tokio_util::sync::CancellationToken;

use super::{Care, extent};
use crate::db::entities::store_drains;
use crate::db::{Committed, loops};
use crate::error::{Result, invalid, refuse, refuse_field};
use crate::identity::caller::Caller;

/// How often a control plane looks which they are.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What a disk's name begins with, and may be left out.
const KIND: &str = "disk ";

/// Which they are, and since when.
pub(super) async fn known<C: ConnectionTrait>(connection: &C) -> Result<BTreeMap<String, Timestamp>, DbErr> {
    let rows = loops::drains().all(connection).await?;
    Ok(rows.into_iter().map(|row| (row.disk, row.since.0)).collect())
}

/// Has this process put nothing there, and go by what else the database says of the store.
pub(super) async fn apply<C: ConnectionTrait>(
    care: &Care,
    connection: &C,
) -> Result<BTreeMap<String, Timestamp>, DbErr> {
    let known = known(connection).await?;
    care.store.drain(&known.keys().cloned().collect::<BTreeSet<_>>());
    extent::apply(&care.store, connection).await?;
    Ok(known)
}

/// Follows what other control planes are told, until it is stopped.
pub(crate) async fn follow(care: Care, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = look(&care).await {
            tracing::warn!(%error, "which disks are drained, and how many copies there are to be, is not known; retrying");
        }
        // The leader of the repair does that, and other control planes put things, too.
        care.store.probe_failing();
        stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await;
    }
}

async fn look(care: &Care) -> Result<(), DbErr> {
    apply(care, care.db.read()).await?;
    extent::let_go(care).await
}

/// The operator alone looks after the store.
pub(crate) fn require_operator(caller: &Caller) -> Result<()> {
    if caller.user()?.operator {
        return Ok(());
    }
    Err(refuse(Code::Forbidden, "Only the operator looks after the store."))
}

/// `POST /operator/store/disks/{name}/drain`: nothing new is put there, and what it has is moved off.
pub(crate) async fn drain(care: &Care, caller: &Caller, name: &str) -> Result<Committed> {
    require_operator(caller)?;
    let disk = named(care, name).ok_or_else(unknown)?;
    let disks = care.store.disks().await;
    let mutation = care.db.mutation().await?;
    // Another one may just have been named: this is asked within the transaction.
    apply(care, mutation.tx()).await?;
    let (left, wanted) = (care.store.domains_without(&disk, &disks), care.store.copies_wanted());
    if left < wanted {
        let copies = protocol::words::count(wanted, "copy");
        let detail = format!(
            "too few other disks work for {copies}: {left} of distinct failure domains with room; add one first"
        );
        return Err(invalid("name", detail));
    }
    let row = store_drains::ActiveModel { disk: Set(disk.clone()), since: Set(mutation.at().into()) };
    store_drains::Entity::insert(row)
        .on_conflict(OnConflict::column(store_drains::Column::Disk).do_nothing().to_owned())
        .exec_without_returning(mutation.tx())
        .await
        .or_else(|error| if matches!(error, DbErr::RecordNotInserted) { Ok(0) } else { Err(error) })?;
    let committed = mutation.commit(&caller.actor, None, "store.drain", &disk).await?;
    fabric::fault::point("drain.noted");
    apply(care, care.db.read()).await?;
    Ok(committed)
}

/// `DELETE /operator/store/disks/{name}/drain`: it stays after all.
pub(crate) async fn undo(care: &Care, caller: &Caller, name: &str) -> Result<Committed> {
    require_operator(caller)?;
    // One that is not there any more may have left its row.
    let disk = named(care, name).or_else(|| absent(care, name)).unwrap_or_else(|| name.to_owned());
    let mutation = care.db.mutation().await?;
    let deleted = store_drains::Entity::delete_by_id(disk.clone()).exec(mutation.tx()).await?;
    if deleted.rows_affected == 0 {
        return Err(refuse_field(Code::NotFound, "name", "There is no such disk that is drained."));
    }
    let committed = mutation.commit(&caller.actor, None, "store.drain.undo", &disk).await?;
    fabric::fault::point("drain.undone");
    apply(care, care.db.read()).await?;
    Ok(committed)
}

pub(super) fn unknown() -> crate::error::Error {
    refuse_field(Code::NotFound, "name", "The store has no such disk.")
}

/// The whole name of the disk that is called so, with or without what all folders' names begin with.
pub(super) fn named(care: &Care, name: &str) -> Option<String> {
    let engines = care.store.engines();
    let mut names = engines.iter().map(|engine| engine.name());
    names.find(|known| is_called(known, name)).map(str::to_owned)
}

/// The same, of those that are not there.
pub(super) fn absent(care: &Care, name: &str) -> Option<String> {
    care.store.absent().into_keys().find(|known| is_called(known, name))
}

fn is_called(known: &str, name: &str) -> bool {
    known == name || known.strip_prefix(KIND) == Some(name)
}
