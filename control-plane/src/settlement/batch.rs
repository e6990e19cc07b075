//! The batch: reads the rows of its runs, joins, and writes what changed.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric::metric_names;
use protocol::batch::{BatchAck, BatchHead};
use protocol::receipt::Observation;
use protocol::{AccountId, Code, Digest, Field, RunId, Timestamp};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, EntityTrait as _,
    QueryFilter as _, Statement,
};

use super::blocks::{Looked, SettleError, packed_among};
use super::sources::Content;
use super::windows::{self, Windows};
use super::{cut, join};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::{counters, runs};
use crate::db::{bulk, count};
use crate::error::{Result, invalid, refuse, refuse_field};
use crate::identity::accounts::erased_among;
use crate::usage::{Sums, Table};

/// Observations in one request.
pub(crate) const OBSERVATIONS_MAX: usize = 4096;
/// Rows in one statement: a bound on its parameters.
pub(crate) const ROWS_MAX: usize = 500;

/// The counter of turns.
const SETTLE: &str = "settle";

/// All settlement happens under this lock: a row that was read cannot change before it is written. Returns the transaction's
/// turn: where it is committed, the next turn is that of whoever comes right after it.
pub(crate) async fn lock(tx: &DatabaseTransaction) -> Result<i64, DbErr> {
    count(tx, SETTLE, 1).await
}

/// The last turn that is committed. What is read afterwards cannot have changed for a transaction whose turn is the next.
pub(super) async fn last_turn(connection: &DatabaseConnection) -> Result<i64, DbErr> {
    let row = counters::Entity::find_by_id(SETTLE).one(connection).await?;
    row.map(|row| row.value).ok_or_else(|| DbErr::RecordNotFound(SETTLE.to_owned()))
}

/// The rows of a batch, as they were and as they become.
#[derive(Default)]
pub(crate) struct Batch {
    before: HashMap<RunId, runs::Model>,
    after: HashMap<RunId, runs::Model>,
    /// How far the runs of its accounts are forgotten, once they were settled.
    windows: Windows,
    /// Runs that have no row, because they are in a block.
    packed: HashSet<RunId>,
    /// Accounts that are erased: of their runs nothing is kept.
    erased: HashSet<AccountId>,
}

impl Batch {
    /// Reads the rows that there are; and of runs without one, each of this account, whether they were settled before.
    ///
    /// # Errors
    /// Of the database; and where blocks are to be looked into first.
    pub(crate) async fn read<C: ConnectionTrait>(
        connection: &C,
        halves: &[(RunId, AccountId)],
        looked: &Looked,
    ) -> Result<Self, SettleError> {
        let ids: Vec<RunId> = halves.iter().map(|(run, _)| *run).collect();
        let mut batch = Self::of_rows(connection, &ids).await?;
        batch.windows = Windows::read(connection, halves.iter().map(|(_, account)| *account)).await?;
        batch.erased = erased_among(connection, halves.iter().map(|(_, account)| *account)).await?;
        let may_be_packed = |(run, account): &(RunId, AccountId)| {
            !batch.before.contains_key(run) && *run < batch.windows.rows_from(*account)
        };
        let missing: Vec<(RunId, AccountId)> = halves.iter().copied().filter(may_be_packed).collect();
        batch.packed = packed_among(connection, missing, looked).await?;
        Ok(batch)
    }

    /// The same outside of a transaction: blocks are looked into.
    pub(super) async fn read_with_blocks(
        app: &App,
        halves: &[(RunId, AccountId)],
        looked: &mut Looked,
    ) -> Result<Self, DbErr> {
        loop {
            match Self::read(app.db.read(), halves, looked).await {
                Ok(batch) => return Ok(batch),
                Err(SettleError::Unlooked(unlooked)) => looked.look(app, unlooked).await?,
                Err(SettleError::Database(error)) => return Err(error),
            }
        }
    }

    /// Reads the rows that there are, where all have one: whether a run was settled and has none is not asked.
    pub(crate) async fn of_rows<C: ConnectionTrait>(connection: &C, ids: &[RunId]) -> Result<Self, DbErr> {
        let mut batch = Self::default();
        for ids in ids.chunks(ROWS_MAX) {
            let rows = runs::Entity::find().filter(runs::Column::RunId.is_in(few_lengths(ids))).all(connection).await?;
            batch.before.extend(rows.into_iter().map(|row| (row.run_id.0, row)));
        }
        Ok(batch)
    }

    /// A row, as it is now.
    pub(crate) fn row(&self, id: RunId) -> Option<&runs::Model> {
        self.after.get(&id).or_else(|| self.before.get(&id))
    }

    /// A run of this account, which the batch was read for, that has no row any more. It was settled, or its account is
    /// erased: a half that comes now, or once more, must not begin a second bill. `ended` is when a gateway says that it ended.
    pub(crate) fn is_over(&self, id: RunId, account: AccountId, ended: Option<Timestamp>) -> bool {
        let gone = self.packed.contains(&id) || self.erased.contains(&account);
        let over = self.row(id).is_none() && (gone || self.windows.has_forgotten(id, account, ended));
        if over {
            metrics::counter!(metric_names::HALVES_TOO_LATE).increment(1);
        }
        over
    }

    /// A row changes.
    pub(crate) fn set(&mut self, row: runs::Model) {
        self.after.insert(row.run_id.0, row);
    }

    /// Writes rows and sums.
    pub(crate) async fn write(self, tx: &DatabaseTransaction) -> Result<(), DbErr> {
        self.joined(tx.get_database_backend()).write(tx, &mut Table::default()).await
    }

