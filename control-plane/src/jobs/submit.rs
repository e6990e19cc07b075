//! Submitting: everything that can be refused is refused at once; what is accepted is a committed row.

mod insert;

use bytes::Bytes;
use protocol::Problem;
use protocol::headers::WrittenBy;
use protocol::job::{DeferredCall, Job, JobArray, JobInput, JobLimits, SubmitArray, SubmitJob};
use protocol::placement::lane_of;
use protocol::route::{Route, Scope, VersionRoute};
use protocol::words::count;
use protocol::{
    AccountId, ByteSize, Code, Field, FunctionId, JobId, Kind, Limits, Name, RunPrincipal, RunSource, Timestamp,
};
use sea_orm::EntityTrait as _;

use super::bodies::{Put, Stored};
use super::fields::{self, Request, Terms};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::functions;
use crate::db::{Actor, Mutation};
use crate::error::{Error, Result, invalid, refuse, refuse_field};
use crate::functions::functions::alive;
use crate::functions::{artifacts, rename, route, upload_quota, versions};
use crate::identity::caller::Caller;
use crate::nodes::Wanted;

use insert::{insert, insert_rows, recent_ms};

const FUNCTION: &str = "function";
const INPUT: &str = "input";

/// A body: in the row, or in the store.
#[derive(Debug, Clone, Default)]
struct Input {
    body: Option<Bytes>,
    stored: Option<Stored>,
    size: ByteSize,
}

impl Input {
    fn of(body: Option<Bytes>) -> Self {
        let size = ByteSize(body.as_ref().map_or(0, |body| body.len() as u64));
        Self { body, stored: None, size }
    }
}

/// A job that may be, or the like of many.
struct Draft {
    account: AccountId,
    function: FunctionId,
    name: Name,
    version: VersionRoute,
    /// What keeps its runs from beginning now.
    warning: Option<String>,
    terms: Terms,
    request: Request,
    not_before: Option<Timestamp>,
    labels: std::collections::BTreeMap<String, String>,
    webhook: Option<String>,
    actor: Actor,
    created_by: String,
    source: RunSource,
    /// On whose behalf, where that is known.
    principal: Option<RunPrincipal>,
}

/// Who submits a job, as the audit, people and sums of usage name them.
struct Submitter {
    actor: Actor,
    created_by: String,
    source: RunSource,
    principal: Option<RunPrincipal>,
}

/// `POST /jobs`
pub(crate) async fn submit(app: &App, caller: &Caller, asked: SubmitJob) -> Result<Job> {
    let draft = draft(app, caller, &asked).await?;
    let input = input(app, &draft, asked.input.as_ref(), &Field::from(INPUT)).await?;
    let input = kept(app, input, Some(draft.account)).await.map_err(|error| error.at(INPUT))?;
    let jobs = insert(app, draft, vec![input], false).await?;
    jobs.into_iter().next().ok_or_else(|| Error::Internal("no job was made".to_owned()))
}

/// `POST /jobs/arrays`: all of them, or none.
pub(crate) async fn submit_array(app: &App, caller: &Caller, asked: SubmitArray) -> Result<JobArray> {
    let SubmitArray { job, inputs: asked } = asked;
    let most = app.config.job_array_max;
    if asked.is_empty() || asked.len() > most as usize || job.input.is_some() {
        let inputs = count(asked.len(), "input");
        let why = format!("inputs: {inputs}; allowed: 1 to {most} inputs, and none in `job` itself");
        return Err(invalid(if job.input.is_some() { "job.input" } else { "inputs" }, why));
    }
    // What the first input is, all are.
    let job = SubmitJob { input: asked.first().cloned(), ..job };
    let of_job = |error: Error| error.under(&Field::from("job"));
    let draft = draft(app, caller, &job).await.map_err(of_job)?;
    let mut inputs = Vec::with_capacity(asked.len());
    for (index, one) in asked.iter().enumerate() {
        let field = Field::from("inputs").index(index);
        let input = input(app, &draft, Some(one), &field).await?;
        inputs.push(kept(app, input, Some(draft.account)).await.map_err(|error| error.at(field))?);
    }
    let _turn = app.bounds.array(draft.account).await?;
    let jobs: Vec<JobId> =
        insert(app, draft, inputs, true).await.map_err(of_job)?.into_iter().map(|job| job.id).collect();
    let id = jobs.first().copied().ok_or_else(|| Error::Internal("no job was made".to_owned()))?;
    Ok(JobArray { id, jobs })
}

