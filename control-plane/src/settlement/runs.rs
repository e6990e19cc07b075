//! Runs as the API shows them.

use std::collections::{BTreeSet, HashMap};

use protocol::api::{Invocation, InvocationPage};
use protocol::route::Scope;
use protocol::{Code, FunctionId, Name, RunId, Timestamp, VersionId};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _};

pub(crate) use super::filter::RunFilter;
use super::filter::last_of;
use super::retention::{Windows, first_id_at};
use crate::App;
use crate::db::columns::{Col, unsigned};
use crate::db::entities::{accounts, functions, runs, versions};
use crate::error::{Error, Result, refuse};
use crate::functions::versions::lane;
use crate::identity::caller::Caller;
use crate::paging::{Paging, cursor, page};

/// `GET /invocations`
pub(crate) async fn list(app: &App, caller: &Caller, filter: &RunFilter, paging: &Paging) -> Result<InvocationPage> {
    let (account, function) = match &filter.function {
        Some(name) => {
            let function = caller.function(app, name, Scope::Read).await.map_err(|error| error.at("function"))?;
            (function.account_id.0, Some(function.id.0))
        }
        None => (caller.require(Scope::Read)?, None),
    };
    filter.check()?;
    let candidates = filter.candidates(account, function, paging.after()?);
    // However rare what is searched for is, so many are looked at: the next page goes on behind them.
    let mut last: Option<Col<RunId>> = None;
    if filter.searches() {
        let looked_at = last_of(candidates.clone(), app.config.runs_scanned_max);
        last = looked_at.into_tuple().one(app.db.read()).await?;
    }
    let mut query = filter.fitting(candidates).limit(paging.fetch());
    if let Some(last) = last {
        query = query.filter(runs::Column::RunId.gte(last));
    }
    let rows = page(query.all(app.db.read()).await?, paging, |row| row.run_id.to_string());
    let next = rows.next.or_else(|| last.map(|last| cursor(&last.to_string())));
    // Asked after the rows: what is forgotten in between was forgotten before the time that is told.
    let since = since(app, caller.account()?).await?;
    let known = Known::of(app, &rows.items).await?;
    // Why each went where it went is for those who look at one.
    let brief = |row| view(row, &known).map(|run| Invocation { placement: None, ..run });
    Ok(InvocationPage { items: rows.items.into_iter().filter_map(brief).collect(), next, since: Some(since) })
}

/// The time from which the account's runs are complete.
async fn since(app: &App, account: &accounts::Model) -> Result<Timestamp> {
    let windows = Windows::read(app.db.read(), [account.id.0]).await?;
    Ok(windows.since(account.id.0).max(account.created.0))
}

/// The row of a run that the caller may see.
pub(crate) async fn find(app: &App, caller: &Caller, run: RunId) -> Result<runs::Model> {
    let account = caller.account()?;
    caller.grants(Scope::Read)?;
    let row = runs::Entity::find_by_id(Col(run)).one(app.db.read()).await?;
    let seen = |row: &runs::Model| {
        row.account_id == account.id && caller.function.is_none_or(|only| only == row.function_id.0)
    };
    if let Some(row) = row.filter(seen) {
        return Ok(row);
    }
    let since = since(app, account).await?;
    Err(match run < RunId::from_uuid(first_id_at(since)) {
        true => refuse(Code::NotFound, format!("The account's runs are kept since {since}; this one is older.")),
        false => refuse(Code::NotFound, "The account has no such run."),
    })
}

/// `GET /invocations/{run}`
pub(crate) async fn show(app: &App, caller: &Caller, run: RunId) -> Result<Invocation> {
    let row = find(app, caller, run).await?;
    let known = Known::of(app, std::slice::from_ref(&row)).await?;
    view(row, &known).ok_or_else(|| Error::Internal("a run without its function".to_owned()))
}

/// The names of functions.
pub(crate) async fn names(app: &App, ids: impl Iterator<Item = FunctionId>) -> Result<HashMap<FunctionId, Name>> {
    let ids: BTreeSet<FunctionId> = ids.collect();
    let rows = functions::Entity::find()
        .filter(functions::Column::Id.is_in(ids.into_iter().map(Col)))
        .all(app.db.read())
        .await?;
    Ok(rows.into_iter().map(|row| (row.id.0, row.name.0)).collect())
}

/// What a run's row points at.
struct Known {
    names: HashMap<FunctionId, Name>,
    versions: HashMap<VersionId, versions::Model>,
}

impl Known {
    async fn of(app: &App, rows: &[runs::Model]) -> Result<Self> {
        let names = names(app, rows.iter().map(|row| row.function_id.0)).await?;
        let ids: BTreeSet<VersionId> = rows.iter().map(|row| row.version_id.0).collect();
        let versions = versions::Entity::find()
            .filter(versions::Column::Id.is_in(ids.into_iter().map(Col)))
            .all(app.db.read())
            .await?;
        Ok(Self { names, versions: versions.into_iter().map(|row| (row.id.0, row)).collect() })
    }
}

fn view(row: runs::Model, known: &Known) -> Option<Invocation> {
    let version = known.versions.get(&row.version_id.0);
    let reason = version.and_then(lane).filter(|(lane, _)| *lane == row.lane.0).map(|(_, reason)| reason);
    // The ticket's word is what held; without the node's half the version's is the same.
    let limits = row.limits.map(|limits| limits.0).or_else(|| version.map(|version| version.limits.0));
    Some(Invocation {
        run: row.run_id.0,
        function: known.names.get(&row.function_id.0)?.clone(),
        version: u32::try_from(row.version_number).unwrap_or(0),
        node: row.node_id.map(|node| node.0),
        lane: row.lane.0,
        lane_reason: reason,
        limits,
        outcome: row.outcome.0,
        status: u16::try_from(row.status).unwrap_or(0),
        code: row.code.map(|code| code.0),
        method: row.method,
        path: row.path,
        received: row.received.0,
        wall_us: unsigned(row.wall_us),
        usage: row.billed.0,
        settled: row.settled,
        placement: row.placement.map(|placement| placement.0),
        job: row.job_id.map(|job| job.0),
        source: row.source.map(|source| source.0),
        principal: row.principal.map(|principal| principal.0),
    })
}
