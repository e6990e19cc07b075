//! Submitting: everything that can be refused is refused at once; what is accepted is a committed row.

use bytes::Bytes;
use learning::Learning;
use protocol::job::{DeferredCall, Job, JobArray, JobInput, JobLimits, JobState, SubmitArray, SubmitJob};
use protocol::placement::lane_of;
use protocol::route::{Route, Scope, VersionRoute};
use protocol::{AccountId, ByteSize, Code, Digest, FunctionId, JobId, Kind, Limits, Name, Timestamp};
use scheduler::RunRequest;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    Statement,
};

use super::book::{self, Step};
use super::fields::{self, Request, Terms};
use super::views;
use crate::App;
use crate::config::JobsPolicy;
use crate::db::columns::{Col, signed};
use crate::db::entities::{functions, job_inputs, jobs};
use crate::db::{Actor, Mutation};
use crate::error::{Error, Result, refuse};
use crate::functions::{artifacts, route};
use crate::identity::caller::Caller;
use crate::nodes::Wanted;

/// A job is overtaken by others that came later, but not by those that came later than this.
const PATIENCE_MS_MAX: i64 = 600_000;
/// One step of priority is worth so much waiting.
const PRIORITY_MS: i64 = 60_000;
/// Past runs of so many minutes say how long the next one takes.
const HISTORY_MINUTES: i64 = 60;

/// A body: in the row, or in the store.
#[derive(Debug, Clone, Default)]
struct Input {
    body: Option<Bytes>,
    root: Option<Digest>,
    size: ByteSize,
}

/// A job that may be, or the like of many.
struct Draft {
    account: AccountId,
    function: FunctionId,
    name: Name,
    version: VersionRoute,
    terms: Terms,
    request: Request,
    not_before: Option<Timestamp>,
    labels: std::collections::BTreeMap<String, String>,
    webhook: Option<String>,
    actor: Actor,
    created_by: String,
}

/// `POST /jobs`
pub(crate) async fn submit(app: &App, caller: &Caller, asked: SubmitJob) -> Result<Job> {
    let draft = draft(app, caller, &asked).await?;
    let input = input(app, &draft, asked.input.as_ref()).await?;
    let jobs = insert(app, draft, vec![input], false).await?;
    jobs.into_iter().next().ok_or_else(|| Error::Internal("no job was made".to_owned()))
}

/// `POST /jobs/arrays`: all of them, or none.
pub(crate) async fn submit_array(app: &App, caller: &Caller, asked: SubmitArray) -> Result<JobArray> {
    let SubmitArray { job, inputs: asked } = asked;
    let most = app.config.job_array_max;
    if asked.is_empty() || asked.len() > most as usize || job.input.is_some() {
        let detail = format!("inputs: {}; allowed: 1 to {most}, and none in `job` itself.", asked.len());
        return Err(refuse(Code::InvalidField, detail));
    }
    // What the first input is, all are.
    let job = SubmitJob { input: asked.first().cloned(), ..job };
    let draft = draft(app, caller, &job).await?;
    let mut inputs = Vec::with_capacity(asked.len());
    for one in &asked {
        inputs.push(input(app, &draft, Some(one)).await?);
    }
    let jobs: Vec<JobId> = insert(app, draft, inputs, true).await?.into_iter().map(|job| job.id).collect();
    let id = jobs.first().copied().ok_or_else(|| Error::Internal("no job was made".to_owned()))?;
    Ok(JobArray { id, jobs })
}

/// Everything but the input.
async fn draft(app: &App, caller: &Caller, asked: &SubmitJob) -> Result<Draft> {
    let (name, _) = fields::target(asked)?;
    let function = caller.function(app, name, Scope::Invoke).await?;
    draft_of(app, function, asked, caller.actor.clone(), caller.label.clone()).await
}

async fn draft_of(
    app: &App,
    function: functions::Model,
    asked: &SubmitJob,
    actor: Actor,
    created_by: String,
) -> Result<Draft> {
    let (_, reference) = fields::target(asked)?;
    let (account, id, name) = (function.account_id.0, function.id.0, function.name.0.clone());
    let route = route::build(app.db.read(), function).await?;
    let version = route.resolve(reference.as_ref(), rand::random_range(0..100));
    let version = version.ok_or_else(|| no_version(&name, reference.as_ref()))?.clone();
    let terms = fields::terms(asked, version.limits, &app.config)?;
    let request = fields::request(asked)?;
    fields::labels(&asked.labels)?;
    Ok(Draft {
        account,
        function: id,
        name,
        terms,
        request,
        not_before: fields::not_before(asked.not_before, Timestamp::now())?,
        webhook: fields::webhook(asked.webhook.as_deref(), app.config.webhook_private)?,
        labels: asked.labels.clone(),
        version,
        actor,
        created_by,
    })
}

/// A job that can be inserted, by a trigger.
pub(crate) struct Prepared {
    draft: Draft,
    input: Input,
    recent_ms: i64,
}

