//! Handlers: limits and nodes.

use axum::extract::State;
use protocol::Limits;
use protocol::api::{Node, Page, PlatformLimits};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Query};
use crate::App;
use crate::error::Result;
use crate::identity::caller::Caller;
use crate::paging::Paging;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(limits)).routes(routes!(nodes))
}

/// The platform's limits. Needs no log-in.
#[utoipa::path(get, path = "/limits", tag = "platform", responses((status = 200, body = PlatformLimits)))]
async fn limits(State(app): State<App>) -> Json<PlatformLimits> {
    let config = &app.config;
    Json(PlatformLimits {
        defaults: Limits::default(),
        maxima: Limits::MAX,
        minima: Limits::MIN,
        artifact: config.artifact_max,
        headers: config.head_max,
        log: config.log_size_max,
        versions: config.versions_max,
        functions: config.functions_max,
        env_count: config.env_count_max,
        env_bytes: config.env_size_max,
        runs_days: config.runs_days,
    })
}

/// The account's nodes and the operator's.
#[utoipa::path(get, path = "/nodes", tag = "platform", params(Paging), responses((status = 200, body = Page<Node>)))]
async fn nodes(State(app): State<App>, caller: Caller, Query(paging): Query<Paging>) -> Result<Json<Page<Node>>> {
    Ok(Json(app.nodes.list(&app, &caller, &paging).await?))
}
