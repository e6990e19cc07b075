//! The rows: how a job goes from one state to the next, and when it is forgotten.

use std::collections::HashSet;

use protocol::job::JobState;
use protocol::{AccountId, JobId, NodeId, RunId, Timestamp};
use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ColumnTrait as _, ConnectionTrait as _, DatabaseTransaction, DbErr,
    EntityTrait as _, QueryFilter as _, QueryOrder as _, Statement,
};

use crate::App;
use crate::db::columns::{Col, unsigned};
use crate::db::entities::{job_counts, job_inputs, job_outputs, job_steps, jobs};
use crate::db::{count, loops};
use crate::error::Result;

const REASON_MAX: usize = 500;
const PRUNE_ROWS_MAX: u64 = 500;

/// A step of a job's life.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) state: JobState,
    pub(super) node: Option<NodeId>,
    pub(super) run: Option<RunId>,
    pub(super) reason: String,
    pub(super) at: Timestamp,
}

/// Takes the lock of all jobs and so many revisions; the first of them. Changes are visible in their order.
pub(super) async fn revisions(tx: &DatabaseTransaction, wanted: usize) -> Result<i64, DbErr> {
    let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
    Ok(count(tx, "job", wanted).await? - wanted + 1)
}

/// The row, as it is under the lock.
pub(super) async fn locked(tx: &DatabaseTransaction, id: JobId) -> Result<Option<jobs::Model>, DbErr> {
    jobs::Entity::find_by_id(Col(id)).one(tx).await
}

/// PostgreSQL's text takes no zero bytes, and nobody reads a long reason.
pub(super) fn short(reason: &str) -> String {
    reason.chars().take(REASON_MAX).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect()
}

/// Takes the step: in the row, which the caller writes, and as a row of its own.
pub(super) async fn step(
    tx: &DatabaseTransaction,
    row: &mut jobs::Model,
    step: Step,
    revision: i64,
) -> Result<(), DbErr> {
    debug_assert!(row.steps == 0 || row.state.may_become(step.state), "{} -> {}", row.state.0, step.state);
    let was_open = row.steps > 0 && !row.state.ended();
    match (was_open, !step.state.ended()) {
        (false, true) => count_open(tx, row.account_id.0, 1).await?,
        (true, false) => count_open(tx, row.account_id.0, -1).await?,
        _ => {}
    }
    row.steps += 1;
    row.state = Col(step.state);
    row.reason = short(&step.reason);
    row.revision = revision;
    row.ended = step.state.ended().then_some(Col(step.at));
    if step.state.ended() {
        row.cancelling = false;
        // Whoever wants to know is told at once.
        row.webhook_due = row.webhook.is_some().then_some(Col(step.at));
    }
    job_steps::Entity::insert(job_steps::ActiveModel {
        job_id: Set(row.id),
        step: Set(row.steps),
        at: Set(Col(step.at)),
        state: Set(row.state),
        node_id: Set(step.node.map(Col)),
        run_id: Set(step.run.map(Col)),
        reason: Set(row.reason.clone()),
    })
    .exec_without_returning(tx)
    .await
    .map(drop)
}

/// How many of an account's jobs wait or run. Counted by each step that begins or ends one, under the lock of all jobs: a
/// submission reads one row, and not all of the account's jobs.
pub(super) async fn open(tx: &DatabaseTransaction, account: AccountId) -> Result<u64, DbErr> {
    let row = job_counts::Entity::find_by_id(Col(account)).one(tx).await?;
    Ok(row.map_or(0, |row| unsigned(row.open)))
}

async fn count_open(tx: &DatabaseTransaction, account: AccountId, by: i64) -> Result<(), DbErr> {
    const ADD: &str = "INSERT INTO job_counts (account_id, open) VALUES ($1, $2) \
         ON CONFLICT (account_id) DO UPDATE SET open = job_counts.open + excluded.open";
    let values = [Col(account).into(), by.into()];
    tx.execute_raw(Statement::from_sql_and_values(tx.get_database_backend(), ADD, values)).await.map(drop)
}

/// Writes all of the row.
pub(super) async fn write(tx: &DatabaseTransaction, row: &jobs::Model) -> Result<(), DbErr> {
    jobs::Entity::update_many()
        .set(jobs::ActiveModel::from(row.clone()).reset_all())
        .filter(jobs::Column::Id.eq(row.id))
        .exec(tx)
        .await
        .map(drop)
}

/// Those of these runs, of which only a node has said something, that were tries of jobs which the node has refused: the
/// try is over, and a try that a node may have begun has our half, from the same transaction as the step.
pub(crate) async fn refused(tx: &DatabaseTransaction, runs: &[RunId]) -> Result<HashSet<RunId>, DbErr> {
    if runs.is_empty() {
        return Ok(HashSet::new());
    }
    let over: Vec<Col<RunId>> = loops::job_tries_over(runs).into_tuple().all(tx).await?;
    Ok(over.into_iter().map(|run| run.0).collect())
}

/// The steps of a job, in their order.
pub(super) async fn steps(app: &App, id: JobId) -> Result<Vec<job_steps::Model>> {
    let rows = job_steps::Entity::find()
        .filter(job_steps::Column::JobId.eq(Col(id)))
        .order_by_asc(job_steps::Column::Step)
        .all(app.db.read())
        .await?;
    Ok(rows)
}

/// Forgets jobs that ended long ago. What they have in the store goes when nothing refers to it any more.
pub(crate) async fn prune(app: &App) -> Result<()> {
    let before = Timestamp(Timestamp::now().0 - i64::from(app.config.jobs_days) * 86_400_000);
    loop {
        let forgotten = loops::jobs_to_forget(before, PRUNE_ROWS_MAX);
        let ids: Vec<Col<JobId>> = forgotten.into_tuple().all(app.db.read()).await?;
        if ids.is_empty() {
            return Ok(());
        }
        forget(app, ids).await?;
    }
}

/// Forgets these jobs, with all that belongs to them.
pub(crate) async fn forget(app: &App, ids: Vec<Col<JobId>>) -> Result<()> {
    let tx = app.db.begin_bulk().await?;
    job_outputs::Entity::delete_many().filter(job_outputs::Column::JobId.is_in(ids.clone())).exec(&tx).await?;
    job_inputs::Entity::delete_many().filter(job_inputs::Column::JobId.is_in(ids.clone())).exec(&tx).await?;
    job_steps::Entity::delete_many().filter(job_steps::Column::JobId.is_in(ids.clone())).exec(&tx).await?;
    jobs::Entity::delete_many().filter(jobs::Column::Id.is_in(ids)).exec(&tx).await?;
    tx.commit().await?;
    Ok(())
}
