//! Accepted jobs become rows, each with its place in the order of those that wait.

use std::collections::HashSet;

use placing::Learning;
use protocol::job::{Job, JobState};
use protocol::words::count;
use protocol::{AccountId, ByteSize, Code, FunctionId, JobId, Problem, Timestamp};
use scheduler::RunRequest;
use sea_orm::{ActiveValue::Set, ConnectionTrait as _, EntityTrait as _, Statement};

use super::{Draft, Input, room};
use crate::App;
use crate::config::JobsPolicy;
use crate::db::Mutation;
use crate::db::columns::{Col, signed};
use crate::db::entities::{job_inputs, jobs};
use crate::error::Result;
use crate::jobs::bodies::Columns;
use crate::jobs::rows::{self, Step};
use crate::jobs::views;

/// A job is overtaken by others that came later, but not by those that came later than this.
const PATIENCE_MS_MAX: i64 = 600_000;
/// One step of priority is worth so much waiting.
const PRIORITY_MS: i64 = 60_000;
/// Past runs of so many minutes say how long the next one takes.
const HISTORY_MINUTES: i64 = 60;

/// Commits the jobs, one for each input: all of them, or none.
pub(super) async fn insert(app: &App, draft: Draft, inputs: Vec<Input>, array: bool) -> Result<Vec<Job>> {
    room(app, &draft).await?;
    let recent_ms = recent_ms(app, draft.account, draft.function).await?;
    let mutation = app.db.mutation().await?;
    // They are held until the commit.
    let made = insert_rows(app, &mutation, &draft, &inputs, array, recent_ms).await?;
    let target = made.first().map_or_else(String::new, |row| row.id.to_string());
    let revision = made.last().map_or(0, |row| row.revision);
    let committed = mutation.commit(&draft.actor, Some(draft.account), "job.submit", target).await?;
    app.announce(committed).await;
    app.jobs.committed(revision);
    Ok(made.into_iter().map(|row| views::view(row, draft.name.clone(), Vec::new())).collect())
}

/// The rows, within somebody's transaction.
pub(super) async fn insert_rows(
    app: &App,
    mutation: &Mutation,
    draft: &Draft,
    inputs: &[Input],
    array: bool,
    recent_ms: i64,
) -> Result<Vec<jobs::Model>> {
    let account = draft.account;
    // The lock of all jobs comes first: until the commit none begins or ends.
    let mut revision = rows::revisions(mutation.tx(), inputs.len()).await?;
    let open = rows::open(mutation.tx(), account).await?;
    if open.saturating_add(inputs.len() as u64) > app.config.jobs_open_max {
        let most = app.config.jobs_open_max;
        let open = count(open, "open job");
        let detail = format!("The account has {open} (waiting or running); it may have {most}.");
        let help = "Wait until some have ended, or cancel some with `crowdcloud jobs cancel JOB`.";
        return Err(Problem::new(Code::LimitReached, detail).with_help(help).into());
    }
    // Before there is any row: what is refused here may be said in the same transaction.
    let (mut kept, mut columns) = (HashSet::new(), Vec::with_capacity(inputs.len()));
    for input in inputs {
        columns.push(match &input.stored {
            Some(stored) => stored.columns(app, mutation.tx(), account, &mut kept).await?,
            None => Columns::default(),
        });
    }
    let now = mutation.at();
    let ids: Vec<JobId> = inputs.iter().map(|_| JobId::new()).collect();
    let whole = ids.first().copied().filter(|_| array);
    let mut made = Vec::with_capacity(inputs.len());
    for (((id, input), columns), index) in ids.iter().zip(inputs).zip(columns).zip(0..) {
        let mut row = row(draft, *id, input.size, now, patience_ms(app, draft, input.size, recent_ms));
        (row.array_id, row.array_index) = (whole.map(Col), whole.map(|_| index));
        let due = row.due.0;
        let mut reason = if due > now { format!("waits for {due}") } else { "submitted".to_owned() };
        if let Some(warning) = &draft.warning {
            reason = format!("{reason}; {warning}");
        }
        let first = Step { state: JobState::Queued, node: None, run: None, reason, at: now };
        rows::step(mutation.tx(), &mut row, first, revision).await?;
        jobs::Entity::insert(jobs::ActiveModel::from(row.clone())).exec_without_returning(mutation.tx()).await?;
        job_inputs::Entity::insert(job_inputs::ActiveModel {
            job_id: Set(Col(*id)),
            headers: Set(draft.request.headers.clone().into()),
            body: Set(input.body.as_ref().map(|body| body.to_vec())),
            blob: Set(columns.blob),
            root: Set(columns.root),
        })
        .exec_without_returning(mutation.tx())
        .await?;
        revision += 1;
        made.push(row);
    }
    Ok(made)
}

