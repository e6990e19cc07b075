//! Versions: immutable deployments. `compiling`, then for ever `ready` or `failed`:
//!
//! ```text
//! compiling --a node prepared it--> ready     (its alias moves, unless a later version has it)
//!     |  \--a node refused it-----> failed
//!     +--no node: tried again in the background
//! ```

use protocol::api::{self, CreateVersion, VersionState};
use protocol::node::Prepared;
use protocol::placement::{LaneReason, NO_OWN_NODE, lane_of};
use protocol::route::{Scope, Share};
use protocol::{AccountId, Code, Kind, Lane, Name, PlacementClass, Problem, Reference, VersionId};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use super::functions::Subject;
use super::route::{self, number};
use super::{aliases, artifacts, capacity, fields};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::{self, functions, versions};
use crate::db::loops;
use crate::db::{Actor, Mutation};
use crate::error::{Error, Result, refuse, refuse_field};
use crate::identity::caller::Caller;
use crate::paging::{Paging, page};

/// Old versions that one deploy deletes at most. (SQLite takes no offset without a limit.)
const DELETED_AT_ONCE: u64 = 100;

/// The field that says what is deployed.
pub(crate) const ARTIFACT: &str = "artifact";

/// Makes the row, `compiling`; and the function's, where there is none and that was asked for.
pub(crate) async fn insert(app: &App, caller: &Caller, function: &str, asked: CreateVersion) -> Result<VersionId> {
    let subject = Subject::find(app, caller, function, asked.create).await?;
    fields::check(&asked, &app.config)?;
    capacity::check(app, subject.account(), &asked).await?;
    let alias = match &asked.alias {
        Some(alias) => aliases::parse_alias(alias.as_str())?,
        None => aliases::live(),
    };
    let mut mutation = app.db.mutation().await?;
    let (function, is_new) = subject.enter(app, &mut mutation).await?;
    let artifact = artifacts::locked(mutation.tx(), function.account_id.0, asked.artifact, ARTIFACT).await?;
    if artifact.size.0 > app.config.artifact_max {
        let detail = format!("It has {} bytes; at most {}.", artifact.size.0.0, app.config.artifact_max);
        return Err(refuse_field(Code::ArtifactTooLarge, ARTIFACT, detail));
    }
    let id = VersionId::new();
    let next = function.latest + 1;
    versions::Entity::insert(versions::ActiveModel {
        id: Set(id.into()),
        account_id: Set(function.account_id),
        function_id: Set(function.id),
        number: Set(next),
        state: Set(VersionState::Compiling.into()),
        problem: Set(None),
        artifact: Set(artifact.digest),
        artifact_size: Set(artifact.size),
        kind: Set(asked.kind.map(Col)),
        format: Set(None),
        lane: Set(asked.lane.into()),
        placement: Set(asked.placement.into()),
        egress: Set(asked.egress.into()),
        limits: Set(asked.limits.into()),
        env: Set(asked.env.into()),
        alias: Set(alias.into()),
        created_by: Set(caller.label.clone()),
        created: Set(mutation.at().into()),
        form: Set(None),
        base: Set(asked.base.map(Col)),
        command: Set((!asked.command.is_empty()).then_some(Col(asked.command))),
        notes: Set(None),
    })
    .exec_without_returning(mutation.tx())
    .await?;
    functions::Entity::update_many()
        .set(functions::ActiveModel { latest: Set(next), ..Default::default() })
        .filter(functions::Column::Id.eq(function.id))
        .exec(mutation.tx())
        .await?;
    delete_oldest(app, &mutation, &function).await?;
    let account = Some(function.account_id.0);
    let committed = if is_new {
        mutation.commit(&caller.actor, account, "function.create", function.id.0).await?
    } else {
        mutation.commit(&caller.actor, account, "version.create", id).await?
    };
    app.announce(committed).await;
    Ok(id)
}