/// What a trigger of this account asks for, as far as it can be done before its transaction.
pub(crate) async fn prepare(app: &App, account: AccountId, asked: &SubmitJob, by: &str) -> Result<Prepared> {
    let (name, _) = fields::target(asked)?;
    let missing = || refuse(Code::FunctionNotFound, format!("The account has no function `{name}`."));
    let row = functions::Entity::find()
        .filter(functions::Column::AccountId.eq(Col(account)))
        .filter(functions::Column::Name.eq(Col(name.parse::<Name>().map_err(|_| missing())?)))
        .filter(functions::Column::Deleted.is_null())
        .one(app.db.read())
        .await?;
    let draft = draft_of(app, row.ok_or_else(missing)?, asked, Actor::platform(), by.to_owned()).await?;
    let input = input(app, &draft, asked.input.as_ref()).await?;
    room(app, &draft).await?;
    let recent_ms = recent_ms(app, account, draft.function).await?;
    Ok(Prepared { draft, input, recent_ms })
}

/// Refuses what `POST /jobs` would refuse.
pub(crate) async fn check(app: &App, account: AccountId, asked: &SubmitJob) -> Result<()> {
    prepare(app, account, asked, "").await.map(drop)
}

/// Inserts so many of them.
pub(crate) async fn insert_in(app: &App, mutation: &Mutation, job: Prepared, copies: usize) -> Result<Vec<JobId>> {
    let Prepared { draft, input, recent_ms } = job;
    let rows = insert_rows(app, mutation, &draft, vec![input; copies], false, recent_ms).await?;
    Ok(rows.into_iter().map(|row| row.id.0).collect())
}

fn no_version(name: &Name, reference: Option<&protocol::Reference>) -> Error {
    refuse(
        Code::VersionNotFound,
        match reference {
            Some(reference) => format!("`{name}` has no `{reference}` that is ready."),
            None => format!("`{name}` has no live version yet."),
        },
    )
}

/// `POST /internal/jobs`: a gateway has checked who calls.
pub(crate) async fn defer(app: &App, call: DeferredCall) -> Result<Job> {
    let row = functions::Entity::find_by_id(Col(call.function)).one(app.db.read()).await?;
    let row = row.filter(|row| row.account_id.0 == call.account && row.deleted.is_none());
    let row = row.ok_or_else(|| refuse(Code::FunctionNotFound, "The function was deleted."))?;
    let name = row.name.0.clone();
    let route: Route = route::build(app.db.read(), row).await?;
    let reference = protocol::Reference::Version(call.version);
    let version = route.resolve(Some(&reference), 0).ok_or_else(|| no_version(&name, Some(&reference)))?.clone();
    let asked = SubmitJob {
        method: Some(call.method),
        path: Some(call.path),
        headers: call.headers,
        input: call.body.map(JobInput::Base64),
        ..SubmitJob::of(name.to_string())
    };
    let request = fields::request(&asked)?;
    let input = match (call.root, fields::inline(asked.input.as_ref(), &app.config)?) {
        (Some(root), _) => Input { body: None, root: Some(root), size: call.size },
        (None, body) => kept(app, body).await?,
    };
    let terms = fields::terms(&asked, version.limits, &app.config)?;
    let draft = Draft {
        account: call.account,
        function: call.function,
        name,
        version,
        terms,
        request,
        not_before: None,
        labels: std::collections::BTreeMap::new(),
        webhook: None,
        actor: Actor(call.caller.clone()),
        created_by: call.caller,
    };
    let jobs = insert(app, draft, vec![input], false).await?;
    jobs.into_iter().next().ok_or_else(|| Error::Internal("no job was made".to_owned()))
}

/// Where the input is, once it is safe there.
async fn input(app: &App, draft: &Draft, asked: Option<&JobInput>) -> Result<Input> {
    let limits = draft.terms.limits;
    let input = match asked {
        Some(JobInput::Upload(digest)) => {
            let row = artifacts::find(app.db.read(), draft.account, *digest).await?;
            Input { body: None, root: Some(row.root.0), size: row.size.0 }
        }
        asked => kept(app, fields::inline(asked, &app.config)?).await?,
    };
    if input.size > limits.body {
        return Err(refuse(Code::BodyTooLarge, format!("The function accepts up to {}.", limits.body)));
    }
    Ok(input)
}

async fn kept(app: &App, body: Option<Bytes>) -> Result<Input> {
    let Some(body) = body else { return Ok(Input::default()) };
    let size = ByteSize(body.len() as u64);
    if size <= app.config.job_inline_max {
        return Ok(Input { body: Some(body), root: None, size });
    }
    let stored = app.store.put_bytes(body).await.map_err(|error| {
        tracing::error!(%error, "a job's input cannot be stored");
        refuse(Code::StorageUnavailable, "The store cannot take the input.")
    })?;
    Ok(Input { body: None, root: Some(stored.root), size })
}

/// The lane that the job's runs take.
pub(super) fn lane(version: &VersionRoute, limits: Limits) -> protocol::Lane {
    let kind: Kind = version.kind;
    lane_of(version.lane, kind, &limits, version.form).0
}

