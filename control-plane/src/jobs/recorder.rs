//! What happened on nodes, as rows: steps, outputs and usage of many jobs in one transaction, where the epoch still
//! leads. So a job has one end and one bill, or is tried again as if nothing had been.

use std::collections::HashMap;
use std::time::Duration;

use placing::{ObservationDraft, RunFacts, Verdict};
use protocol::job::JobState;
use protocol::receipt::{Observation, Outcome};
use protocol::{ByteSize, Code, JobId, RunId, RunSource, Timestamp};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, DatabaseTransaction, DbErr, EntityTrait as _, QueryFilter as _,
    QuerySelect as _,
};

use super::attempt::{Answer, Event, Finished};
use super::bodies::Put;
use super::rows::{self, Step};
use super::verdict::{Came, Counts, Next, next};
use crate::App;
use crate::db::columns::{Col, unsigned};
use crate::db::entities::{job_outputs, jobs, runs};
use crate::db::loops;
use crate::error::Error;
use crate::leader::{self, Office};
use crate::settlement::{Looked, SettleError};
use crate::{objects, settlement};

const ABANDONED_AT_ONCE: u64 = 200;
/// Retries of many jobs must not come back together.
const JITTER: f64 = 0.2;

/// Why something was not recorded.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    #[error("another instance leads")]
    NotLeading,
    #[error(transparent)]
    Database(#[from] DbErr),
}

/// Records what happened.
pub(super) async fn record(app: &App, epoch: i64, mut events: Vec<Event>) -> Result<(), RecordError> {
    // Until the commit nobody takes what they have put for what nobody wants.
    let _puts: Vec<Put> = events.iter().filter_map(put).collect();
    let mut looked = Looked::default();
    let tx = loop {
        let tx = app.db.begin().await?;
        if !leader::holds(&tx, Office::Jobs, epoch).await? {
            return Err(RecordError::NotLeading);
        }
        commit_outputs(app, &tx, &mut events).await?;
        let mut seen: Vec<Observation> = events.iter().filter_map(observation).collect();
        seen.extend(void(app, &tx, &events).await?);
        if seen.is_empty() {
            break tx;
        }
        match settlement::observe(&tx, &seen, &looked).await {
            Ok(()) => break tx,
            Err(SettleError::Unlooked(unlooked)) => {
                drop(tx);
                looked.look(app, unlooked).await?;
            }
            Err(SettleError::Database(error)) => return Err(error.into()),
        }
    };
    let mut revision = rows::revisions(&tx, events.len()).await?;
    for event in events {
        match event {
            Event::Running { job, run, node, at } => {
                let row = rows::locked(&tx, job).await?;
                if let Some(mut row) = row.filter(|row| row.state.0 == JobState::Placed && is(row, run)) {
                    let reason = "the node has taken it".to_owned();
                    let step = Step { state: JobState::Running, node: Some(node), run: Some(run), reason, at };
                    rows::step(&tx, &mut row, step, revision).await?;
                    rows::write(&tx, &row).await?;
                }
            }
            Event::Finished(finished) => {
                let row = rows::locked(&tx, finished.job).await?;
                if let Some(row) = row.filter(|row| on_a_node(row) && is(row, finished.run)) {
                    finish(app, &tx, row, *finished, revision).await?;
                }
            }
        }
        revision += 1;
    }
    tx.commit().await?;
    fabric::fault::point("jobs.recorded");
    app.jobs.committed(revision - 1);
    Ok(())
}

fn observation(event: &Event) -> Option<Observation> {
    match event {
        Event::Running { .. } => None,
        Event::Finished(finished) => finished.seen.clone(),
    }
}

/// Commits the outputs that are in the store. One that was put too long ago is lost, and its try with it: whoever pays for
/// that run would have nothing of it.
async fn commit_outputs(app: &App, tx: &DatabaseTransaction, events: &mut [Event]) -> Result<(), DbErr> {
    for event in events {
        let (Some(Put { blob, .. }), Event::Finished(finished)) = (put(event), event) else { continue };
        let Some(seen) = &mut finished.seen else {
            finished.answer = None;
            continue;
        };
        match objects::keep(app, tx, Some(seen.account), &blob).await {
            Ok(_) => {}
            Err(Error::Refused(problem)) => {
                (seen.outcome, seen.status, seen.code) =
                    (Outcome::PlatformFailed, problem.status, Some(Code::StorageUnavailable));
                finished.came = Came::Lost(Code::StorageUnavailable, problem.detail);
                finished.answer = None;
            }
            Err(Error::Database(error)) => return Err(error),
            Err(error) => return Err(DbErr::Custom(error.to_string())),
        }
    }
    Ok(())
}