/// Everything but the input.
async fn draft(app: &App, caller: &Caller, asked: &SubmitJob) -> Result<Draft> {
    let (name, _) = fields::target(asked)?;
    let function = caller.function(app, name, Scope::Invoke).await.map_err(|error| error.at(FUNCTION))?;
    let by = Submitter {
        actor: caller.actor.clone(),
        created_by: caller.label.clone(),
        source: RunSource::Job,
        principal: Some(RunPrincipal::from(&caller.principal)),
    };
    draft_of(app, function, asked, by).await
}

async fn draft_of(app: &App, function: functions::Model, asked: &SubmitJob, by: Submitter) -> Result<Draft> {
    let Submitter { actor, created_by, source, principal } = by;
    let (_, reference) = fields::target(asked)?;
    let (account, id, name) = (function.account_id.0, function.id.0, function.name.0.clone());
    let route = route::build(app.db.read(), function).await?;
    let version = route.resolve(reference.as_ref(), rand::random_range(0..100));
    let named = if asked.reference.is_some() { "reference" } else { FUNCTION };
    let version = version.ok_or_else(|| no_version(&name, reference.as_ref()).at(named))?.clone();
    let warning = versions::warning(app, account, version.placement).await?;
    let terms = fields::terms(asked, version.limits, &app.config)?;
    let request = fields::request(asked, WrittenBy::Caller, app.config.head_max)?;
    fields::labels(&asked.labels)?;
    upload_quota::has_room(app, account).await?;
    Ok(Draft {
        account,
        function: id,
        name,
        warning,
        terms,
        request,
        not_before: fields::not_before(asked.not_before, Timestamp::now())?,
        webhook: fields::webhook(asked.webhook.as_deref(), app.config.webhook_private)?,
        labels: asked.labels.clone(),
        version,
        actor,
        created_by,
        source,
        principal,
    })
}

/// A job that can be inserted, by a trigger.
pub(crate) struct Prepared {
    draft: Draft,
    input: Input,
    recent_ms: i64,
    /// Bytes that the store has of it, which nobody has uploaded.
    pub(crate) stored: ByteSize,
}

/// The trigger that submits a job: its name, and whether the clock or a queue fires it. `None`: the job is only checked.
pub(crate) type OfTrigger<'a> = Option<(&'a Name, RunSource)>;

/// What a trigger of this account asks for, as far as it can be done before its transaction. It is to be held until that is
/// committed.
pub(crate) async fn prepare(app: &App, account: AccountId, asked: &SubmitJob, by: OfTrigger<'_>) -> Result<Prepared> {
    let (draft, input) = looked_at(app, account, asked, by).await?;
    // Counted by whoever makes many jobs of inputs that differ. A time's trigger has one, which goes with its jobs.
    let input = kept(app, input, None).await?;
    let recent_ms = recent_ms(app, account, draft.function).await?;
    let stored = if matches!(input.stored, Some(Stored::Put(_))) { input.size } else { ByteSize(0) };
    Ok(Prepared { draft, input, recent_ms, stored })
}

/// Refuses what `POST /jobs` would refuse, and stores nothing.
async fn looked_at(app: &App, account: AccountId, asked: &SubmitJob, by: OfTrigger<'_>) -> Result<(Draft, Input)> {
    let (name, _) = fields::target(asked)?;
    let row = match name.parse::<Name>() {
        Ok(name) => alive(account, &name).one(app.db.read()).await?,
        Err(_) => None,
    };
    let Some(row) = row else { return Err(rename::missing(&app.db, account, name, None).await.at(FUNCTION)) };
    let by = Submitter {
        actor: Actor::platform(),
        created_by: by.map(|(trigger, _)| format!("the trigger {trigger}")).unwrap_or_default(),
        source: by.map_or(RunSource::Job, |(_, source)| source),
        principal: by.map(|(trigger, _)| RunPrincipal::Trigger(trigger.clone())),
    };
    let draft = draft_of(app, row, asked, by).await?;
    let input = input(app, &draft, asked.input.as_ref(), &Field::from(INPUT)).await?;
    room(app, &draft).await?;
    Ok((draft, input))
}

