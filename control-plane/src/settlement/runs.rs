//! Runs as the API shows them.

use std::collections::{BTreeSet, HashMap};

use protocol::api::{self, Invocation};
use protocol::receipt::Outcome;
use protocol::route::Scope;
use protocol::{Code, FunctionId, Name, RunId, VersionId};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};
use serde::Deserialize;

use crate::App;
use crate::db::columns::{Col, unsigned};
use crate::db::entities::{functions, runs, versions};
use crate::error::{Error, Result, refuse};
use crate::functions::versions::lane;
use crate::identity::caller::Caller;
use crate::paging::{Paging, page};

/// Which runs.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunFilter {
    /// Only of this function.
    #[serde(default)]
    function: Option<String>,
    /// Only those that ended so.
    #[serde(default)]
    outcome: Option<Outcome>,
}

/// `GET /invocations`
pub(crate) async fn list(
    app: &App,
    caller: &Caller,
    filter: &RunFilter,
    paging: &Paging,
) -> Result<api::Page<Invocation>> {
    let mut query = runs::Entity::find().order_by_desc(runs::Column::RunId).limit(paging.fetch());
    query = match &filter.function {
        Some(name) => {
            let function = caller.function(app, name, Scope::Read).await.map_err(|error| error.at("function"))?;
            query
                .filter(runs::Column::AccountId.eq(function.account_id))
                .filter(runs::Column::FunctionId.eq(function.id))
        }
        None => query.filter(runs::Column::AccountId.eq(Col(caller.require(Scope::Read)?))),
    };
    if let Some(outcome) = filter.outcome {
        query = query.filter(runs::Column::Outcome.eq(Col(outcome)));
    }
    if let Some(before) = paging.after::<RunId>()? {
        query = query.filter(runs::Column::RunId.lt(Col(before)));
    }
    let rows = page(query.all(app.db.read()).await?, paging, |row| row.run_id.to_string());
    let known = Known::of(app, &rows.items).await?;
    // Why each went where it went is for those who look at one.
    let brief = |row| view(row, &known).map(|run| Invocation { placement: None, ..run });
    Ok(api::Page { items: rows.items.into_iter().filter_map(brief).collect(), next: rows.next })
}

/// The row of a run that the caller may see.
pub(crate) async fn find(app: &App, caller: &Caller, run: RunId) -> Result<runs::Model> {
    let account = caller.account()?.id;
    caller.grants(Scope::Read)?;
    let row = runs::Entity::find_by_id(Col(run)).one(app.db.read()).await?;
    let seen =
        |row: &runs::Model| row.account_id == account && caller.function.is_none_or(|only| only == row.function_id.0);
    row.filter(seen).ok_or_else(|| refuse(Code::NotFound, "The account has no such run, or it is too old."))
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
    })
}
