//! Handlers for the core alone. The gateway never proxies `/internal`.

use axum::Router;
use axum::extract::{FromRequest as _, FromRequestParts as _, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::StatusCode;
use protocol::batch::BatchHead;
use protocol::epoch::{AskEpoch, EpochLease};
use protocol::job::{DeferredCall, Job};
use protocol::node::NodeRecord;
use protocol::receipt::Observation;
use protocol::route::{Grant, Route, VerifyCredential};
use protocol::ticket::{DayRoot, IssuerKeys, TwoDays};
use protocol::{Code, Field, JobId, Name, NodeId, Timestamp};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use super::extract::{BodyMax, Json, Path, Query};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::{accounts, functions};
use crate::error::{Result, refuse, refuse_field};
use crate::finite::Tenant;
use crate::functions::artifacts::{self, Uploaded};
use crate::functions::upload_quota::Granted;
use crate::functions::{route, upload_quota};
use crate::identity::caller::authenticate;
use crate::jobs::{self, ShowQuery};
use crate::{nodes, objects, settlement};

pub(crate) fn router(app: &App) -> Router<App> {
    Router::new()
        .route("/ready", get(ready))
        .route("/ticket-keys", get(days).post(begin_epoch))
        .route("/credentials/verify", post(verify))
        .route("/routes/{account}/{function}", get(show_route))
        .route("/nodes/{id}", get(show_node))
        .route("/artifacts", post(uploaded))
        .route("/store/epochs", post(lease_epoch))
        .route("/uploads", post(begin_upload))
        .route("/uploads/settle", post(settle_upload))
        .merge(seen())
        .route("/jobs/{id}", get(deferred))
        .route("/jobs/{id}/output", get(deferred_output))
        .merge(deferring(app))
        .layer(BodyMax::layer(app.config.batch_max))
}

/// What the leader of settlement mounts apart.
pub(crate) fn settlement(app: &App) -> Router<App> {
    seen().layer(BodyMax::layer(app.config.batch_max))
}

/// Gateways of the release before ask whichever control plane there is: who does not lead refuses, and they ask again.
fn seen() -> Router<App> {
    Router::new().route("/observations", post(observations))
}

/// A function's caller may say `Idempotency-Key` too.
fn deferring(app: &App) -> Router<App> {
    let once = axum::middleware::from_fn_with_state(app.clone(), crate::idempotency::core_layer);
    Router::new().route("/jobs", post(defer)).layer(once)
}

async fn defer(State(app): State<App>, Json(call): Json<DeferredCall>) -> Result<(StatusCode, Json<Job>)> {
    let _turn = app.bounds.request(Tenant::Account(call.account)).await?;
    Ok((StatusCode::ACCEPTED, Json(jobs::defer(&app, call).await?)))
}

async fn deferred(State(app): State<App>, Path(id): Path<JobId>, Query(query): Query<ShowQuery>) -> Result<Json<Job>> {
    Ok(Json(jobs::deferred(&app, id, query).await?))
}

async fn deferred_output(State(app): State<App>, Path(id): Path<JobId>) -> Result<Response> {
    jobs::deferred_output(&app, id).await
}

/// It answers, and its database does.
async fn ready(State(app): State<App>) -> Result<StatusCode> {
    app.db.read().ping().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A gateway has started.
async fn begin_epoch(State(app): State<App>) -> Json<IssuerKeys> {
    Json(app.tickets.begin_epoch(Timestamp::now()))
}

/// A gateway goes on.
async fn days(State(app): State<App>) -> Json<TwoDays<DayRoot>> {
    Json(app.tickets.days(Timestamp::now()))
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

/// From the database: what a gateway asks to which a node connects that it has not heard of.
async fn show_node(State(app): State<App>, Path(id): Path<NodeId>) -> Result<Json<NodeRecord>> {
    Ok(Json(nodes::records::one(&app.db, id).await?))
}

async fn uploaded(State(app): State<App>, Json(artifact): Json<Uploaded>) -> Result<StatusCode> {
    artifacts::uploaded(&app, artifact).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A gateway is about to put something into the store, or goes on.
async fn lease_epoch(State(app): State<App>, Json(asked): Json<AskEpoch>) -> Result<Json<EpochLease>> {
    Ok(Json(objects::lease_epoch(&app.db, &app.store, app.config.store_epoch_lease, asked).await?))
}

async fn begin_upload(State(app): State<App>, Json(asked): Json<upload_quota::Begin>) -> Result<Json<Granted>> {
    Ok(Json(upload_quota::begin(&app, asked).await?))
}

async fn settle_upload(State(app): State<App>, Json(settled): Json<upload_quota::Settle>) -> Result<StatusCode> {
    upload_quota::settle(&app, settled).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A numbered batch; without a number, as gateways of the release before send them.
async fn observations(State(app): State<App>, request: Request) -> Result<Response> {
    if request.uri().query().is_none() {
        let Json(batch) = Json::<Vec<Observation>>::from_request(request, &app).await?;
        settlement::observed(&app, batch).await?;
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let (mut parts, body) = request.into_parts();
    let Query(head) = Query::<BatchHead>::from_request_parts(&mut parts, &app).await?;
    let body = match Bytes::from_request(Request::from_parts(parts, body), &app).await {
        Ok(body) => Some(body),
        // It has its number, and is void.
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => None,
        Err(rejection) => return Err(refuse_field(Code::BodyIncomplete, Field::BODY, rejection.body_text())),
    };
    Ok(Json(settlement::observed_batch(&app, head, body).await?).into_response())
}
