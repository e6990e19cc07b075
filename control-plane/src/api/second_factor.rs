//! Handlers: the user's second factor. All are `PUT`: of what is shown once and of passwords nothing is kept for an
//! `Idempotency-Key`, not even a hash.

use axum::extract::State;
use http::StatusCode;
use protocol::api::{
    ConfirmSecondFactor, ProveSecondFactor, RecoveryCodes, SecondFactor, SecondFactorSecret, SetUpSecondFactor,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Json;
use crate::App;
use crate::error::Result;
use crate::identity::caller::Caller;
use crate::identity::second_factor;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(show_second_factor, set_up_second_factor))
        .routes(routes!(confirm_second_factor))
        .routes(routes!(renew_recovery_codes))
        .routes(routes!(turn_off_second_factor))
}

/// Whether the user's log-ins need a code.
#[utoipa::path(get, path = "/me/second-factor", tag = "users", responses((status = 200, body = SecondFactor)))]
async fn show_second_factor(State(app): State<App>, caller: Caller) -> Result<Json<SecondFactor>> {
    Ok(Json(second_factor::show(&app, &caller).await?))
}

/// Sets a second factor up: what an app that shows codes (TOTP) is told. It counts once it is confirmed.
#[utoipa::path(put, path = "/me/second-factor", tag = "users", request_body = SetUpSecondFactor, responses((status = 200, body = SecondFactorSecret)))]
async fn set_up_second_factor(
    State(app): State<App>,
    caller: Caller,
    Json(asked): Json<SetUpSecondFactor>,
) -> Result<Json<SecondFactorSecret>> {
    Ok(Json(second_factor::set_up(&app, &caller, asked).await?))
}

/// Confirms the second factor with a code: log-ins need one from now on. The recovery codes are shown only here.
#[utoipa::path(put, path = "/me/second-factor/confirmed", tag = "users", request_body = ConfirmSecondFactor, responses((status = 200, body = RecoveryCodes)))]
async fn confirm_second_factor(
    State(app): State<App>,
    caller: Caller,
    Json(asked): Json<ConfirmSecondFactor>,
) -> Result<Json<RecoveryCodes>> {
    Ok(Json(second_factor::confirm(&app, &caller, asked).await?))
}

/// Makes new recovery codes; those of before end. They are shown only here.
#[utoipa::path(put, path = "/me/second-factor/recovery-codes", tag = "users", request_body = ProveSecondFactor, responses((status = 200, body = RecoveryCodes)))]
async fn renew_recovery_codes(
    State(app): State<App>,
    caller: Caller,
    Json(asked): Json<ProveSecondFactor>,
) -> Result<Json<RecoveryCodes>> {
    Ok(Json(second_factor::renew_recovery(&app, &caller, asked).await?))
}

/// Turns the second factor off.
#[utoipa::path(put, path = "/me/second-factor/off", tag = "users", request_body = ProveSecondFactor, responses((status = 204)))]
async fn turn_off_second_factor(
    State(app): State<App>,
    caller: Caller,
    Json(asked): Json<ProveSecondFactor>,
) -> Result<StatusCode> {
    second_factor::turn_off(&app, &caller, asked).await?;
    Ok(StatusCode::NO_CONTENT)
}
