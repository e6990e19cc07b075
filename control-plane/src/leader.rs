//! Leaders: for each office an epoch in the database with a lease in the database's time. What must not be done twice checks
//! the epoch in its own transaction; a lease alone could not stop a process that had been paused.

use std::time::Duration;

use protocol::{InstanceId, Timestamp};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, DatabaseTransaction, DbErr, EntityTrait as _, QueryFilter as _};

use crate::db::columns::{Col, signed};
use crate::db::entities::leader;
use crate::db::{Db, now};

/// What one control plane does for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Office {
    /// Publishes the outbox.
    Routes,
    /// Dispatches jobs.
    Jobs,
}

impl Office {
    const fn row(self) -> i32 {
        match self {
            Self::Routes => 1,
            Self::Jobs => 2,
        }
    }
}

/// Takes the lead, or keeps it; the epoch, where this instance leads.
pub(crate) async fn lead(db: &Db, office: Office, instance: InstanceId, lease: Duration) -> Result<Option<i64>, DbErr> {
    let tx = db.begin().await?;
    // Two that find no row meet at the primary key: the second one's insert does nothing.
    leader::Entity::insert(leader::ActiveModel {
        id: Set(office.row()),
        epoch: Set(0),
        instance: Set(instance.into()),
        until: Set(Timestamp(0).into()),
    })
    .on_conflict(sea_orm::sea_query::OnConflict::column(leader::Column::Id).do_nothing().to_owned())
    .exec_without_returning(&tx)
    .await
    .or_else(|error| if matches!(error, DbErr::RecordNotInserted) { Ok(0) } else { Err(error) })?;
    // An update that changes nothing takes the row's lock on both databases.
    let locked = leader::Entity::update_many()
        .col_expr(leader::Column::Id, office.row().into())
        .filter(leader::Column::Id.eq(office.row()))
        .exec(&tx)
        .await?;
    let row = leader::Entity::find_by_id(office.row()).one(&tx).await?.filter(|_| locked.rows_affected == 1);
    let row = row.ok_or_else(|| DbErr::RecordNotFound("the leader".to_owned()))?;
    let now = now(&tx).await?;
    let own = row.instance.0 == instance && row.epoch > 0;
    // A lease that lasts longer than any is of a clock that has jumped back since.
    let held = *row.until > now && row.until.since(now) <= 2 * lease;
    if !own && held {
        return Ok(None);
    }
    let epoch = if own { row.epoch } else { row.epoch + 1 };
    leader::Entity::update_many()
        .set(leader::ActiveModel {
            epoch: Set(epoch),
            instance: Set(instance.into()),
            until: Set(Timestamp(now.0 + signed(u64::try_from(lease.as_millis()).unwrap_or(0))).into()),
            ..Default::default()
        })
        .filter(leader::Column::Id.eq(office.row()))
        .exec(&tx)
        .await?;
    tx.commit().await?;
    Ok(Some(epoch))
}

/// Gives the lead back, so that another need not wait for the lease to end.
pub(crate) async fn resign(db: &Db, office: Office, instance: InstanceId) -> Result<(), DbErr> {
    leader::Entity::update_many()
        .set(leader::ActiveModel { until: Set(Timestamp(0).into()), ..Default::default() })
        .filter(leader::Column::Id.eq(office.row()))
        .filter(leader::Column::Instance.eq(Col(instance)))
        .exec(db.write())
        .await
        .map(drop)
}

/// Whether this epoch still leads, inside a transaction that depends on it. The row stays locked until the end.
pub(crate) async fn holds(tx: &DatabaseTransaction, office: Office, epoch: i64) -> Result<bool, DbErr> {
    let locked = leader::Entity::update_many()
        .col_expr(leader::Column::Epoch, epoch.into())
        .filter(leader::Column::Id.eq(office.row()))
        .filter(leader::Column::Epoch.eq(epoch))
        .exec(tx)
        .await?;
    Ok(locked.rows_affected == 1)
}