/// Keeps the newest versions and those that an alias has or had.
async fn delete_oldest(app: &App, mutation: &Mutation, function: &functions::Model) -> Result<()> {
    let rows = versions::Entity::find()
        .filter(versions::Column::FunctionId.eq(function.id))
        .filter(versions::Column::State.ne(Col(VersionState::Compiling)))
        .order_by_desc(versions::Column::Number)
        .offset(u64::from(app.config.versions_max))
        .limit(DELETED_AT_ONCE)
        .all(mutation.tx())
        .await?;
    if rows.is_empty() {
        return Ok(());
    }
    let aliases = aliases::of(mutation.tx(), function.id.0).await?;
    let kept: Vec<u32> = aliases
        .iter()
        .flat_map(|a| a.shares.iter().chain(a.previous.iter().flat_map(|p| p.iter())))
        .map(|s| s.version)
        .collect();
    let gone =
        rows.iter().filter(|row| number(row.number).is_none_or(|number| !kept.contains(&number))).map(|row| row.id);
    versions::Entity::delete_many().filter(versions::Column::Id.is_in(gone)).exec(mutation.tx()).await?;
    Ok(())
}

/// The node said that it is fine, or why it never will be.
pub(crate) async fn finish(app: &App, id: VersionId, result: Result<Prepared, Problem>) -> Result<()> {
    let mut mutation = app.db.mutation().await?;
    let row = versions::Entity::find_by_id(Col(id)).one(mutation.tx()).await?;
    let Some(row) = row.filter(|row| *row.state == VersionState::Compiling) else { return Ok(()) };
    let state = if result.is_ok() { VersionState::Ready } else { VersionState::Failed };
    let mut change = versions::ActiveModel { state: Set(state.into()), ..Default::default() };
    match &result {
        Ok(prepared) => {
            change.kind = Set(Some(prepared.kind.into()));
            change.format = Set(Some(prepared.format.clone()));
            change.form = Set(Some(prepared.form.into()));
            change.notes = Set((!prepared.notes.is_empty()).then(|| Col(prepared.notes.clone())));
        }
        Err(problem) => change.problem = Set(Some(problem.clone().into())),
    }
    versions::Entity::update_many().set(change).filter(versions::Column::Id.eq(row.id)).exec(mutation.tx()).await?;
    let function = functions::Entity::find_by_id(row.function_id).one(mutation.tx()).await?;
    let alive = function.filter(|function| function.deleted.is_none());
    if let (Some(function), VersionState::Ready) = (&alive, state) {
        point_forward(&mutation, function, &row).await?;
        route::changed(&mut mutation, function.id.0).await?;
    }
    let action = if result.is_ok() { "version.ready" } else { "version.failed" };
    let committed = mutation.commit(&Actor::platform(), Some(row.account_id.0), action, id).await?;
    app.announce(committed).await;
    Ok(())
}

/// Moves the deployment's alias, unless it already has a later version: of two deploys the later one wins,
/// whichever compiled faster.
async fn point_forward(mutation: &Mutation, function: &functions::Model, row: &versions::Model) -> Result<()> {
    let version = number(row.number).ok_or_else(|| Error::Internal("a version below zero".to_owned()))?;
    let aliases = aliases::of(mutation.tx(), function.id.0).await?;
    let current = aliases.iter().find(|alias| alias.name == row.alias);
    if current.is_some_and(|alias| alias.shares.iter().any(|share| share.version > version)) {
        return Ok(());
    }
    aliases::point(mutation, function, row.alias.0.clone(), vec![Share { version, weight: 100 }]).await?;
    Ok(())
}

/// The lane of its runs, and why that one. None before a node has looked: what was asked for may still turn out to be
/// of another lane.
pub(crate) fn lane(row: &versions::Model) -> Option<(Lane, LaneReason)> {
    let form = row.form.as_ref()?.0;
    Some(lane_of(row.lane.0, row.kind.as_ref().map_or(Kind::Http, |kind| kind.0), &row.limits, form))
}

fn view(row: versions::Model, aliases: &[entities::aliases::Model]) -> api::Version {
    let number = number(row.number).unwrap_or(0);
    let lane = lane(&row);
    let has = |alias: &&entities::aliases::Model| alias.shares.iter().any(|share| share.version == number);
    api::Version {
        id: row.id.0,
        number,
        state: row.state.0,
        problem: row.problem.map(|problem| problem.0),
        artifact: row.artifact.0,
        artifact_size: row.artifact_size.0,
        kind: row.kind.map(|kind| kind.0),
        format: row.format,
        lane: row.lane.0,
        runs_in: lane.map(|(lane, _)| lane),
        lane_reason: lane.map(|(_, reason)| reason),
        notes: row.notes.map(|notes| notes.0).unwrap_or_default(),
        warning: None,
        base: row.base.map(|base| base.0),
        command: row.command.map(|command| command.0).unwrap_or_default(),
        placement: row.placement.0,
        egress: row.egress.0,
        limits: row.limits.0,
        env: row.env.0,
        created_by: row.created_by,
        created: row.created.0,
        aliases: aliases.iter().filter(has).map(|alias| alias.name.0.clone()).collect(),
    }
}

