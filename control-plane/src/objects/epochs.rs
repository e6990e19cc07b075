//! Epochs in the database. Whoever writes into the store holds one, and the names of its blobs begin with it.
//!
//! ```text
//! open --renewed with its lease--> open --its holder is done, or its lease has ended--> closed --below the horizon--> gone
//! ```
//! A commit locks the row of its epoch, and finds it open; whoever closes an epoch waits for those commits, and those that
//! come afterwards are refused. So below the horizon, under which all epochs are closed, whatever the index does not have
//! now it will never have.

use std::time::Duration;

use protocol::{Epoch, Millis, Timestamp};
use sea_orm::sea_query::{Expr, LockType};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait as _, DatabaseTransaction, DbErr, EntityTrait as _,
    ExprTrait as _, QueryFilter as _, QuerySelect as _, Statement, Value,
};

use crate::db::columns::{Col, signed};
use crate::db::entities::{store_epochs, store_horizon};
use crate::db::{Db, clock, count, loops, now};

/// Counts epochs. Whoever opens one holds its row.
const COUNTER: &str = "store_epochs";
/// The row of the horizon.
pub(super) const HORIZON: i32 = 1;

/// Opens an epoch that nobody has had.
pub(super) async fn open(db: &Db, holder: &str, lease: Millis) -> Result<Epoch, DbErr> {
    let tx = db.begin().await?;
    let epoch = epoch(count(&tx, COUNTER, 1).await?)?;
    let now = now(&tx).await?;
    store_epochs::Entity::insert(store_epochs::ActiveModel {
        epoch: Set(epoch.into()),
        holder: Set(holder.to_owned()),
        opened: Set(now.into()),
        until: Set(now.plus(lease.duration()).into()),
        closed: Set(None),
    })
    .exec_without_returning(&tx)
    .await?;
    tx.commit().await?;
    Ok(epoch)
}

fn epoch(counted: i64) -> Result<Epoch, DbErr> {
    let used_up = |_| DbErr::Custom("the store's epochs are used up".to_owned());
    u32::try_from(counted).map(Epoch).map_err(used_up)
}

/// Renews the lease; false where the epoch is not open any more.
pub(super) async fn renew(db: &Db, epoch: Epoch, lease: Millis) -> Result<bool, DbErr> {
    let connection = db.leases();
    let backend = connection.get_database_backend();
    let sql = format!("UPDATE store_epochs SET until = {} + $1 WHERE epoch = $2 AND closed IS NULL", clock(backend));
    let values: [Value; 2] = [signed(lease.0).into(), Col(epoch).into()];
    let renewed = connection.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(renewed.rows_affected() == 1)
}

/// Whether it is open, in a transaction that commits what was written under it: until that ends, nobody closes it.
pub(super) async fn is_open(tx: &DatabaseTransaction, epoch: Epoch) -> Result<bool, DbErr> {
    let clock = Expr::cust(clock(tx.get_database_backend()));
    let row = store_epochs::Entity::find_by_id(Col(epoch))
        .filter(store_epochs::Column::Closed.is_null())
        .filter(Expr::col(store_epochs::Column::Until).gt(clock))
        // Renewals pass such a lock, and who closes it does not.
        .lock(LockType::KeyShare)
        .one(tx)
        .await?;
    Ok(row.is_some())
}

/// Its holder writes nothing more under it.
pub(super) async fn close(db: &Db, epoch: Epoch) -> Result<(), DbErr> {
    close_where(db, epoch, None).await
}

/// Closes it; where a lease is given, only if that has ended.
async fn close_where(db: &Db, epoch: Epoch, ended: Option<Duration>) -> Result<(), DbErr> {
    let tx = match ended {
        Some(_) => db.begin_bulk().await?,
        None => db.begin().await?,
    };
    let row = store_epochs::Entity::find_by_id(Col(epoch)).lock_exclusive().one(&tx).await?;
    let now = now(&tx).await?;
    let is_due = |row: &store_epochs::Model| ended.is_none_or(|lease| has_ended(row, now, lease));
    if row.is_none_or(|row| row.closed.is_some() || !is_due(&row)) {
        return Ok(());
    }
    store_epochs::Entity::update_many()
        .set(store_epochs::ActiveModel { closed: Set(Some(now.into())), ..Default::default() })
        .filter(store_epochs::Column::Epoch.eq(Col(epoch)))
        .exec(&tx)
        .await?;
    tx.commit().await
}

fn has_ended(row: &store_epochs::Model, now: Timestamp, lease: Duration) -> bool {
    // A lease that lasts longer than any is of a clock that has jumped back since.
    *row.until <= now || row.until.since(now) > 2 * lease
}

/// Closes the epochs whose leases have ended, and says below which one all are closed for ever.
pub(super) async fn raise_horizon(db: &Db, lease: Millis) -> Result<Epoch, DbErr> {
    let (seen, lease) = (now(db.read()).await?, lease.duration());
    for row in loops::epochs_open().all(db.read()).await? {
        if has_ended(&row, seen, lease) {
            tracing::warn!(epoch = %row.epoch.0, holder = row.holder, "a writer of the store has gone without a word");
            close_where(db, row.epoch.0, Some(lease)).await?;
        }
    }
    let tx = db.begin_bulk().await?;
    // Whoever is opening an epoch has this lock: its epoch is seen here, or is a later one than all of these.
    let last = count(&tx, COUNTER, 0).await?;
    let horizon = match loops::epochs_open().limit(1).one(&tx).await? {
        Some(oldest) => oldest.epoch.0,
        None => epoch(last.saturating_add(1))?,
    };
    store_horizon::Entity::update_many()
        .set(store_horizon::ActiveModel { epoch: Set(horizon.into()), ..Default::default() })
        .filter(store_horizon::Column::Id.eq(HORIZON))
        .exec(&tx)
        .await?;
    let below = store_epochs::Entity::delete_many().filter(store_epochs::Column::Epoch.lt(Col(horizon)));
    below.exec(&tx).await?;
    tx.commit().await?;
    Ok(horizon)
}
