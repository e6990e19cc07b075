//! Handlers: functions, versions, aliases.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use protocol::api::{
    Alias, ChangeFunction, CreateFunction, CreateVersion, Function, Page, Rollback, SetAlias, Version, VersionState,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Path, Query, created, tagged};
use crate::App;
use crate::error::Result;
use crate::etag::IfMatch;
use crate::functions::functions::FunctionFilter;
use crate::functions::{aliases, functions, prepare, versions};
use crate::identity::caller::Caller;
use crate::paging::{Paging, whole};

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_function, list_functions))
        .routes(routes!(show_function, change_function, delete_function))
        .routes(routes!(restore_function))
        .routes(routes!(create_version, list_versions))
        .routes(routes!(show_version))
        .routes(routes!(list_aliases))
        .routes(routes!(set_alias, show_alias, delete_alias))
        .routes(routes!(rollback))
}

/// Makes a function, without a version.
#[utoipa::path(post, path = "/functions", tag = "functions", request_body = CreateFunction, responses((status = 201, body = Function)))]
async fn create_function(
    State(app): State<App>,
    caller: Caller,
    Json(asked): Json<CreateFunction>,
) -> Result<(StatusCode, Json<Function>)> {
    Ok(created(functions::create(&app, &caller, asked).await?))
}

