//! The sweep: settles runs whose other half does not come, writes segments, and keeps the window bounded.

use std::time::{Duration, Instant};

use protocol::{RunId, Timestamp};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _};
use tokio_util::sync::CancellationToken;

use super::ledger::{Batch, PRUNED, ROWS_MAX, lock};
use super::{join, segments};
use crate::App;
use crate::db::columns::{Col, signed};
use crate::db::entities::{counters, runs};
use crate::db::loops;
use crate::error::Result;

const EVERY: Duration = Duration::from_secs(2);
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(60);
const PRUNE_ROWS_MAX: u64 = 2_000;

/// Sweeps until it is stopped.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    let (mut segmented, mut kept) = (Instant::now(), Instant::now());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let all = segmented.elapsed() >= app.config.segment_age_max.duration();
        if all {
            segmented = Instant::now();
        }
        if let Err(error) = once(&app, Timestamp::now(), all).await {
            tracing::warn!(%error, "settlement sweep failed");
        }
        if kept.elapsed() >= HOUSEKEEPING_EVERY {
            kept = Instant::now();
            if let Err(error) = housekeeping(&app).await {
                tracing::warn!(%error, "housekeeping failed");
            }
        }
    }
}

/// One sweep.
pub(crate) async fn once(app: &App, now: Timestamp, all_segments: bool) -> Result<()> {
    while settle_overdue(app, now).await? == ROWS_MAX {}
    while segments::write(app, all_segments).await? > 0 {}
    Ok(())
}

/// Settles what has waited too long for its other half.
async fn settle_overdue(app: &App, now: Timestamp) -> Result<usize> {
    let since = Timestamp(now.0 - signed(app.config.settle_wait_max.0));
    let overdue = loops::runs_overdue(since).limit(u64::try_from(ROWS_MAX).unwrap_or(u64::MAX));
    if overdue.clone().one(app.db.read()).await?.is_none() {
        return Ok(0);
    }
    let tx = app.db.begin().await?;
    lock(&tx).await?;
    let rows = overdue.all(&tx).await?;
    let ids: Vec<RunId> = rows.iter().map(|row| row.run_id.0).collect();
    let mut batch = Batch::read(&tx, &ids).await?;
    let count = rows.len();
    for row in rows {
        batch.set(join::give_up(row));
    }
    batch.write(&tx).await?;
    tx.commit().await?;
    Ok(count)
}

async fn housekeeping(app: &App) -> Result<()> {
    while prune_runs(app).await? == PRUNE_ROWS_MAX {}
    crate::keep::trim(app).await?;
    crate::usage::prune(&app.db, Timestamp::now()).await?;
    crate::logs::prune(app).await?;
    crate::jobs::prune(app).await?;
    crate::queues::prune(app).await?;
    crate::idempotency::prune(app).await?;
    crate::identity::sessions::prune(app).await?;
    Ok(())
}

/// The first id of a time, for ranges of ids.
pub(crate) fn first_id_at(at: Timestamp) -> uuid::Uuid {
    let mut bytes = [0_u8; 16];
    bytes[..6].copy_from_slice(&at.0.max(0).to_be_bytes()[2..]);
    uuid::Uuid::from_bytes(bytes)
}

/// Deletes runs that are too old or too many, once they are in a segment.
async fn prune_runs(app: &App) -> Result<u64> {
    let days = i64::from(app.config.runs_days) * 86_400_000;
    let by_age = RunId::from_uuid(first_id_at(Timestamp(Timestamp::now().0 - days)));
    let by_count: Option<Col<RunId>> = loops::runs_nth(app.config.runs_max).into_tuple().one(app.db.read()).await?;
    let by_count = by_count.map(|id| id.0);
    forget(app, by_count.map_or(by_age, |id| id.max(by_age))).await
}

/// Deletes some runs before this one, and remembers that they are gone.
pub(crate) async fn forget(app: &App, before: RunId) -> Result<u64> {
    let ids: Vec<Col<RunId>> = loops::runs_to_forget(before, PRUNE_ROWS_MAX).into_tuple().all(app.db.read()).await?;
    if ids.is_empty() {
        return Ok(0);
    }
    let tx = app.db.begin().await?;
    lock(&tx).await?;
    counters::Entity::update_many()
        .col_expr(counters::Column::Value, began(before).into())
        .filter(counters::Column::Name.eq(PRUNED))
        .filter(counters::Column::Value.lt(began(before)))
        .exec(&tx)
        .await?;
    let deleted = runs::Entity::delete_many().filter(runs::Column::RunId.is_in(ids)).exec(&tx).await?;
    tx.commit().await?;
    Ok(deleted.rows_affected)
}

/// The time in a run's id.
fn began(run: RunId) -> i64 {
    let (time, _) = run.uuid().as_u64_pair();
    signed(time >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_time() {
        let (before, id, after) = (Timestamp::now(), RunId::new(), Timestamp(Timestamp::now().0 + 1));
        assert!(RunId::from_uuid(first_id_at(before)) <= id);
        assert!(RunId::from_uuid(first_id_at(after)) > id);
        assert!((before.0..after.0 + 1000).contains(&began(id)));
    }
}