/// Refuses what `POST /jobs` would refuse.
pub(crate) async fn check(app: &App, account: AccountId, asked: &SubmitJob) -> Result<()> {
    looked_at(app, account, asked, None).await.map(drop)
}

/// Inserts so many of them.
pub(crate) async fn insert_in(app: &App, mutation: &Mutation, job: &Prepared, copies: usize) -> Result<Vec<JobId>> {
    let Prepared { draft, input, recent_ms, .. } = job;
    let rows = insert_rows(app, mutation, draft, &vec![input.clone(); copies], false, *recent_ms).await?;
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
    let request = fields::request(&asked, WrittenBy::Gateway, app.config.head_max)?;
    let terms = fields::terms(&asked, version.limits, &app.config)?;
    let input = match (call.blob, fields::inline(asked.input.as_ref(), &Field::from(INPUT), &app.config)?) {
        (Some(blob), _) => {
            let size = blob.size;
            Input { body: None, stored: Some(Stored::Put(Put::of_gateway(blob))), size }
        }
        // A gateway of the release before has put it where this one does not look.
        (None, None) if call.size.0 > 0 => {
            return Err(refuse(Code::StorageUnavailable, "The body did not come along; send it again."));
        }
        (None, body) => Input::of(body),
    };
    fits(&input, terms.limits, &Field::body())?;
    upload_quota::has_room(app, call.account).await?;
    let input = kept(app, input, Some(call.account)).await.map_err(|error| error.at(Field::body()))?;
    let draft = Draft {
        account: call.account,
        function: call.function,
        name,
        warning: versions::warning(app, call.account, version.placement).await?,
        version,
        terms,
        request,
        not_before: None,
        labels: std::collections::BTreeMap::new(),
        webhook: None,
        actor: Actor(call.caller.clone()),
        source: RunSource::Job,
        principal: call.caller.parse().ok(),
        created_by: call.caller,
    };
    let jobs = insert(app, draft, vec![input], false).await?;
    jobs.into_iter().next().ok_or_else(|| Error::Internal("no job was made".to_owned()))
}

/// The input that stands in this field; nothing of it is stored yet.
async fn input(app: &App, draft: &Draft, asked: Option<&JobInput>, field: &Field) -> Result<Input> {
    let limits = draft.terms.limits;
    let input = match asked {
        Some(JobInput::Upload(digest)) => {
            let row = artifacts::find(app.db.read(), draft.account, *digest, field.key("upload")).await?;
            Input { body: None, stored: Some(Stored::Upload(*digest)), size: row.size.0 }
        }
        asked => Input::of(fields::inline(asked, field, &app.config)?),
    };
    fits(&input, limits, field)?;
    Ok(input)
}

fn fits(input: &Input, limits: Limits, field: &Field) -> Result<()> {
    match input.size > limits.body {
        true => {
            let detail = format!("The function accepts up to {}.", limits.body);
            Err(refuse_field(Code::BodyTooLarge, field.clone(), detail))
        }
        false => Ok(()),
    }
}

/// The same, with what is too long for a row in the store. That counts as an upload of the `uploader`.
async fn kept(app: &App, input: Input, uploader: Option<AccountId>) -> Result<Input> {
    let size = input.size;
    let body = match input.body {
        Some(body) if size > app.config.job_inline_max => body,
        body => return Ok(Input { body, ..input }),
    };
    if let Some(account) = uploader {
        upload_quota::charge(app, account, size).await?;
    }
    let writing = app.epochs.writing().await?;
    let blob = app.store.put_bytes(writing.epoch(), body).await.map_err(|error| {
        tracing::error!(%error, "a job's input cannot be stored");
        refuse(error.code(), "The store cannot take the input.")
    })?;
    Ok(Input { body: None, stored: Some(Stored::Put(Put::ours(blob, writing))), size })
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
    // A job's limits stand in the body itself, and no lane.
    Ok(crate::functions::capacity::find(app, &wanted).await?.map_err(|problem| {
        let field = problem.field.as_ref().map(|field| field.below("limits"));
        Problem { field: field.filter(|field| field.as_str() != "lane"), ..problem }
    })?)
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