/// Refuses what no node could ever run.
async fn room(app: &App, draft: &Draft) -> Result<()> {
    let (account, limits) = (draft.account, draft.terms.limits);
    let wanted = Wanted { account, placement: draft.version.placement, lane: lane(&draft.version, limits), limits };
    Ok(crate::functions::room::find(app, &wanted).await??)
}

/// Commits the jobs, one for each input: all of them, or none.
async fn insert(app: &App, draft: Draft, inputs: Vec<Input>, array: bool) -> Result<Vec<Job>> {
    room(app, &draft).await?;
    let recent_ms = recent_ms(app, draft.account, draft.function).await?;
    let mutation = app.db.mutation().await?;
    let made = insert_rows(app, &mutation, &draft, inputs, array, recent_ms).await?;
    let target = made.first().map_or_else(String::new, |row| row.id.to_string());
    let revision = made.last().map_or(0, |row| row.revision);
    let committed = mutation.commit(&draft.actor, Some(draft.account), "job.submit", target).await?;
    app.announce(committed).await;
    app.jobs.committed(revision);
    Ok(made.into_iter().map(|row| views::view(row, draft.name.clone(), Vec::new())).collect())
}

async fn insert_rows(
    app: &App,
    mutation: &Mutation,
    draft: &Draft,
    inputs: Vec<Input>,
    array: bool,
    recent_ms: i64,
) -> Result<Vec<jobs::Model>> {
    let account = draft.account;
    let open = jobs::Entity::find()
        .filter(jobs::Column::AccountId.eq(Col(account)))
        .filter(jobs::Column::State.is_in([JobState::Queued, JobState::Placed, JobState::Running].map(Col)))
        .count(mutation.tx())
        .await?;
    if open.saturating_add(inputs.len() as u64) > app.config.jobs_open_max {
        let most = app.config.jobs_open_max;
        return Err(refuse(Code::LimitReached, format!("{open} jobs wait or run; an account may have {most}.")));
    }
    let now = mutation.at();
    let ids: Vec<JobId> = inputs.iter().map(|_| JobId::new()).collect();
    let whole = ids.first().copied().filter(|_| array);
    let mut revision = book::revisions(mutation.tx(), inputs.len()).await?;
    let mut made = Vec::with_capacity(inputs.len());
    for ((id, input), index) in ids.iter().zip(inputs).zip(0..) {
        let mut row = row(draft, *id, input.size, now, patience_ms(app, draft, input.size, recent_ms));
        (row.array_id, row.array_index) = (whole.map(Col), whole.map(|_| index));
        let due = row.due.0;
        let reason = if due > now { format!("waits for {due}") } else { "submitted".to_owned() };
        let first = Step { state: JobState::Queued, node: None, run: None, reason, at: now };
        book::step(mutation.tx(), &mut row, first, revision).await?;
        jobs::Entity::insert(jobs::ActiveModel::from(row.clone())).exec_without_returning(mutation.tx()).await?;
        job_inputs::Entity::insert(job_inputs::ActiveModel {
            job_id: Set(Col(*id)),
            headers: Set(draft.request.headers.clone().into()),
            body: Set(input.body.map(|body| body.to_vec())),
            root: Set(input.root.map(Col)),
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
    let knowledge = app.learning.knowledge();
    if knowledge.model().is_none() {
        return recent_ms;
    }
    let run = RunRequest { input, ..RunRequest::of(&draft.version, draft.account) };
    let patience = Learning::with_memo(|memo| knowledge.patience(memo, &run));
    i64::try_from(patience.as_millis()).unwrap_or(i64::MAX)
}

/// How long the function's runs took lately, on average.
async fn recent_ms(app: &App, account: AccountId, function: FunctionId) -> Result<i64> {
    let sql = "SELECT CAST(COALESCE(SUM(wall_us), 0) AS BIGINT), CAST(COALESCE(SUM(runs), 0) AS BIGINT) \
               FROM usage_minutes WHERE account_id = $1 AND function_id = $2 AND minute > $3";
    let since = Timestamp::now().0 / 60_000 - HISTORY_MINUTES;
    let values = [Col(account).into(), Col(function).into(), since.into()];
    let statement = Statement::from_sql_and_values(app.db.read().get_database_backend(), sql, values);
    let Some(row) = app.db.read().query_one_raw(statement).await? else { return Ok(0) };
    let (wall_us, runs): (i64, i64) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    Ok(if runs > 0 { wall_us / runs / 1000 } else { 0 })
}

/// `GET /jobs/limits`
pub(crate) fn limits(app: &App) -> JobLimits {
    let config = &app.config;
    JobLimits {
        maxima: fields::maxima(config),
        minima: Limits::MIN,
        retries: config.job_retries_max,
        backoff: config.job_backoff_max,
        output: Limits::MAX.body,
        open: config.jobs_open_max,
        array: config.job_array_max,
        days: config.jobs_days,
    }
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
