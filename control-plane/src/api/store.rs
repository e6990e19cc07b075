//! Handlers: the store, as its operator looks after it.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header;
use protocol::api::{StoreCheckLine, StoreCopies, StoreStatus};
use protocol::route::Scope;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Path};
use crate::App;
use crate::error::Result;
use crate::identity::caller::Caller;
use crate::identity::standing::Standing;
use crate::objects::{self, Care, claim, drains, extent, status};

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(show_store))
        .routes(routes!(check_store))
        .routes(routes!(drain_disk, keep_disk))
        .routes(routes!(replace_disk))
        .routes(routes!(forget_disk))
        .routes(routes!(set_copies))
}

/// The store's disks, how many copies there are, and what is done to keep them: for the operator.
#[utoipa::path(get, path = "/operator/store", tag = "platform", responses((status = 200, body = StoreStatus)))]
async fn show_store(State(app): State<App>, caller: Caller) -> Result<Json<StoreStatus>> {
    Ok(Json(status::show(&Care::new(&app), &caller).await?))
}

/// Reads every byte of every copy, mends what can be mended, and tells what was wrong, as NDJSON: at least a line a second,
/// and one for each blob with which something is wrong. The last line is `done`.
#[utoipa::path(post, path = "/operator/store/check", tag = "platform", responses((status = 200, body = StoreCheckLine, content_type = "application/x-ndjson")))]
async fn check_store(State(app): State<App>, caller: Caller) -> Result<Response> {
    drains::require_operator(&caller)?;
    let standing = Standing::of(&app, &caller, &[Scope::Read])?;
    let lines = Body::from_stream(standing.over(objects::check(&Care::new(&app)).await?));
    let kind = (header::CONTENT_TYPE, "application/x-ndjson");
    Ok(([kind], lines).into_response())
}

/// Puts nothing new on a disk, and moves off what it has; its state says when it may be taken out.
#[utoipa::path(post, path = "/operator/store/disks/{name}/drain", tag = "platform", params(("name" = String, Path)), responses((status = 200, body = StoreStatus)))]
async fn drain_disk(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Json<StoreStatus>> {
    let committed = drains::drain(&Care::new(&app), &caller, &name).await?;
    app.announce(committed).await;
    Ok(Json(status::show(&Care::new(&app), &caller).await?))
}

/// Keeps a disk that was to be taken out.
#[utoipa::path(delete, path = "/operator/store/disks/{name}/drain", tag = "platform", params(("name" = String, Path)), responses((status = 200, body = StoreStatus)))]
async fn keep_disk(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Json<StoreStatus>> {
    let committed = drains::undo(&Care::new(&app), &caller, &name).await?;
    app.announce(committed).await;
    Ok(Json(status::show(&Care::new(&app), &caller).await?))
}

/// An empty disk takes the place of one that was lost: it is the store's from now on, and gets its part of the copies.
#[utoipa::path(post, path = "/operator/store/disks/{name}/replace", tag = "platform", params(("name" = String, Path)), responses((status = 200, body = StoreStatus)))]
async fn replace_disk(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Json<StoreStatus>> {
    let committed = claim::replace(&Care::new(&app), &caller, &name).await?;
    app.announce(committed).await;
    Ok(Json(status::show(&Care::new(&app), &caller).await?))
}

/// Forgets a disk that is not there, and will not come back: what it alone had is lost.
#[utoipa::path(delete, path = "/operator/store/disks/{name}", tag = "platform", params(("name" = String, Path)), responses((status = 200, body = StoreStatus)))]
async fn forget_disk(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Json<StoreStatus>> {
    let committed = extent::forget(&Care::new(&app), &caller, &name).await?;
    app.announce(committed).await;
    Ok(Json(status::show(&Care::new(&app), &caller).await?))
}

/// How many copies are kept from now on: more are made by and by, and what is too many goes.
#[utoipa::path(put, path = "/operator/store/copies", tag = "platform", request_body = StoreCopies, responses((status = 200, body = StoreStatus)))]
async fn set_copies(
    State(app): State<App>,
    caller: Caller,
    Json(asked): Json<StoreCopies>,
) -> Result<Json<StoreStatus>> {
    let committed = extent::set_copies(&Care::new(&app), &caller, asked.copies).await?;
    app.announce(committed).await;
    Ok(Json(status::show(&Care::new(&app), &caller).await?))
}