fn put(event: &Event) -> Option<Put> {
    match event {
        Event::Running { .. } => None,
        Event::Finished(finished) => finished.answer.as_ref()?.put.clone(),
    }
}

/// Our half of tries that nodes have refused, as far as they claim them all the same. What is claimed later is void as well:
/// see [`rows::refused`].
async fn void(app: &App, tx: &DatabaseTransaction, events: &[Event]) -> Result<Vec<Observation>, DbErr> {
    let refused = |event: &Event| match event {
        Event::Finished(finished) if matches!(finished.came, Came::NotTaken(_)) => Some((finished.run, finished.job)),
        _ => None,
    };
    let refused: HashMap<RunId, JobId> = events.iter().filter_map(refused).collect();
    if refused.is_empty() {
        return Ok(Vec::new());
    }
    let claimed = runs::Column::RunId.is_in(refused.keys().map(|run| Col(*run)));
    let claimed: Vec<Col<RunId>> =
        runs::Entity::find().select_only().column(runs::Column::RunId).filter(claimed).into_tuple().all(tx).await?;
    let mut seen = Vec::new();
    for run in claimed {
        let Some(job) = refused.get(&run.0) else { continue };
        let row = rows::locked(tx, *job).await?.filter(|row| is(row, run.0));
        seen.extend(row.and_then(|row| lost(app, &row, Timestamp::now())));
    }
    Ok(seen)
}

fn on_a_node(row: &jobs::Model) -> bool {
    matches!(row.state.0, JobState::Placed | JobState::Running)
}

fn is(row: &jobs::Model, run: protocol::RunId) -> bool {
    row.run_id.is_some_and(|id| id.0 == run)
}

fn count(column: i32) -> u32 {
    u32::try_from(column).unwrap_or(0)
}