/// One version by its id.
pub(crate) async fn by_id(app: &App, id: VersionId) -> Result<api::Version> {
    let row = versions::Entity::find_by_id(Col(id)).one(app.db.read()).await?;
    let row = row.ok_or_else(|| refuse(Code::VersionNotFound, "The version was deleted."))?;
    let aliases = aliases::of(app.db.read(), row.function_id.0).await?;
    whole(app, row, &aliases).await
}

/// A version, with what keeps its runs from beginning now.
async fn whole(app: &App, row: versions::Model, aliases: &[entities::aliases::Model]) -> Result<api::Version> {
    let warning = warning(app, row.account_id.0, row.placement.0).await?;
    Ok(api::Version { warning, ..view(row, aliases) })
}

/// What keeps runs of versions of this placement from beginning now.
pub(crate) async fn warning(app: &App, account: AccountId, placement: PlacementClass) -> Result<Option<String>> {
    if placement != PlacementClass::Own {
        return Ok(None);
    }
    let told = |mut away: Vec<String>| {
        if away.is_empty() {
            away.push("none is confirmed: crowdcloud nodes confirm NODE".to_owned());
        }
        format!("{NO_OWN_NODE}: calls wait until one is ({})", away.join("; "))
    };
    Ok(app.nodes.own_away(app, account).await?.map(told))
}

/// `GET /functions/{name}/versions`, the newest first.
pub(crate) async fn list(
    app: &App,
    caller: &Caller,
    function: &str,
    paging: &Paging,
) -> Result<api::Page<api::Version>> {
    let function = caller.function(app, function, Scope::Read).await?;
    let mut query = versions::Entity::find()
        .filter(versions::Column::FunctionId.eq(function.id))
        .order_by_desc(versions::Column::Number)
        .limit(paging.fetch());
    if let Some(before) = paging.after::<i32>()? {
        query = query.filter(versions::Column::Number.lt(before));
    }
    let rows = page(query.all(app.db.read()).await?, paging, |row| row.number.to_string());
    let aliases = aliases::of(app.db.read(), function.id.0).await?;
    Ok(api::Page { items: rows.items.into_iter().map(|row| view(row, &aliases)).collect(), next: rows.next })
}

/// `GET /functions/{name}/versions/{reference}`: by number (`3` or `v3`), or by an alias's first share.
pub(crate) async fn show(app: &App, caller: &Caller, function: &str, reference: &str) -> Result<api::Version> {
    let function = caller.function(app, function, Scope::Read).await?;
    let missing = || refuse(Code::VersionNotFound, format!("The function has no version or alias `{reference}`."));
    let parsed: Option<Reference> = match reference.parse::<u32>() {
        Ok(number) => Some(Reference::Version(number)),
        Err(_) => reference.parse().ok(),
    };
    let aliases = aliases::of(app.db.read(), function.id.0).await?;
    let of_alias = |name: Name| aliases.iter().find(|alias| alias.name.0 == name)?.shares.first().map(|s| s.version);
    let number = match parsed {
        Some(Reference::Version(number)) => Some(number),
        Some(Reference::Alias(name)) => of_alias(name),
        None => None,
    };
    let number = number.and_then(|number| i32::try_from(number).ok()).ok_or_else(missing)?;
    let row = versions::Entity::find()
        .filter(versions::Column::FunctionId.eq(function.id))
        .filter(versions::Column::Number.eq(number))
        .one(app.db.read())
        .await?;
    whole(app, row.ok_or_else(missing)?, &aliases).await
}

/// The rows that wait for a node, the oldest first, and whose they are; those behind `after` alone.
pub(crate) async fn compiling<C: ConnectionTrait>(
    connection: &C,
    after: Option<VersionId>,
    most: u64,
) -> Result<Vec<(VersionId, AccountId)>> {
    let mut query = loops::versions_compiling(most);
    if let Some(after) = after {
        query = query.filter(versions::Column::Id.gt(Col(after)));
    }
    let rows = query.all(connection).await?;
    Ok(rows.into_iter().map(|row| (row.id.0, row.account_id.0)).collect())
}
