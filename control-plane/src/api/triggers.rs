//! Handlers: triggers.

use axum::extract::State;
use http::StatusCode;
use protocol::api::Page;
use protocol::trigger::{SetTrigger, Trigger};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Path, Query};
use crate::App;
use crate::error::Result;
use crate::identity::caller::Caller;
use crate::paging::Paging;
use crate::triggers;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_triggers)).routes(routes!(set_trigger, show_trigger, delete_trigger))
}

/// The account's triggers.
#[utoipa::path(get, path = "/triggers", tag = "jobs", params(Paging), responses((status = 200, body = Page<Trigger>)))]
async fn list_triggers(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Trigger>>> {
    Ok(Json(triggers::list(&app, &caller, &paging).await?))
}

/// Makes or changes a trigger: a job at the times of a cron pattern.
#[utoipa::path(put, path = "/triggers/{name}", tag = "jobs", params(("name" = String, Path)), request_body = SetTrigger, responses((status = 200, body = Trigger)))]
async fn set_trigger(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Json(asked): Json<SetTrigger>,
) -> Result<Json<Trigger>> {
    Ok(Json(Box::pin(triggers::set(&app, &caller, &name, asked)).await?))
}

/// One trigger.
#[utoipa::path(get, path = "/triggers/{name}", tag = "jobs", params(("name" = String, Path)), responses((status = 200, body = Trigger)))]
async fn show_trigger(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Json<Trigger>> {
    Ok(Json(triggers::show(&app, &caller, &name).await?))
}

/// Deletes a trigger; its jobs stay.
#[utoipa::path(delete, path = "/triggers/{name}", tag = "jobs", params(("name" = String, Path)), responses((status = 204)))]
async fn delete_trigger(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<StatusCode> {
    triggers::delete(&app, &caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
