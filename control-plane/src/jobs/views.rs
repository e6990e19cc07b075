//! Jobs as the API shows them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use protocol::api::{LogPage, Page};
use protocol::job::{Job, JobSort, JobState, JobWhy, Transition, Webhook};
use protocol::placement::Placement;
use protocol::route::Scope;
use protocol::{Code, JobId, Millis, Name, NodeId, PlacementClass, RunId, Timestamp};
use scheduler::RunRequest;
use sea_orm::sea_query::{Expr, Func};
use sea_orm::{
    ColumnTrait as _, DbBackend, EntityTrait as _, ExprTrait as _, PaginatorTrait as _, QueryFilter as _,
    QuerySelect as _,
};
use serde::{Deserialize, Deserializer, de};

use super::rows;
use crate::App;
use crate::db::columns::{Col, unsigned};
use crate::db::entities::{job_steps, jobs, nodes, versions};
use crate::db::{loops, now};
use crate::error::{Error, Result, refuse, refuse_field};
use crate::finite::Turn;
use crate::functions::route::version_route;
use crate::identity::caller::Caller;
use crate::identity::standing::Standing;
use crate::paging::{Paging, page};
use crate::settlement::runs::names;

/// Changes that another process has committed are looked for so often.
pub(crate) const POLL: Duration = Duration::from_millis(300);
/// The longest that `wait` waits.
const WAIT_MAX: Millis = Millis::seconds(60);

/// Which jobs.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobFilter {
    /// Only of this function.
    #[serde(default)]
    function: Option<String>,
    /// Only of versions with this number.
    #[serde(default)]
    version: Option<u32>,
    /// Only in this state, or in one of several, with commas in between.
    #[serde(default, deserialize_with = "states")]
    #[param(value_type = Option<String>)]
    state: Option<Vec<JobState>>,
    /// Only those that ended at this time or later (RFC 3339).
    #[serde(default)]
    ended_from: Option<Timestamp>,
    /// Only those that ended before this time (RFC 3339).
    #[serde(default)]
    ended_to: Option<Timestamp>,
    /// Only with this label: `NAME=VALUE`.
    #[serde(default)]
    label: Option<String>,
    /// Only of this array.
    #[serde(default)]
    array: Option<JobId>,
    /// `-submitted`, which is the newest first and the order where it is left out, or `submitted`; `-ended` or `ended`: only
    /// those that have ended, by when.
    #[serde(default, deserialize_with = "sort")]
    #[param(value_type = Option<String>)]
    sort: JobSort,
}

fn states<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Vec<JobState>>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let states = text.split(',').map(str::parse).collect::<std::result::Result<_, String>>();
    states.map(Some).map_err(de::Error::custom)
}

fn sort<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<JobSort, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

/// How one job is shown.
#[derive(Debug, Clone, Copy, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ShowQuery {
    /// Waits so long for its end, such as `20s`; at most a minute.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    wait: Option<Millis>,
}

/// The job of a row.
pub(super) fn view(row: jobs::Model, function: Name, transitions: Vec<Transition>) -> Job {
    let count = |column: i32| u32::try_from(column).unwrap_or(0);
    let state = row.state.0;
    let waits = state == JobState::Queued && row.due.0 > row.created.0;
    Job {
        id: row.id.0,
        function,
        version: count(row.version_number),
        state,
        reason: row.reason,
        cancelling: row.cancelling,
        method: row.method,
        path: row.path,
        limits: row.limits.0.into(),
        retries: count(row.retries),
        backoff: Millis(unsigned(row.backoff)),
        priority: row.priority,
        not_before: row.not_before.map(|at| at.0),
        labels: row.labels.0,
        array: row.array_id.map(|id| id.0),
        index: row.array_index.map(count),
        webhook: row.webhook.map(|url| Webhook {
            url,
            tries: count(row.webhook_tries),
            delivered: row.webhook_delivered.map(|at| at.0),
            error: row.webhook_error,
        }),
        // The row counts a try at its end.
        attempts: count(row.attempts).saturating_add(u32::from(state == JobState::Running)),
        losses: count(row.losses),
        run: row.run_id.map(|id| id.0),
        node: row.node_id.map(|id| id.0),
        status: row.status.and_then(|status| u16::try_from(status).ok()),
        code: row.code.map(|code| code.0),
        input_size: row.input_size.0,
        output_size: row.output_size.0,
        usage: row.usage.map(|usage| usage.0),
        created: row.created.0,
        due: waits.then_some(row.due.0),
        started: row.started.map(|at| at.0),
        ended: row.ended.map(|at| at.0),
        revision: unsigned(row.revision),
        transitions,
    }
}

fn transition(row: job_steps::Model) -> Transition {
    Transition {
        at: row.at.0,
        state: row.state.0,
        node: row.node_id.map(|id| id.0),
        run: row.run_id.map(|id| id.0),
        reason: row.reason,
    }
}

