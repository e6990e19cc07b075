//! Runs as the API shows them.

use std::collections::HashMap;

use protocol::api::{self, Invocation};
use protocol::receipt::Outcome;
use protocol::route::Scope;
use protocol::{Code, FunctionId, Name, RunId};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};
use serde::Deserialize;

use crate::App;
use crate::db::columns::{Col, unsigned};
use crate::db::entities::{functions, runs};
use crate::error::{Error, Result, refuse};
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
            let function = caller.function(app, name, Scope::Read).await?;
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
    let names = names(app, rows.items.iter().map(|row| row.function_id.0)).await?;
    Ok(api::Page { items: rows.items.into_iter().filter_map(|row| view(row, &names)).collect(), next: rows.next })
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
    let names = names(app, [row.function_id.0].into_iter()).await?;
    view(row, &names).ok_or_else(|| Error::Internal("a run without its function".to_owned()))
}

/// The names of functions.
pub(crate) async fn names(app: &App, ids: impl Iterator<Item = FunctionId>) -> Result<HashMap<FunctionId, Name>> {
    let ids: std::collections::BTreeSet<FunctionId> = ids.collect();
    let rows = functions::Entity::find()
        .filter(functions::Column::Id.is_in(ids.into_iter().map(Col)))
        .all(app.db.read())
        .await?;
    Ok(rows.into_iter().map(|row| (row.id.0, row.name.0)).collect())
}

fn view(row: runs::Model, names: &HashMap<FunctionId, Name>) -> Option<Invocation> {
    Some(Invocation {
        run: row.run_id.0,
        function: names.get(&row.function_id.0)?.clone(),
        version: u32::try_from(row.version_number).unwrap_or(0),
        node: row.node_id.map(|node| node.0),
        lane: row.lane.0,
        outcome: row.outcome.0,
        status: u16::try_from(row.status).unwrap_or(0),
        code: row.code.map(|code| code.0),
        method: row.method,
        path: row.path,
        received: row.received.0,
        wall_us: unsigned(row.wall_us),
        usage: row.billed.0,
        settled: row.settled,
    })
}
