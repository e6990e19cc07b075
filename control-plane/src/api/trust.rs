//! Handlers: one node in full, and what its owner and the operator say of it.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use protocol::NodeId;
use protocol::api::{ConfirmNode, NodeDetails, Vouch};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Path, tagged};
use crate::App;
use crate::error::Result;
use crate::identity::caller::Caller;
use crate::nodes::{details, trust};

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show_node)).routes(routes!(confirm_node)).routes(routes!(vouch_for_nodes))
}

/// A node of the account's, or the operator's: its load, its caps, how far it is trusted and what it lacks, its checks.
#[utoipa::path(get, path = "/nodes/{id}", tag = "platform", params(("id" = NodeId, Path)), responses((status = 200, body = NodeDetails)))]
async fn show_node(State(app): State<App>, caller: Caller, Path(id): Path<NodeId>) -> Result<Response> {
    Ok(tagged_by_wish(details::show(&app, &caller, id).await?))
}

/// With the ETag of what its owner wants of it, for whom that is to see.
pub(super) fn tagged_by_wish(details: NodeDetails) -> Response {
    match details.etag.clone() {
        Some(etag) => tagged(details, &etag),
        None => Json(details).into_response(),
    }
}

/// Confirms that a node of the account is the machine that its owner means: versions with `own` placement may go there from
/// then on. Needs a log-in; an API key cannot do it.
#[utoipa::path(post, path = "/nodes/{id}/confirm", tag = "platform", params(("id" = NodeId, Path)), request_body = ConfirmNode, responses((status = 200, body = NodeDetails)))]
async fn confirm_node(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<NodeId>,
    Json(asked): Json<ConfirmNode>,
) -> Result<Json<NodeDetails>> {
    let committed = trust::confirm(&app.db, &caller, id, &asked).await?;
    app.announce(committed).await;
    Ok(Json(details::show(&app, &caller, id).await?))
}

/// The operator vouches for a node, or for all nodes of an account, or does no longer.
#[utoipa::path(post, path = "/nodes/vouch", tag = "platform", request_body = Vouch, responses((status = 204)))]
async fn vouch_for_nodes(State(app): State<App>, caller: Caller, Json(asked): Json<Vouch>) -> Result<StatusCode> {
    let committed = trust::vouch(&app.db, &caller, &asked).await?;
    app.announce(committed).await;
    Ok(StatusCode::NO_CONTENT)
}