/// A job's first row.
fn row(draft: &Draft, id: JobId, input_size: ByteSize, now: Timestamp, patience_ms: i64) -> jobs::Model {
    let (version, terms, request) = (&draft.version, draft.terms, &draft.request);
    let due = draft.not_before.unwrap_or(now).max(now);
    jobs::Model {
        id: id.into(),
        account_id: draft.account.into(),
        function_id: draft.function.into(),
        version_id: version.version.into(),
        version_number: i32::try_from(version.number).unwrap_or(i32::MAX),
        state: JobState::Queued.into(),
        reason: String::new(),
        cancelling: false,
        method: request.method.clone(),
        path: request.path.clone(),
        input_size: input_size.into(),
        limits: terms.limits.into(),
        retries: i32::try_from(terms.retries).unwrap_or(i32::MAX),
        backoff: signed(terms.backoff.0),
        priority: terms.priority,
        not_before: draft.not_before.map(Col),
        labels: draft.labels.clone().into(),
        array_id: None,
        array_index: None,
        webhook: draft.webhook.clone(),
        webhook_due: None,
        webhook_tries: 0,
        webhook_delivered: None,
        webhook_error: None,
        due: due.into(),
        place: place(due, patience_ms, terms.priority),
        attempts: 0,
        losses: 0,
        turns: 0,
        epoch: 0,
        run_id: None,
        node_id: None,
        lane: None,
        status: None,
        code: None,
        usage: None,
        placement: None,
        output_size: ByteSize(0).into(),
        steps: 0,
        created_by: draft.created_by.clone(),
        created: now.into(),
        started: None,
        ended: None,
        revision: 0,
        source: Some(draft.source.into()),
        principal: draft.principal.clone().map(Col),
    }
}

/// The order of an account's jobs. All age at the same rate, so that it never changes: short ones come before long
/// ones that came a little earlier, and nothing waits for ever.
fn place(due: Timestamp, patience_ms: i64, priority: i32) -> i64 {
    due.0 + patience_ms.clamp(0, PATIENCE_MS_MAX) - i64::from(priority) * PRIORITY_MS
}

/// How long a job is willing to be overtaken: as predicted of it, where there is a model; else as its function's runs
/// took lately.
fn patience_ms(app: &App, draft: &Draft, input: ByteSize, recent_ms: i64) -> i64 {
    if app.config.jobs_policy == JobsPolicy::LeastLoaded {
        return 0;
    }
    let knowledge = app.placing.learning.knowledge();
    if knowledge.model().is_none() {
        return recent_ms;
    }
    let run = RunRequest { input, ..RunRequest::of(&draft.version, draft.account) };
    let patience = Learning::with_memo(|memo| knowledge.patience(memo, &run));
    i64::try_from(patience.as_millis()).unwrap_or(i64::MAX)
}

/// How long the function's runs took lately, on average.
pub(super) async fn recent_ms(app: &App, account: AccountId, function: FunctionId) -> Result<i64> {
    // Milliseconds, of sums that stop at their end: no number of minutes lets them overflow.
    let sql = "SELECT CAST(COALESCE(SUM(wall_us / 1000), 0) AS BIGINT), CAST(COALESCE(SUM(runs), 0) AS BIGINT) \
               FROM usage_sums WHERE account_id = $1 AND function_id = $2 AND span = 60 AND began > $3";
    let since = Timestamp::now().0 - HISTORY_MINUTES * 60_000;
    let values = [Col(account).into(), Col(function).into(), since.into()];
    let statement = Statement::from_sql_and_values(app.db.read().get_database_backend(), sql, values);
    let Some(row) = app.db.read().query_one_raw(statement).await? else { return Ok(0) };
    let (wall_ms, runs): (i64, i64) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    Ok(if runs > 0 { wall_ms / runs } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ones_first_but_nothing_waits_for_ever() {
        let minute = 60_000;
        assert!(place(Timestamp(1000), 0, 0) < place(Timestamp(0), 5000, 0));
        assert!(place(Timestamp(0), i64::MAX, 0) < place(Timestamp(11 * minute), 0, 0));
        assert!(place(Timestamp(9 * minute), 0, 10) < place(Timestamp(0), 0, 0));
        assert!(place(Timestamp(0), 0, -10) < place(Timestamp(21 * minute), 0, 10) + 2 * 10 * minute);
    }
}