/// The job with its steps.
pub(super) async fn whole(app: &App, row: jobs::Model) -> Result<Job> {
    let steps = rows::steps(app, row.id.0).await?;
    let name = names(app, [row.function_id.0].into_iter()).await?.remove(&row.function_id.0);
    let name = name.ok_or_else(|| Error::Internal("a job without its function".to_owned()))?;
    Ok(view(row, name, steps.into_iter().map(transition).collect()))
}

/// The row of a job that the caller may see, with one of these scopes.
pub(super) async fn find(app: &App, caller: &Caller, id: JobId, scopes: &[Scope]) -> Result<jobs::Model> {
    let account = caller.account()?.id;
    let granted = scopes.iter().map(|scope| caller.grants(*scope)).find(Result::is_ok);
    if let (None, Some(first)) = (granted, scopes.first()) {
        caller.grants(*first)?;
    }
    let row = jobs::Entity::find_by_id(Col(id)).one(app.db.read()).await?;
    let seen =
        |row: &jobs::Model| row.account_id == account && caller.function.is_none_or(|only| only == row.function_id.0);
    row.filter(seen).ok_or_else(|| refuse(Code::NotFound, "The account has no such job, or it is too old."))
}

/// Who may submit a job may see what came of it.
pub(super) const SEES: [Scope; 2] = [Scope::Read, Scope::Invoke];

/// Where a page of jobs by their ends stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AtEnd {
    ended: Timestamp,
    id: JobId,
}

impl std::fmt::Display for AtEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.ended.0, self.id)
    }
}

impl std::str::FromStr for AtEnd {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let (ended, id) = text.split_once(' ').ok_or(())?;
        Ok(Self { ended: Timestamp(ended.parse().map_err(|_| ())?), id: id.parse().map_err(|_| ())? })
    }
}

/// `GET /jobs`
pub(crate) async fn list(app: &App, caller: &Caller, filter: &JobFilter, paging: &Paging) -> Result<Page<Job>> {
    let (account, function) = match &filter.function {
        Some(name) => {
            let function = caller.function(app, name, Scope::Read).await.map_err(|error| error.at("function"))?;
            (function.account_id.0, Some(function.id))
        }
        None => (caller.require(Scope::Read)?, None),
    };
    let sort = filter.sort;
    let query = if sort.by_end() {
        let after = paging.after::<AtEnd>()?.map(|last| (last.ended, last.id));
        loops::jobs_by_end(account, sort.descending(), after)
    } else {
        loops::jobs_by_submission(account, sort.descending(), paging.after()?)
    };
    let mut query = query.limit(paging.fetch());
    if let Some(function) = function {
        query = query.filter(jobs::Column::FunctionId.eq(function));
    }
    if let Some(states) = &filter.state {
        query = query.filter(jobs::Column::State.is_in(states.iter().map(|state| Col(*state))));
    }
    if let Some(version) = filter.version {
        query = query.filter(jobs::Column::VersionNumber.eq(i32::try_from(version).unwrap_or(i32::MAX)));
    }
    if let Some(from) = filter.ended_from {
        query = query.filter(jobs::Column::Ended.gte(Col(from)));
    }
    if let Some(to) = filter.ended_to {
        query = query.filter(jobs::Column::Ended.lt(Col(to)));
    }
    if let Some(label) = &filter.label {
        let (name, value) = label
            .split_once('=')
            .ok_or_else(|| refuse_field(Code::InvalidRequest, "label", "`label` is NAME=VALUE."))?;
        let json = |text: &str| serde_json::to_string(text).unwrap_or_default();
        let pair = format!("{}:{}", json(name), json(value));
        // `LIKE` would take small letters for capitals on one of the databases.
        let place = if app.db.read().get_database_backend() == DbBackend::Sqlite { "instr" } else { "strpos" };
        let found = Func::cust(place).arg(Expr::col(jobs::Column::Labels)).arg(pair);
        query = query.filter(Expr::from(found).gt(0));
    }
    if let Some(array) = filter.array {
        query = query.filter(jobs::Column::ArrayId.eq(Col(array)));
    }
    let rows = page(query.all(app.db.read()).await?, paging, |row| match row.ended.filter(|_| sort.by_end()) {
        Some(ended) => AtEnd { ended: ended.0, id: row.id.0 }.to_string(),
        None => row.id.to_string(),
    });
    Ok(Page { items: named(app, rows.items).await?, next: rows.next })
}

/// Rows as jobs, without their steps.
pub(super) async fn named(app: &App, rows: Vec<jobs::Model>) -> Result<Vec<Job>> {
    let names = names(app, rows.iter().map(|row| row.function_id.0)).await?;
    let named = rows.into_iter().filter_map(|row| {
        let name = names.get(&row.function_id.0)?.clone();
        Some(view(row, name, Vec::new()))
    });
    Ok(named.collect())
}

