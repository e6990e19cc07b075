//! Handlers: how machines join, renew and leave. What machines ask needs no log-in: their keys sign it.

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use protocol::api::{AskAsNode, CreateNodeToken, LookAtToken, NodeToken, Page, RegisterNode, SuspendNode};
use protocol::headers::CERTIFICATE;
use protocol::signed::Signed;
use protocol::{NodeId, Timestamp, TokenId};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Path, Query, created_once};
use crate::App;
use crate::error::Result;
use crate::identity::caller::Caller;
use crate::identity::tries::Client;
use crate::nodes::records::{self, Changed};
use crate::nodes::tokens;
use crate::paging::Paging;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(show_platform))
        .routes(routes!(create_node_token, list_node_tokens))
        .routes(routes!(delete_node_token))
        .routes(routes!(look_at_token))
        .routes(routes!(register_node))
        .routes(routes!(renew_node))
        .routes(routes!(leave_as_node))
        .routes(routes!(revoke_node))
        .routes(routes!(suspend_node))
        .routes(routes!(resume_node))
}

/// What the platform says of itself to machines, signed with its root key: a `PlatformStatement`. Needs no log-in.
#[utoipa::path(get, path = "/platform", tag = "platform", responses((status = 200, body = Signed)))]
async fn show_platform(State(app): State<App>, headers: HeaderMap) -> Result<Json<Signed>> {
    // The gateway vouches for this header.
    let certificate = headers.get(CERTIFICATE).and_then(|key| key.to_str().ok()?.parse().ok());
    Ok(Json(app.joining.statement(certificate, Timestamp::now())?))
}

/// Makes a token with which one machine joins the account, once; it is shown only here.
#[utoipa::path(post, path = "/nodes/tokens", tag = "platform", request_body = CreateNodeToken, responses((status = 201, body = NodeToken)))]
async fn create_node_token(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Json(asked): Json<CreateNodeToken>,
) -> Result<Response> {
    let platform = (app.joining.root(), origin(&app, &headers));
    let (made, committed) = tokens::create(&app.db, &caller, platform, &app.config, asked).await?;
    app.announce(committed).await;
    let again = tokens::again(&made);
    Ok(created_once(made, &again))
}

/// The account's tokens: those that wait for a machine, and those that have ended within a week.
#[utoipa::path(get, path = "/nodes/tokens", tag = "platform", params(Paging), responses((status = 200, body = Page<NodeToken>)))]
async fn list_node_tokens(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<NodeToken>>> {
    Ok(Json(tokens::list(&app.db, &caller, &paging).await?))
}

/// Deletes a token: no machine joins with it any more. One that has done so stays.
#[utoipa::path(delete, path = "/nodes/tokens/{id}", tag = "platform", params(("id" = TokenId, Path)), responses((status = 204)))]
async fn delete_node_token(State(app): State<App>, caller: Caller, Path(id): Path<TokenId>) -> Result<StatusCode> {
    app.announce(tokens::delete(&app.db, &caller, id).await?).await;
    Ok(StatusCode::NO_CONTENT)
}

/// What will come of a token, for whoever has it: `TokenTerms`, signed by the registrar. It is not spent.
#[utoipa::path(post, path = "/nodes/tokens/look", tag = "platform", request_body = LookAtToken, responses((status = 200, body = Signed)))]
async fn look_at_token(
    State(app): State<App>,
    headers: HeaderMap,
    Json(asked): Json<LookAtToken>,
) -> Result<Json<Signed>> {
    app.tries.join(Client::of(&headers))?;
    Ok(Json(app.joining.look(&app.db, &asked, Timestamp::now()).await?))
}

/// Where the asker has found the platform: the gateway says so.
fn origin(app: &App, headers: &HeaderMap) -> String {
    let told = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = told("x-forwarded-host").unwrap_or(&app.config.functions_domain);
    let scheme = told("x-forwarded-proto").filter(|scheme| *scheme == "https").unwrap_or("http");
    format!("{scheme}://{host}")
}

/// Spends a token: the machine is a node from now on. The answer is an `Admission`, signed by the registrar; the same token
/// and keys get it again for ten minutes.
#[utoipa::path(post, path = "/nodes/register", tag = "platform", request_body = RegisterNode, responses((status = 200, body = Signed)))]
async fn register_node(
    State(app): State<App>,
    headers: HeaderMap,
    Json(asked): Json<RegisterNode>,
) -> Result<Json<Signed>> {
    app.tries.join(Client::of(&headers))?;
    let (response, committed) = app.joining.register(&app.db, &asked).await?;
    if let Some(committed) = committed {
        app.announce(committed).await;
    }
    Ok(Json(response))
}

/// Gives a node a new JWT for its NATS user: an `Admission`, signed by the registrar.
#[utoipa::path(post, path = "/nodes/renew", tag = "platform", request_body = AskAsNode, responses((status = 200, body = Signed)))]
async fn renew_node(State(app): State<App>, headers: HeaderMap, Json(asked): Json<AskAsNode>) -> Result<Json<Signed>> {
    app.tries.join(Client::of(&headers))?;
    Ok(Json(app.joining.renew(&app.db, &asked, Timestamp::now()).await?))
}

/// A node leaves, for good.
#[utoipa::path(post, path = "/nodes/leave", tag = "platform", request_body = AskAsNode, responses((status = 204)))]
async fn leave_as_node(State(app): State<App>, headers: HeaderMap, Json(asked): Json<AskAsNode>) -> Result<StatusCode> {
    app.tries.join(Client::of(&headers))?;
    changed(&app, app.joining.leave(&app.db, &asked).await?).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Revokes a node of the account: it gets no runs, and nothing that it says is heard.
#[utoipa::path(post, path = "/nodes/{id}/revoke", tag = "platform", params(("id" = NodeId, Path)), responses((status = 204)))]
async fn revoke_node(State(app): State<App>, caller: Caller, Path(id): Path<NodeId>) -> Result<StatusCode> {
    changed(&app, records::revoke(&app.db, &caller, id).await?).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Suspends a node, for the operator: it gets no runs, and nothing that it says is heard, until it is resumed.
#[utoipa::path(post, path = "/nodes/{id}/suspend", tag = "platform", params(("id" = NodeId, Path)), request_body = SuspendNode, responses((status = 204)))]
async fn suspend_node(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<NodeId>,
    Json(asked): Json<SuspendNode>,
) -> Result<StatusCode> {
    changed(&app, records::suspend(&app.db, &caller, id, &asked.reason).await?).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a suspended node in again, for the operator.
#[utoipa::path(post, path = "/nodes/{id}/resume", tag = "platform", params(("id" = NodeId, Path)), responses((status = 204)))]
async fn resume_node(State(app): State<App>, caller: Caller, Path(id): Path<NodeId>) -> Result<StatusCode> {
    changed(&app, records::resume(&app.db, &caller, id).await?).await;
    Ok(StatusCode::NO_CONTENT)
}

/// A node that is shut out is told why while others hear of it by the outbox.
async fn changed(app: &App, changed: Changed) {
    let Changed { node, why, committed } = changed;
    let Some(why) = why else {
        app.let_in(node);
        return app.announce(committed).await;
    };
    tokio::join!(app.cut_off(node, &why), app.announce(committed));
}
