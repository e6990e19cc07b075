//! The route of a function, built from its rows inside the mutation that changes it.

use std::collections::BTreeMap;

use protocol::api::VersionState;
use protocol::route::{Route, VersionRoute};
use protocol::{ArtifactForm, FunctionId, Kind, Name};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _};

use crate::db::Mutation;
use crate::db::columns::{Col, unsigned};
use crate::db::entities::{accounts, functions, versions};
use crate::error::{Error, Result};
use crate::routes_outbox::ROUTE;

/// Notes that the function's route has changed: stamps the function and puts the new route into the outbox.
pub(crate) async fn changed(mutation: &mut Mutation, function: FunctionId) -> Result<()> {
    functions::Entity::update_many()
        .set(functions::ActiveModel {
            revision: Set(mutation.revision()),
            updated: Set(mutation.at().into()),
            ..Default::default()
        })
        .filter(functions::Column::Id.eq(Col(function)))
        .exec(mutation.tx())
        .await?;
    let row = functions::Entity::find_by_id(Col(function)).one(mutation.tx()).await?;
    let row = row.ok_or_else(|| Error::Internal(format!("{function} has no row")))?;
    let route = build(mutation.tx(), row).await?;
    tell(mutation, &route)
}

/// Puts a route into the outbox.
pub(super) fn tell(mutation: &mut Mutation, route: &Route) -> Result<()> {
    let payload = serde_json::to_string(route).map_err(|error| Error::Internal(error.to_string()))?;
    mutation.tell(Some(route.account), ROUTE, Route::key(&route.account_name, &route.function_name), payload);
    Ok(())
}

/// The route as the rows have it.
pub(crate) async fn build<C: ConnectionTrait>(connection: &C, row: functions::Model) -> Result<Route> {
    let account = accounts::Entity::find_by_id(row.account_id).one(connection).await?;
    let account = account.ok_or_else(|| Error::Internal(format!("{} has no account", row.id.0)))?;
    let mut route = Route {
        v: Route::VERSION,
        revision: unsigned(row.revision),
        account: row.account_id.0,
        account_name: account.name.0,
        function: row.id.0,
        function_name: row.name.0.clone(),
        deleted: row.deleted.is_some(),
        renamed: None,
        public: row.public,
        versions: BTreeMap::new(),
        aliases: BTreeMap::new(),
    };
    if route.deleted {
        return Ok(route);
    }
    let ready = versions::Entity::find()
        .filter(versions::Column::FunctionId.eq(row.id))
        .filter(versions::Column::State.eq(Col(VersionState::Ready)))
        .all(connection)
        .await?;
    route.versions = ready.into_iter().filter_map(|row| Some((number(row.number)?, version_route(row)?))).collect();
    let aliases = super::aliases::of(connection, row.id.0).await?;
    route.aliases = aliases.into_iter().map(|alias| (alias.name.0, alias.shares.0)).collect();
    Ok(route)
}

/// The route at the name that a function had before it was renamed: gone, and where to.
pub(crate) async fn at_former_name<C: ConnectionTrait>(
    connection: &C,
    row: functions::Model,
    former: Name,
) -> Result<Route> {
    let now = row.name.0.clone();
    let left = functions::Model { name: former.into(), deleted: Some(row.updated), ..row };
    Ok(Route { renamed: Some(now), ..build(connection, left).await? })
}

/// A version's number as the API has it.
pub(crate) fn number(column: i32) -> Option<u32> {
    u32::try_from(column).ok()
}

/// A version, as whoever places its runs needs it.
pub(crate) fn version_route(row: versions::Model) -> Option<VersionRoute> {
    Some(VersionRoute {
        version: row.id.0,
        number: number(row.number)?,
        artifact: row.artifact.0,
        artifact_size: row.artifact_size.0,
        kind: row.kind.map_or(Kind::Http, |kind| kind.0),
        lane: row.lane.0,
        placement: row.placement.0,
        limits: row.limits.0,
        form: row.form.map_or(ArtifactForm::Wasm, |form| form.0),
    })
}