/// `GET /jobs/{id}`
pub(crate) async fn show(app: &App, caller: &Caller, id: JobId, query: ShowQuery) -> Result<Job> {
    let row = find(app, caller, id, &SEES).await?;
    let row = match query.wait {
        None => row,
        Some(wait) => {
            let standing = Standing::of(app, caller, &SEES)?;
            let waiting = wait_for_end(app, row, wait.min(WAIT_MAX).duration(), &caller.turn);
            let row = standing.during(waiting).await?;
            standing.check().await?;
            row
        }
    };
    whole(app, row).await
}

/// `GET /internal/jobs/{id}`: the gateway that has made it asks.
pub(crate) async fn deferred(app: &App, id: JobId, query: ShowQuery) -> Result<Job> {
    let row = jobs::Entity::find_by_id(Col(id)).one(app.db.read()).await?;
    let row = row.ok_or_else(|| refuse(Code::NotFound, "There is no such job."))?;
    let wait = query.wait.unwrap_or(Millis(0)).min(WAIT_MAX).duration();
    whole(app, wait_for_end(app, row, wait, &Turn::default()).await?).await
}

async fn wait_for_end(app: &App, mut row: jobs::Model, wait: Duration, turn: &Turn) -> Result<jobs::Model> {
    let account = row.account_id.0;
    let _place = if row.state.ended() || wait.is_zero() { None } else { Some(app.bounds.wait(account, turn)?) };
    let until = Instant::now() + wait;
    let mut changed = app.jobs.changed.subscribe();
    while !row.state.ended() && Instant::now() < until {
        let left = until.saturating_duration_since(Instant::now()).min(POLL);
        drop(tokio::time::timeout(left, changed.changed()).await);
        tokio::time::sleep(app.bounds.wait_pace(account)).await;
        let _turn = app.bounds.look(account).await;
        let found = jobs::Entity::find_by_id(row.id).one(app.db.read()).await?;
        row = found.ok_or_else(|| refuse(Code::NotFound, "The job was deleted."))?;
    }
    Ok(row)
}

/// `GET /jobs/{id}/logs`: what all of its runs wrote.
pub(crate) async fn logs(app: &App, caller: &Caller, id: JobId) -> Result<LogPage> {
    let row = find(app, caller, id, &[Scope::Read]).await?;
    let runs: std::collections::BTreeSet<RunId> =
        rows::steps(app, row.id.0).await?.into_iter().filter_map(|step| Some(step.run_id?.0)).collect();
    crate::logs::of_runs(app, caller, runs).await
}

/// `GET /jobs/{id}/why`
pub(crate) async fn why(app: &App, caller: &Caller, id: JobId) -> Result<JobWhy> {
    let row = find(app, caller, id, &SEES).await?;
    let (mut reason, mut ahead, mut placement) = (row.reason.clone(), None, row.placement.clone().map(|p| p.0));
    if row.state.0 == JobState::Queued {
        let now = now(app.db.read()).await?;
        ahead = Some(
            jobs::Entity::find()
                .filter(jobs::Column::AccountId.eq(row.account_id))
                .filter(jobs::Column::State.eq(Col(JobState::Queued)))
                .filter(jobs::Column::Place.lt(row.place))
                .filter(jobs::Column::Due.lte(Col(now)))
                .count(app.db.read())
                .await?,
        );
        if let Some((trusted, live)) = placement_now(app, &row).await? {
            if row.due.0 > now {
                reason = format!("{reason}; it is not tried before {}", row.due.0);
            } else if live.ranked.is_empty() {
                reason = format!("{reason}; no node can take it now: {}", live.summary_for(trusted));
            }
            placement = Some(live);
        }
    }
    let names = match &placement {
        Some(placement) => node_names(app, caller, placement).await?,
        None => BTreeMap::new(),
    };
    Ok(JobWhy { job: id, state: row.state.0, reason, ahead, placement, names })
}

/// Where it would go, as this process sees the nodes; and whose nodes its version trusts.
async fn placement_now(app: &App, row: &jobs::Model) -> Result<Option<(PlacementClass, Placement)>> {
    let version = versions::Entity::find_by_id(row.version_id).one(app.db.read()).await?;
    let Some(mut version) = version.and_then(version_route) else { return Ok(None) };
    version.limits = row.limits.0;
    app.jobs.know(crate::nodes::records::all(&app.db).await?);
    let wanted = RunRequest { input: row.input_size.0, ..RunRequest::of(&version, row.account_id.0) };
    Ok(Some((version.placement, app.jobs.rank(wanted))))
}

/// Names of nodes that the account may see: its own, and the operator's.
async fn node_names(app: &App, caller: &Caller, placement: &Placement) -> Result<BTreeMap<NodeId, String>> {
    let account = caller.account()?.id;
    let ids = placement.ranked.iter().map(|one| one.node).chain(placement.refused.iter().map(|one| one.node));
    let rows = nodes::Entity::find().filter(nodes::Column::Id.is_in(ids.map(Col))).all(app.db.read()).await?;
    let seen = |row: &nodes::Model| row.account_id == Some(account) || *row.class == PlacementClass::Operator;
    Ok(rows.into_iter().filter(seen).map(|row| (row.id.0, row.name)).collect())
}
