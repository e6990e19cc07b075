//! Runs as the API shows them.

use std::collections::{BTreeSet, HashMap};

use books::Run;
use protocol::api::{Invocation, InvocationPage};
use protocol::route::Scope;
use protocol::{Code, FunctionId, Name, RunId, Timestamp, VersionId};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use super::blocks::{self, Found, Known};
pub(crate) use super::filter::RunFilter;
use super::windows::{Windows, began, first_id_at};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::{functions, versions};
use crate::error::{Error, Result, refuse};
use crate::functions::versions::lane;
use crate::identity::caller::Caller;
use crate::paging::{Paging, cursor};

/// A gateway tells of a run's end within so long, in milliseconds.
const SOON_MS: i64 = 5_000;

/// `GET /invocations`
pub(crate) async fn list(app: &App, caller: &Caller, filter: &RunFilter, paging: &Paging) -> Result<InvocationPage> {
    let (account, function) = match &filter.function {
        Some(name) => {
            let function = caller.function(app, name, Scope::Read).await.map_err(|error| error.at("function"))?;
            (function.account_id.0, Some(function.id.0))
        }
        None => (caller.require(Scope::Read)?, None),
    };
    let wanted = filter.resolve(&app.db, account, function, paging.after()?).await?;
    let page = blocks::list(app, &wanted, paging.limit()).await?;
    let things = Things::of(app, page.runs.iter().map(|known| &known.run)).await?;
    // Why each went where it went is for those who look at one.
    let brief = |known| view(known, &things).map(|run| Invocation { placement: None, ..run });
    Ok(InvocationPage {
        items: page.runs.into_iter().filter_map(brief).collect(),
        next: page.next.map(|next| cursor(&next.to_string())),
        since: Some(page.since.max(caller.account()?.created.0)),
        damaged: page.damaged.into_iter().collect(),
    })
}

/// A run that the caller may see.
pub(crate) async fn find(app: &App, caller: &Caller, run: RunId) -> Result<Known> {
    let account = caller.account()?;
    caller.grants(Scope::Read)?;
    let seen = |known: &Known| caller.function.is_none_or(|only| only == known.run.function);
    let damaged = match blocks::find(app, account.id.0, run).await? {
        Found::Run(known) if seen(&known) => return Ok(*known),
        Found::Run(_) => Vec::new(),
        Found::No(damaged) => damaged,
    };
    let windows = Windows::read(app.db.read(), [account.id.0]).await?;
    let since = windows.since(account.id.0).max(account.created.0);
    let (age, none) = (Timestamp::now().0.saturating_sub(began(run).0), "The account has no such run");
    Err(refuse(
        Code::NotFound,
        match damaged.first() {
            _ if run < RunId::from_uuid(first_id_at(since)) => {
                format!("The account's runs are kept since {since}; this one is older.")
            }
            Some(block) => format!("{none} that can be read. It may be in block {block}, which is damaged."),
            None if age.abs() < SOON_MS => format!("{none} yet. A run shows within a second or so after its end."),
            None => format!("{none}."),
        },
    ))
}

/// `GET /invocations/{run}`
pub(crate) async fn show(app: &App, caller: &Caller, run: RunId) -> Result<Invocation> {
    let known = find(app, caller, run).await?;
    let things = Things::of(app, [&known.run].into_iter()).await?;
    view(known, &things).ok_or_else(|| Error::Internal("a run without its function".to_owned()))
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

/// What runs point at.
struct Things {
    names: HashMap<FunctionId, Name>,
    versions: HashMap<VersionId, versions::Model>,
}

impl Things {
    async fn of<'a>(app: &App, runs: impl Iterator<Item = &'a Run> + Clone) -> Result<Self> {
        let names = names(app, runs.clone().map(|run| run.function));
        let ids: BTreeSet<VersionId> = runs.map(|run| run.version).collect();
        let versions = versions::Entity::find().filter(versions::Column::Id.is_in(ids.into_iter().map(Col)));
        let versions = async { Ok::<_, Error>(versions.all(app.db.read()).await?) };
        let (names, versions) = tokio::try_join!(names, versions)?;
        Ok(Self { names, versions: versions.into_iter().map(|row| (row.id.0, row)).collect() })
    }
}

fn view(known: Known, things: &Things) -> Option<Invocation> {
    let Known { run, settled } = known;
    let version = things.versions.get(&run.version);
    let reason = version.and_then(lane).filter(|(lane, _)| *lane == run.lane).map(|(_, reason)| reason);
    Some(Invocation {
        run: run.run,
        function: things.names.get(&run.function)?.clone(),
        version: run.version_number,
        node: run.node,
        lane: run.lane,
        lane_reason: reason,
        // The ticket's word is what held; without the node's half the version's is the same.
        limits: run.limits.or_else(|| version.map(|version| version.limits.0)),
        outcome: run.outcome,
        status: run.status,
        code: run.code,
        method: run.method,
        path: run.path,
        received: run.received,
        wall_us: run.wall_us,
        usage: run.billed,
        settled,
        flag: run.flag,
        placement: run.placement,
        job: run.job,
        source: run.source,
        principal: run.principal,
    })
}