/// The account's functions, by name.
#[utoipa::path(get, path = "/functions", tag = "functions", params(FunctionFilter, Paging), responses((status = 200, body = Page<Function>)))]
async fn list_functions(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<FunctionFilter>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Function>>> {
    Ok(Json(functions::list(&app, &caller, filter, &paging).await?))
}

/// A function and its aliases.
#[utoipa::path(get, path = "/functions/{name}", tag = "functions", params(("name" = String, Path)), responses((status = 200, body = Function)))]
async fn show_function(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Response> {
    let (function, etag) = functions::show(&app, &caller, &name).await?;
    Ok(tagged(function, &etag))
}

/// Changes settings of a function.
#[utoipa::path(patch, path = "/functions/{name}", tag = "functions", params(("name" = String, Path), ("If-Match" = Option<String>, Header)), request_body = ChangeFunction, responses((status = 200, body = Function)))]
async fn change_function(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    if_match: IfMatch,
    Json(asked): Json<ChangeFunction>,
) -> Result<Response> {
    let (function, etag) = functions::change(&app, &caller, &name, &if_match, asked).await?;
    Ok(tagged(function, &etag))
}

/// Deletes a function.
#[utoipa::path(delete, path = "/functions/{name}", tag = "functions", params(("name" = String, Path), ("If-Match" = Option<String>, Header)), responses((status = 204)))]
async fn delete_function(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    if_match: IfMatch,
) -> Result<StatusCode> {
    functions::delete(&app, &caller, &name, &if_match).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Brings back the function of this name that was deleted last, with its versions and aliases. Its keys stay revoked.
#[utoipa::path(post, path = "/functions/{name}/restore", tag = "functions", params(("name" = String, Path)), responses((status = 200, body = Function)))]
async fn restore_function(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Response> {
    let (function, etag) = functions::restore(&app, &caller, &name).await?;
    Ok(tagged(function, &etag))
}

/// Deploys: makes a version and waits until a node has prepared it (201), or for a while (202).
#[utoipa::path(post, path = "/functions/{name}/versions", tag = "functions", params(("name" = String, Path)), request_body = CreateVersion, responses((status = 201, body = Version), (status = 202, body = Version, description = "No node has prepared it yet; it is tried again.")))]
async fn create_version(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Json(asked): Json<CreateVersion>,
) -> Result<Response> {
    let account = caller.account()?.id.0;
    let place = app.bounds.deploy(account)?;
    let id = versions::insert(&app, &caller, &name, asked).await?;
    caller.turn.end();
    // The task goes on when the asker leaves or the time is over.
    let task = tokio::spawn(prepare::prepare(app.clone(), id, account, place));
    if let Ok(Err(error)) = tokio::time::timeout(app.config.prepare_wait_max.duration(), task).await {
        tracing::error!(%error, "prepare task panicked");
    }
    let version = versions::by_id(&app, id).await?;
    Ok(match (version.state, version.problem.clone()) {
        (VersionState::Failed, Some(problem)) => return Err(problem.about(id).into()),
        (VersionState::Compiling, _) => (StatusCode::ACCEPTED, Json(version)).into_response(),
        _ => created(version).into_response(),
    })
}

/// A function's versions, the newest first.
#[utoipa::path(get, path = "/functions/{name}/versions", tag = "functions", params(("name" = String, Path), Paging), responses((status = 200, body = Page<Version>)))]
async fn list_versions(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Version>>> {
    Ok(Json(versions::list(&app, &caller, &name, &paging).await?))
}

/// One version: by number (`3`, `v3`) or alias.
#[utoipa::path(get, path = "/functions/{name}/versions/{reference}", tag = "functions", params(("name" = String, Path), ("reference" = String, Path)), responses((status = 200, body = Version)))]
async fn show_version(
    State(app): State<App>,
    caller: Caller,
    Path((name, reference)): Path<(String, String)>,
) -> Result<Json<Version>> {
    Ok(Json(versions::show(&app, &caller, &name, &reference).await?))
}

/// A function's aliases.
#[utoipa::path(get, path = "/functions/{name}/aliases", tag = "functions", params(("name" = String, Path)), responses((status = 200, body = Page<Alias>)))]
async fn list_aliases(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Json<Page<Alias>>> {
    Ok(Json(whole(aliases::list(&app, &caller, &name).await?)))
}

/// One alias.
#[utoipa::path(get, path = "/functions/{name}/aliases/{alias}", tag = "functions", params(("name" = String, Path), ("alias" = String, Path)), responses((status = 200, body = Alias)))]
async fn show_alias(
    State(app): State<App>,
    caller: Caller,
    Path((name, alias)): Path<(String, String)>,
) -> Result<Response> {
    let alias = aliases::show(&app, &caller, &name, &alias).await?;
    let etag = alias.etag.clone();
    Ok(tagged(alias, &etag))
}

/// Makes or moves an alias.
#[utoipa::path(put, path = "/functions/{name}/aliases/{alias}", tag = "functions", params(("name" = String, Path), ("alias" = String, Path), ("If-Match" = Option<String>, Header)), request_body = SetAlias, responses((status = 200, body = Alias)))]
async fn set_alias(
    State(app): State<App>,
    caller: Caller,
    Path((name, alias)): Path<(String, String)>,
    if_match: IfMatch,
    Json(asked): Json<SetAlias>,
) -> Result<Response> {
    let alias = aliases::set(&app, &caller, &name, &alias, &if_match, asked).await?;
    let etag = alias.etag.clone();
    Ok(tagged(alias, &etag))
}

/// Deletes an alias.
#[utoipa::path(delete, path = "/functions/{name}/aliases/{alias}", tag = "functions", params(("name" = String, Path), ("alias" = String, Path), ("If-Match" = Option<String>, Header)), responses((status = 204)))]
async fn delete_alias(
    State(app): State<App>,
    caller: Caller,
    Path((name, alias)): Path<(String, String)>,
    if_match: IfMatch,
) -> Result<StatusCode> {
    aliases::delete(&app, &caller, &name, &alias, &if_match).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Moves `live` back to where it was, or to the named version.
#[utoipa::path(post, path = "/functions/{name}/rollback", tag = "functions", params(("name" = String, Path)), request_body = Rollback, responses((status = 200, body = Alias)))]
async fn rollback(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Json(asked): Json<Rollback>,
) -> Result<Response> {
    let alias = aliases::rollback(&app, &caller, &name, asked).await?;
    let etag = alias.etag.clone();
    Ok(tagged(alias, &etag))
}
