//! Handlers: links for a new password.

use axum::extract::State;
use http::{HeaderMap, StatusCode};
use protocol::api::{AskPasswordReset, UsePasswordReset};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Json;
use crate::App;
use crate::error::Result;
use crate::identity::resets;
use crate::identity::tries::Client;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(ask_password_reset)).routes(routes!(use_password_reset))
}

/// Sends the user with this address a link for a new password. The answer is the same where there is none.
#[utoipa::path(post, path = "/password-resets", tag = "users", request_body = AskPasswordReset, responses((status = 202)))]
async fn ask_password_reset(
    State(app): State<App>,
    headers: HeaderMap,
    Json(asked): Json<AskPasswordReset>,
) -> Result<StatusCode> {
    app.resets.ask(&app.tries, Client::of(&headers), &asked.email)?;
    Ok(StatusCode::ACCEPTED)
}

/// Sets a new password with a link, once. All log-ins of the user end.
#[utoipa::path(post, path = "/password-resets/use", tag = "users", request_body = UsePasswordReset, responses((status = 204)))]
async fn use_password_reset(State(app): State<App>, Json(asked): Json<UsePasswordReset>) -> Result<StatusCode> {
    let committed = resets::use_link(&app.db, &app.passwords, &asked).await?;
    app.announce(committed).await;
    Ok(StatusCode::NO_CONTENT)
}