fn column(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// The try is over: the job ends, or waits again.
async fn finish(
    app: &App,
    tx: &DatabaseTransaction,
    mut row: jobs::Model,
    finished: Finished,
    revision: i64,
) -> Result<(), DbErr> {
    let Finished { run, node, at, mut came, answer, seen, .. } = finished;
    if let Came::Cancelled { begun } = &mut came {
        *begun |= row.state.0 == JobState::Running;
    }
    let mut counts = Counts {
        attempts: count(row.attempts),
        losses: count(row.losses),
        turns: count(row.turns),
        retries: count(row.retries),
        losses_max: app.config.job_losses_max,
        backoff: Duration::from_millis(unsigned(row.backoff)),
    };
    let mut outcome = next(&mut counts, &came);
    if let (true, Next::Again(..)) = (row.cancelling, &outcome) {
        outcome = Next::End(JobState::Cancelled, "cancelled".to_owned());
    }
    (row.attempts, row.losses, row.turns) = (column(counts.attempts), column(counts.losses), column(counts.turns));
    row.usage = seen.as_ref().and_then(|seen| seen.end.as_ref()).map(|end| Col(end.usage));
    match &came {
        Came::Done { status, code, .. } => {
            row.status = status.map(i32::from);
            row.code = code.map(Col);
        }
        Came::Lost(code, _) => (row.status, row.code) = (None, Some(Col(*code))),
        Came::NotTaken(_) | Came::Cancelled { .. } => (row.status, row.code) = (None, None),
    }
    match outcome {
        Next::Again(pause, reason) => {
            row.due = Col(at.plus(pause.mul_f64(1.0 + rand::random_range(0.0..JITTER))));
            let step = Step { state: JobState::Queued, node: Some(node), run: Some(run), reason, at };
            rows::step(tx, &mut row, step, revision).await?;
        }
        Next::End(state, reason) => {
            keep(tx, &mut row, answer).await?;
            let step = Step { state, node: Some(node), run: Some(run), reason, at };
            rows::step(tx, &mut row, step, revision).await?;
        }
    }
    rows::write(tx, &row).await
}

/// The output of the last try, in place of an earlier one's.
async fn keep(tx: &DatabaseTransaction, row: &mut jobs::Model, answer: Option<Answer>) -> Result<(), DbErr> {
    job_outputs::Entity::delete_by_id(row.id).exec(tx).await?;
    row.output_size = Col(answer.as_ref().map_or(ByteSize(0), |answer| answer.size));
    let Some(answer) = answer else { return Ok(()) };
    job_outputs::Entity::insert(job_outputs::ActiveModel {
        job_id: Set(row.id),
        status: Set(i32::from(answer.status)),
        headers: Set(Col(answer.headers)),
        body: Set(answer.body.map(|body| body.to_vec())),
        blob: Set(answer.put.map(|put| Col(put.blob.id))),
        root: Set(None),
    })
    .exec_without_returning(tx)
    .await
    .map(drop)
}

/// Takes jobs back that nobody has any more: those of a leader before, or of a session that broke.
pub(super) async fn abandon(app: &App, epoch: i64) -> Result<u64, RecordError> {
    let (mut all, mut looked) = (0, Looked::default());
    loop {
        let tx = app.db.begin().await?;
        if !leader::holds(&tx, Office::Jobs, epoch).await? {
            return Err(RecordError::NotLeading);
        }
        let rows = loops::jobs_on_nodes(ABANDONED_AT_ONCE).all(&tx).await?;
        if rows.is_empty() {
            return Ok(all);
        }
        let now = Timestamp::now();
        let seen: Vec<Observation> = rows.iter().filter_map(|row| lost(app, row, now)).collect();
        match settlement::observe(&tx, &seen, &looked).await {
            Ok(()) => {}
            Err(SettleError::Unlooked(unlooked)) => {
                drop(tx);
                looked.look(app, unlooked).await?;
                continue;
            }
            Err(SettleError::Database(error)) => return Err(error.into()),
        }
        let mut revision = rows::revisions(&tx, rows.len()).await?;
        for mut row in rows {
            let (node, run) = (row.node_id.map(|id| id.0), row.run_id.map(|id| id.0));
            let (state, reason) = match row.cancelling {
                true => {
                    row.attempts += i32::from(row.state.0 == JobState::Running);
                    (JobState::Cancelled, "cancelled")
                }
                false => (JobState::Queued, "its dispatcher went away; it is tried again"),
            };
            row.due = Col(now);
            let step = Step { state, node, run, reason: reason.to_owned(), at: now };
            rows::step(&tx, &mut row, step, revision).await?;
            rows::write(&tx, &row).await?;
            (revision, all) = (revision + 1, all + 1);
        }
        tx.commit().await?;
        fabric::fault::point("jobs.abandoned");
        app.jobs.committed(revision - 1);
    }
}

/// Our half of the bill of a run that nobody waits for any more: whatever the node claims, nobody pays.
fn lost(app: &App, row: &jobs::Model, now: Timestamp) -> Option<Observation> {
    let (run, node, lane) = (row.run_id?.0, row.node_id?.0, row.lane?.0);
    let received = row.started.map_or(now, |at| at.0);
    let facts = RunFacts {
        run,
        account: row.account_id.0,
        function: row.function_id.0,
        version: row.version_id.0,
        version_number: count(row.version_number),
        limits: row.limits.0,
        lane,
        job: Some(row.id.0),
        method: &row.method,
        path: &row.path,
        source: Some(row.source.map_or(RunSource::Job, |source| source.0)),
        principal: row.principal.as_ref().map(|principal| &principal.0),
    };
    let mut seen = ObservationDraft::begin(app.instance, &facts, received);
    seen.on_node(Some(node), lane);
    seen.took(Duration::ZERO, now.since(received));
    seen.bytes_in(row.input_size.0);
    if let Some(placement) = &row.placement {
        seen.placed(placement.explain(Duration::ZERO));
    }
    Some(seen.conclude(Verdict::of_code(Code::NodeLost), None).0)
}
