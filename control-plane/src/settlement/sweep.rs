//! The sweep: settles runs whose other half does not come, packs what is settled into blocks, and keeps everything bounded.

use std::time::{Duration, Instant};

use protocol::{RunId, Timestamp};
use sea_orm::QuerySelect as _;
use tokio_util::sync::CancellationToken;

use super::batch::{Batch, ROWS_MAX, lock};
use super::{blocks, join, retention, sources};
use crate::App;
use crate::db::columns::signed;
use crate::db::loops;
use crate::error::Result;

const EVERY: Duration = Duration::from_secs(2);
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(60);
/// So often all uploads that are old enough to go are looked at.
const UPLOADS_EVERY: Duration = Duration::from_secs(3600);

/// Sweeps until it is stopped.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    let (mut kept, mut uploads) = (Instant::now(), Instant::now());
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        // However much there is to do, a stop ends it between two of its steps, or in the middle of one: what is not
        // committed is rolled back, and the next sweep goes on there.
        let swept = Box::pin(once(&app, Timestamp::now(), false));
        if let Some(Err(error)) = stop.run_until_cancelled(swept).await {
            tracing::warn!(%error, "settlement sweep failed");
        }
        if kept.elapsed() >= HOUSEKEEPING_EVERY {
            kept = Instant::now();
            if let Some(Err(error)) = stop.run_until_cancelled(Box::pin(housekeeping(&app))).await {
                tracing::warn!(%error, "housekeeping failed");
            }
        }
        if uploads.elapsed() >= UPLOADS_EVERY {
            uploads = Instant::now();
            let pruned = Box::pin(crate::functions::artifacts::prune(&app.db, &app.config, Timestamp::now()));
            if let Some(Err(error)) = stop.run_until_cancelled(pruned).await {
                tracing::warn!(%error, "uploads that nothing needs could not be deleted");
            }
        }
    }
}

/// One sweep. `pack_all`: whatever is settled goes into blocks, however little it is.
pub(crate) async fn once(app: &App, now: Timestamp, pack_all: bool) -> Result<()> {
    while settle_overdue(app, now).await? == ROWS_MAX {}
    blocks::pack_due(app, now, pack_all).await?;
    blocks::evict(app, now).await
}

/// Settles what has waited too long for its other half.
async fn settle_overdue(app: &App, now: Timestamp) -> Result<usize> {
    let since = Timestamp(now.0 - signed(app.config.settle_wait_max.0));
    let overdue = loops::runs_overdue(since).limit(u64::try_from(ROWS_MAX).unwrap_or(u64::MAX));
    if overdue.clone().one(app.db.read()).await?.is_none() {
        return Ok(0);
    }
    let tx = app.db.begin_bulk().await?;
    lock(&tx).await?;
    let rows = overdue.all(&tx).await?;
    let ids: Vec<RunId> = rows.iter().map(|row| row.run_id.0).collect();
    let mut batch = Batch::of_rows(&tx, &ids).await?;
    let count = rows.len();
    let claimed: Vec<RunId> = rows.iter().filter(|row| row.observed.is_none()).map(|row| row.run_id.0).collect();
    let refused = crate::jobs::refused(&tx, &claimed).await?;
    for row in rows {
        batch.set(if refused.contains(&row.run_id.0) { join::refused(row) } else { join::give_up(row) });
    }
    batch.write(&tx).await?;
    tx.commit().await?;
    Ok(count)
}

async fn housekeeping(app: &App) -> Result<()> {
    retention::prune(&app.db, &app.config, Timestamp::now()).await?;
    sources::prune(&app.db, Timestamp::now()).await?;
    crate::keep::trim(app).await?;
    crate::keep::prune_checkpoints(app).await?;
    crate::usage::prune(&app.db, Timestamp::now()).await?;
    crate::functions::purge::purge(&app.db, &app.config, Timestamp::now()).await?;
    crate::jobs::prune(app).await?;
    crate::queues::prune(app).await?;
    crate::idempotency::prune(app).await?;
    crate::identity::sessions::prune(&app.db).await?;
    crate::identity::invitations::prune(app).await?;
    crate::nodes::tokens::prune(&app.db).await?;
    crate::nodes::trust::prune(&app.db).await?;
    crate::audit::prune(&app.db, &app.config, Timestamp::now()).await?;
    Ok(())
}
