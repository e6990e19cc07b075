//! Handlers: limits, nodes and the audit.

use axum::extract::State;
use axum::response::Response;
use protocol::api::{AuditEntry, Node, NodeDetails, Page, PlatformLimits};
use protocol::node::NodeWish;
use protocol::{Limits, NodeId};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Path, Query};
use super::trust::tagged_by_wish;
use crate::App;
use crate::audit::{self, AuditQuery};
use crate::error::Result;
use crate::etag::IfMatch;
use crate::identity::caller::Caller;
use crate::nodes::registry::NodesQuery;
use crate::nodes::wishes;
use crate::paging::Paging;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(limits))
        .routes(routes!(nodes))
        .routes(routes!(wish_of_node))
        .routes(routes!(list_audit))
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
        deleted_days: config.deleted_days,
    })
}

/// The account's nodes and the operator's.
#[utoipa::path(get, path = "/nodes", tag = "platform", params(NodesQuery, Paging), responses((status = 200, body = Page<Node>)))]
async fn nodes(
    State(app): State<App>,
    caller: Caller,
    Query(wanted): Query<NodesQuery>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Node>>> {
    Ok(Json(app.nodes.list(&app, &caller, &wanted, &paging).await?))
}

/// What the owner wants of a node, instead of what they wanted before. It only lowers what was agreed on the machine, and a
/// node that is connected keeps to it when this is answered; another does when it is back.
#[utoipa::path(put, path = "/nodes/{id}/wish", tag = "platform", params(("id" = NodeId, Path), ("If-Match" = Option<String>, Header)), request_body = NodeWish, responses((status = 200, body = NodeDetails)))]
async fn wish_of_node(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<NodeId>,
    if_match: IfMatch,
    Json(wish): Json<NodeWish>,
) -> Result<Response> {
    Ok(tagged_by_wish(wishes::put(&app, &caller, id, &if_match, wish).await?))
}

/// Who changed what in the account, the newest first: for admins. A page that searches may be short, or empty, with `next`
/// set: so far was looked.
#[utoipa::path(get, path = "/audit", tag = "accounts", params(AuditQuery, Paging), responses((status = 200, body = Page<AuditEntry>)))]
async fn list_audit(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<AuditQuery>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<AuditEntry>>> {
    Ok(Json(audit::list(&app.db, &caller, &query, &paging).await?))
}
