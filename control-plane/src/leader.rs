//! Leaders: for each office an epoch in the database with a lease in the database's time. What must not be done twice checks
//! the epoch in its own transaction; a lease alone could not stop a process that had been paused.
//!
//! ```text
//! renewal:  update "until" where the epoch is ours        (a connection of its own; one statement)
//! takeover: lock the row, then epoch + 1                  (where "until" has passed)
//! work:     [a look] .. writes .. update "until" where the epoch is ours, commit
//! ```
//! Why two leaders never both commit: [`holds`] and [`Lease::seal`] write the leader's row where it has the own epoch, and
//! keep its lock until their transaction ends; a takeover writes the same row. So they come one after the other. A takeover
//! that comes first has changed the epoch: the other one's write finds no row, and its transaction is rolled back. One that
//! comes second waits for the commit, and whatever it does afterwards sees what was committed. PostgreSQL looks at a row
//! again once it has its lock (`READ COMMITTED`); on SQLite each such transaction has the write lock from its beginning.

use std::time::Duration;

use parking_lot::Mutex;
use protocol::{InstanceId, Timestamp};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait as _,
    QueryFilter as _, Statement, Value,
};
use tokio::time::Instant;

use crate::db::columns::{Col, signed};
use crate::db::entities::leader;
use crate::db::{Db, clock, now};

/// Giving an office back must not hold up a stop.
const RESIGNS_WITHIN: Duration = Duration::from_millis(500);

/// What one control plane does for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Office {
    /// Publishes the outbox.
    Routes,
    /// Dispatches jobs.
    Jobs,
    /// Takes the halves of runs, and settles them.
    Settlement,
    /// Checks nodes, and says how far each is trusted.
    Checks,
    /// Deletes what nothing refers to in the store.
    Store,
}

impl Office {
    const fn row(self) -> i32 {
        match self {
            Self::Routes => 1,
            Self::Jobs => 2,
            Self::Settlement => 3,
            Self::Checks => 4,
            Self::Store => 5,
        }
    }
}

/// Takes the lead, or keeps it; the epoch, where this instance leads.
pub(crate) async fn lead(db: &Db, office: Office, instance: InstanceId, lease: Duration) -> Result<Option<i64>, DbErr> {
    match keep(db, office, instance, lease).await? {
        Some(epoch) => Ok(Some(epoch)),
        None => take(db, office, instance, lease).await,
    }
}

/// Renews what this instance has.
async fn keep(db: &Db, office: Office, instance: InstanceId, lease: Duration) -> Result<Option<i64>, DbErr> {
    let connection = db.leases();
    let backend = connection.get_database_backend();
    let sql = format!(
        "UPDATE leader SET until = {} + $1 WHERE id = $2 AND instance = $3 AND epoch > 0 RETURNING epoch",
        clock(backend)
    );
    let values: [Value; 3] = [millis(lease).into(), office.row().into(), Col(instance).into()];
    let row = connection.query_one_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    row.map(|row| row.try_get_by_index(0)).transpose()
}

/// Whether somebody has the office now.
fn is_held(row: &leader::Model, now: Timestamp, lease: Duration) -> bool {
    // A lease that lasts longer than any is of a clock that has jumped back since.
    *row.until > now && row.until.since(now) <= 2 * lease
}

/// Takes what nobody has.
async fn take(db: &Db, office: Office, instance: InstanceId, lease: Duration) -> Result<Option<i64>, DbErr> {
    // Followers come here again and again: where it is held they lock nothing.
    let row = leader::Entity::find_by_id(office.row()).one(db.read()).await?;
    if let Some(row) = row
        && is_held(&row, now(db.read()).await?, lease)
    {
        return Ok(None);
    }
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
    if is_held(&row, now, lease) {
        return Ok(None);
    }
    let epoch = row.epoch + 1;
    leader::Entity::update_many()
        .set(leader::ActiveModel {
            epoch: Set(epoch),
            instance: Set(instance.into()),
            until: Set(Timestamp(now.0 + millis(lease)).into()),
            ..Default::default()
        })
        .filter(leader::Column::Id.eq(office.row()))
        .exec(&tx)
        .await?;
    tx.commit().await?;
    Ok(Some(epoch))
}

