//! The batch: reads the rows of its runs, joins, and writes what changed.

use std::collections::HashMap;
use std::time::Instant;

use fabric::metric_names;
use protocol::receipt::Observation;
use protocol::{Code, Field, RunId, Timestamp};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait as _, DatabaseTransaction, DbErr, EntityTrait as _, Iterable as _, QueryFilter as _};

use super::join;
use super::sweep::first_id_at;
use crate::App;
use crate::db::columns::Col;
use crate::db::count;
use crate::db::entities::{counters, runs};
use crate::error::{Result, invalid, refuse};
use crate::usage::Sums;

/// Observations in one request.
pub(crate) const OBSERVATIONS_MAX: usize = 4096;
/// Rows in one statement: a bound on its parameters.
pub(crate) const ROWS_MAX: usize = 500;

/// All settlement happens under this lock: a row that was read cannot change before it is written.
pub(crate) async fn lock(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    count(tx, "settle", 1).await.map(drop)
}

/// The rows of a batch, as they were and as they become.
#[derive(Default)]
pub(crate) struct Batch {
    before: HashMap<RunId, runs::Model>,
    after: HashMap<RunId, runs::Model>,
    /// Rows of runs that began before this are forgotten, once they were settled.
    pruned: Timestamp,
}

/// The counter of how far rows are forgotten, in milliseconds since 1970.
pub(super) const PRUNED: &str = "pruned";

impl Batch {
    /// Reads the rows that there are.
    pub(crate) async fn read(tx: &DatabaseTransaction, ids: &[RunId]) -> Result<Self, DbErr> {
        let pruned = counters::Entity::find_by_id(PRUNED).one(tx).await?;
        let pruned = Timestamp(pruned.map_or(0, |row| row.value));
        let mut batch = Self { pruned, ..Self::default() };
        for ids in ids.chunks(ROWS_MAX) {
            let ids = ids.iter().map(|id| Col(*id));
            let rows = runs::Entity::find().filter(runs::Column::RunId.is_in(ids)).all(tx).await?;
            batch.before.extend(rows.into_iter().map(|row| (row.run_id.0, row)));
        }
        Ok(batch)
    }

    /// A row, as it is now.
    pub(crate) fn row(&self, id: RunId) -> Option<&runs::Model> {
        self.after.get(&id).or_else(|| self.before.get(&id))
    }

    /// A run so old that its row is forgotten. It was settled: a half that comes now, or once more, must not begin a
    /// second bill.
    pub(crate) fn is_forgotten(&self, id: RunId) -> bool {
        let forgotten = self.row(id).is_none() && id < RunId::from_uuid(first_id_at(self.pruned));
        if forgotten {
            metrics::counter!(metric_names::HALVES_TOO_LATE).increment(1);
        }
        forgotten
    }

    /// A row changes.
    pub(crate) fn set(&mut self, row: runs::Model) {
        self.after.insert(row.run_id.0, row);
    }

    /// Writes rows and sums.
    pub(crate) async fn write(self, tx: &DatabaseTransaction) -> Result<(), DbErr> {
        let mut sums = Sums::default();
        let mut rows: Vec<runs::Model> = self.after.into_values().collect();
        rows.sort_unstable_by_key(|row| row.run_id.0);
        for row in &rows {
            sums.changed(self.before.get(&row.run_id.0), row);
        }
        let columns = runs::Column::iter().filter(|column| !matches!(column, runs::Column::RunId));
        let replace = OnConflict::column(runs::Column::RunId).update_columns(columns).to_owned();
        for chunk in rows.chunks(ROWS_MAX) {
            runs::Entity::insert_many(chunk.iter().cloned().map(runs::ActiveModel::from))
                .on_conflict(replace.clone())
                .exec_without_returning(tx)
                .await?;
        }
        sums.write(tx).await
    }
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

/// `POST /internal/observations`: what a gateway saw. Again is fine.
pub(crate) async fn observed(app: &App, batch: Vec<Observation>) -> Result<()> {
    unless_paused(app)?;
    if batch.len() > OBSERVATIONS_MAX {
        return Err(invalid(Field::BODY, format!("At most {OBSERVATIONS_MAX} observations at once")));
    }
    let begun = Instant::now();
    let tx = app.db.begin().await?;
    observe(&tx, &batch).await?;
    tx.commit().await?;
    settling("observations", begun);
    fabric::fault::point("observations.committed");
    metrics::counter!(metric_names::OBSERVATIONS).increment(u64::try_from(batch.len()).unwrap_or(0));
    Ok(())
}

/// Adds observations, as a part of whatever else the transaction does.
pub(crate) async fn observe(tx: &DatabaseTransaction, batch: &[Observation]) -> Result<(), DbErr> {
    let ids: Vec<RunId> = batch.iter().map(|seen| seen.run).collect();
    let now = Timestamp::now();
    lock(tx).await?;
    let mut rows = Batch::read(tx, &ids).await?;
    for seen in batch {
        if rows.is_forgotten(seen.run) {
            continue;
        }
        if let Some(row) = join::with_observation(rows.row(seen.run), seen, now) {
            rows.set(row);
        }
    }
    rows.write(tx).await
}