    /// What is to be written. It needs no transaction yet, and whatever can be made of it beforehand is.
    pub(super) fn joined(mut self, backend: DbBackend) -> Joined {
        let mut sums = Sums::default();
        let mut rows: Vec<runs::Model> = std::mem::take(&mut self.after).into_values().collect();
        rows.sort_unstable_by_key(|row| row.run_id.0);
        for row in &rows {
            sums.changed(self.before.get(&row.run_id.0), row);
        }
        let statements = bulk::replacing(backend, &rows, &[runs::Column::RunId]);
        Joined { read: self, rows, statements, sums }
    }

    /// Whether what was read later says the same of all that joining asks.
    fn is_as(&self, later: &Self) -> bool {
        let is_known = self.packed == later.packed && self.erased == later.erased;
        is_known && self.before == later.before && self.windows.forget_the_same(&later.windows)
    }
}

/// A batch that is joined, and not written yet.
pub(super) struct Joined {
    /// What it was joined with.
    read: Batch,
    rows: Vec<runs::Model>,
    statements: Vec<Statement>,
    sums: Sums,
}

impl Joined {
    /// Whether it would be the same with what was read later.
    pub(super) fn holds_with(&self, later: &Batch) -> bool {
        self.read.is_as(later)
    }

    /// Writes rows and sums, of which some may be known.
    pub(super) async fn write(self, tx: &DatabaseTransaction, table: &mut Table) -> Result<(), DbErr> {
        bulk::run(tx, self.statements).await?;
        windows::written(tx, &self.read.before, &self.rows, Timestamp::now()).await?;
        self.sums.write(tx, table).await
    }
}

/// These ids, the last one several times: so that statements for any number of them have a few texts only, which the
/// database keeps prepared.
fn few_lengths(ids: &[RunId]) -> impl Iterator<Item = Col<RunId>> {
    let length = ids.len().next_power_of_two().min(ROWS_MAX);
    let again = ids.last().into_iter().cycle().take(length.saturating_sub(ids.len()));
    ids.iter().chain(again).map(|id| Col(*id))
}

/// When a run ended, as its gateway says.
pub(super) fn seen_ended(seen: &Observation) -> Timestamp {
    seen.received.plus(Duration::from_micros(seen.wall_us))
}

/// How long a batch of halves took.
pub(super) fn settling(halves: &'static str, begun: Instant) {
    metrics::histogram!(metric_names::CONTROL_PLANE_SETTLEMENT_SECONDS, "halves" => halves).record(begun.elapsed());
}

/// Refuses halves of bills while none are taken; whoever has them keeps them and comes again.
pub(super) fn unless_paused(app: &App) -> Result<()> {
    match app.config.settlement_paused {
        true => Err(refuse(Code::ControlPlaneUnavailable, "Settlement is paused.")),
        false => Ok(()),
    }
}

/// `POST /internal/observations`: what a gateway of the release before saw, without a number. Again is fine.
pub(crate) async fn observed(app: &App, batch: Vec<Observation>) -> Result<()> {
    unless_paused(app)?;
    if batch.len() > OBSERVATIONS_MAX {
        return Err(invalid(Field::BODY, format!("At most {OBSERVATIONS_MAX} observations at once")));
    }
    // What was committed before one of them failed may come again.
    for some in batch.chunks(ROWS_MAX) {
        let (begun, mut looked) = (Instant::now(), Looked::default());
        loop {
            let tx = app.db.begin_bulk().await?;
            match observe(&tx, some, &looked).await {
                Ok(()) => {
                    tx.commit().await?;
                    break;
                }
                Err(SettleError::Unlooked(unlooked)) => {
                    drop(tx);
                    looked.look(app, unlooked).await?;
                }
                Err(SettleError::Database(error)) => return Err(error.into()),
            }
        }
        taken(begun, some.len());
    }
    Ok(())
}

/// `POST /internal/observations?epoch=..`: the same in a numbered batch. No body: it was too large.
pub(crate) async fn observed_batch(app: &App, head: BatchHead, body: Option<Bytes>) -> Result<BatchAck> {
    unless_paused(app)?;
    let content = match &body {
        Some(body) if Digest::of(body) != head.digest => {
            return Err(refuse_field(Code::BodyIncomplete, "digest", "The body is not the one of this digest."));
        }
        Some(body) => Content::read(&head, body)?,
        None => Content::void(),
    };
    let ack = cut::take(app, cut::Sent::Batch { head, content }).await?;
    Ok(BatchAck { committed: ack.committed, void: ack.void })
}

/// After the commit.
fn taken(begun: Instant, count: usize) {
    settling("observations", begun);
    fabric::fault::point("observations.committed");
    metrics::counter!(metric_names::OBSERVATIONS).increment(u64::try_from(count).unwrap_or(0));
}

/// Adds observations, as a part of whatever else the transaction does.
///
/// # Errors
/// Of the database; and where blocks are to be looked into first: the transaction is to be begun again then.
pub(crate) async fn observe(
    tx: &DatabaseTransaction,
    batch: &[Observation],
    looked: &Looked,
) -> Result<(), SettleError> {
    lock(tx).await?;
    let halves: Vec<(RunId, AccountId)> = batch.iter().map(|seen| (seen.run, seen.account)).collect();
    let now = Timestamp::now();
    let mut rows = Batch::read(tx, &halves, looked).await?;
    for seen in batch {
        if rows.is_over(seen.run, seen.account, Some(seen_ended(seen))) {
            continue;
        }
        if let Some(row) = join::with_observation(rows.row(seen.run), seen, now) {
            rows.set(row);
        }
    }
    Ok(rows.write(tx).await?)
}