/// Gives the lead back, so that another need not wait for the lease to end; where the database has no time for that, it ends by
/// itself.
pub(crate) async fn resign(db: &Db, office: Office, instance: InstanceId) -> Result<(), DbErr> {
    let resigned = leader::Entity::update_many()
        .set(leader::ActiveModel { until: Set(Timestamp(0).into()), ..Default::default() })
        .filter(leader::Column::Id.eq(office.row()))
        .filter(leader::Column::Instance.eq(Col(instance)))
        .exec(db.leases());
    match tokio::time::timeout(RESIGNS_WITHIN, resigned).await {
        Ok(resigned) => resigned.map(drop),
        Err(_) => Err(DbErr::Custom(format!("the database has not answered within {RESIGNS_WITHIN:?}"))),
    }
}

/// Whether this epoch still leads, inside a short transaction that depends on it. The row stays locked until the end.
pub(crate) async fn holds(tx: &DatabaseTransaction, office: Office, epoch: i64) -> Result<bool, DbErr> {
    let locked = leader::Entity::update_many()
        .col_expr(leader::Column::Epoch, epoch.into())
        .filter(leader::Column::Id.eq(office.row()))
        .filter(leader::Column::Epoch.eq(epoch))
        .exec(tx)
        .await?;
    Ok(locked.rows_affected == 1)
}

/// Renews the lease of this epoch; false where another one leads.
pub(crate) async fn extend<C: ConnectionTrait>(
    connection: &C,
    office: Office,
    epoch: i64,
    lease: Duration,
) -> Result<bool, DbErr> {
    let backend = connection.get_database_backend();
    let sql = format!("UPDATE leader SET until = {} + $1 WHERE id = $2 AND epoch = $3", clock(backend));
    let values: [Value; 3] = [millis(lease).into(), office.row().into(), epoch.into()];
    let renewed = connection.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(renewed.rows_affected() == 1)
}

fn millis(lease: Duration) -> i64 {
    signed(u64::try_from(lease.as_millis()).unwrap_or(0))
}

/// An office that is held: its epoch, and until when that is sure by our own clock, which is never later than by the
/// database's.
#[derive(Debug)]
pub(crate) struct Lease {
    office: Office,
    epoch: i64,
    length: Duration,
    ends: Mutex<Instant>,
}

impl Lease {
    /// Takes an office, or keeps it.
    pub(crate) async fn take(
        db: &Db,
        office: Office,
        instance: InstanceId,
        length: Duration,
    ) -> Result<Option<Self>, DbErr> {
        let asked = Instant::now();
        let epoch = lead(db, office, instance, length).await?;
        Ok(epoch.map(|epoch| Self { office, epoch, length, ends: Mutex::new(asked + length) }))
    }

    pub(crate) fn epoch(&self) -> i64 {
        self.epoch
    }

    /// How long it lasts without renewal.
    pub(crate) fn length(&self) -> Duration {
        self.length
    }

    /// False: another one leads.
    pub(crate) async fn renew(&self, db: &Db) -> Result<bool, DbErr> {
        let asked = Instant::now();
        let renewed = extend(db.leases(), self.office, self.epoch, self.length).await?;
        if renewed {
            self.renewed(asked);
        }
        Ok(renewed)
    }

    /// A look, which locks nothing, so that a long transaction need not begin in vain. It does not replace [`Self::seal`].
    pub(crate) async fn stands(&self, tx: &DatabaseTransaction) -> Result<bool, DbErr> {
        let row = leader::Entity::find_by_id(self.office.row()).one(tx).await?;
        Ok(row.is_some_and(|row| row.epoch == self.epoch))
    }

    /// The last statement of a long transaction that depends on the office: it holds the row's lock for the commit alone, so
    /// that no renewal waits for the transaction, and it is a renewal itself. None: another one leads, roll it back. Else
    /// what [`Self::renewed`] is to be told after the commit.
    pub(crate) async fn seal(&self, tx: &DatabaseTransaction) -> Result<Option<Instant>, DbErr> {
        let asked = Instant::now();
        let sealed = extend(tx, self.office, self.epoch, self.length).await?;
        Ok(sealed.then_some(asked))
    }

    /// It was renewed by what was asked then.
    pub(crate) fn renewed(&self, asked: Instant) {
        let mut ends = self.ends.lock();
        *ends = (*ends).max(asked + self.length);
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&self) {
        loop {
            let ends = *self.ends.lock();
            if ends <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(ends).await;
        }
    }
}
