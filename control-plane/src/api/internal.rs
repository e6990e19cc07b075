//! Handlers for the core alone. The gateway never proxies `/internal`.

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use http::StatusCode;
use protocol::receipt::Observation;
use protocol::route::{Grant, Route, VerifyCredential};
use protocol::{Code, Name};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use super::extract::{Json, Path};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::{accounts, functions};
use crate::error::{Result, refuse};
use crate::functions::artifacts::{self, Uploaded};
use crate::functions::route;
use crate::identity::caller::authenticate;
use crate::settlement;

pub(crate) fn router(app: &App) -> Router<App> {
    Router::new()
        .route("/ready", get(ready))
        .route("/credentials/verify", post(verify))
        .route("/routes/{account}/{function}", get(show_route))
        .route("/artifacts", post(uploaded))
        .route("/observations", post(observations))
        .layer(DefaultBodyLimit::max(app.config.batch_max.as_usize()))
}

/// It answers, and its database does.
async fn ready(State(app): State<App>) -> Result<StatusCode> {
    app.db.read().ping().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn verify(State(app): State<App>, Json(asked): Json<VerifyCredential>) -> Result<Json<Grant>> {
    let caller = authenticate(&app, &asked.sha256, asked.account.as_ref().map(Name::as_str)).await?;
    Ok(Json(Grant {
        account: caller.account()?.id.0,
        principal: caller.principal,
        scopes: caller.scopes,
        function: caller.function,
        expires: caller.expires,
    }))
}

/// From the database: what a gateway asks that has not heard of a function.
async fn show_route(State(app): State<App>, Path((account, function)): Path<(String, String)>) -> Result<Json<Route>> {
    let missing = || refuse(Code::FunctionNotFound, format!("There is no function `{function}` of `{account}`."));
    let account = account.parse::<Name>().map_err(|_| missing())?;
    let name = function.parse::<Name>().map_err(|_| missing())?;
    let account = accounts::Entity::find().filter(accounts::Column::Name.eq(Col(account))).one(app.db.read()).await?;
    let row = functions::Entity::find()
        .filter(functions::Column::AccountId.eq(account.ok_or_else(missing)?.id))
        .filter(functions::Column::Name.eq(Col(name)))
        .filter(functions::Column::Deleted.is_null())
        .one(app.db.read())
        .await?;
    Ok(Json(route::build(app.db.read(), row.ok_or_else(missing)?).await?))
}

async fn uploaded(State(app): State<App>, Json(artifact): Json<Uploaded>) -> Result<StatusCode> {
    artifacts::uploaded(&app, artifact).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn observations(State(app): State<App>, Json(batch): Json<Vec<Observation>>) -> Result<StatusCode> {
    settlement::observed(&app, batch).await?;
    Ok(StatusCode::NO_CONTENT)
}
