//! What nodes may ask. Who asks is the fabric's `Peer`, proven by the subject that the call came on.

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Extension, FromRequestParts, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use fabric::{Dropped, Exchange, Peer};
use futures::TryStreamExt as _;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use protocol::node::{Hello, HelloReply, RunLog, VersionSpec};
use protocol::receipt::CheckpointAck;
use protocol::ticket::Purpose;
use protocol::{Code, Digest, NodeId, Timestamp, VersionId};
use sea_orm::EntityTrait as _;

use super::extract::{Json, Path};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::versions;
use crate::error::{Error, Result, refuse};
use crate::functions::artifacts;
use crate::{logs, nodes, objects, settlement};

/// The node that asks.
pub(crate) struct Asker(pub NodeId);

impl FromRequestParts<App> for Asker {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        match Extension::<Peer>::from_request_parts(parts, app).await {
            Ok(Extension(Peer::Node(node))) => {
                nodes::standing::of(app.db.read(), node).await?;
                Ok(Self(node))
            }
            _ => Err(refuse(Code::Forbidden, "Only nodes ask here.")),
        }
    }
}

fn finish(app: App, router: Router<App>) -> Router {
    router
        .layer(DefaultBodyLimit::max(app.config.batch_max.as_usize()))
        .fallback(super::unknown)
        .method_not_allowed_fallback(super::no_such_method)
        .layer(middleware::from_fn_with_state(app.clone(), count_dropped))
        .with_state(app)
}

/// What a node asks and nobody understands is counted by node.
async fn count_dropped(State(app): State<App>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let response = next.run(request).await;
    let nonsense = matches!(response.status().as_u16(), 400 | 405 | 413 | 415 | 422);
    if let (true, Some(Peer::Node(node)), Some(fabrics)) = (nonsense, peer, &app.fabrics) {
        fabrics.nodes.dropped(node, Dropped::Request, response.status());
    }
    response
}

/// `Mount::ForNodes(Api)`
pub(crate) fn api(app: App) -> Router {
    finish(app, Router::new().route("/hello", post(hello)))
}

/// `Mount::ForNodes(Blob)`
pub(crate) fn blob(app: App) -> Router {
    finish(app, Router::new().route("/versions/{id}", get(version)).route("/artifacts/{digest}", get(artifact)))
}

/// `Mount::ForNodes(Log)`
pub(crate) fn log(app: App) -> Router {
    finish(app, Router::new().route("/logs", post(run_logs)))
}

/// `Mount::ForNodes(Receipt)`
pub(crate) fn receipt(app: App) -> Router {
    finish(app, Router::new().route("/checkpoints", post(checkpoints)))
}

async fn hello(
    State(app): State<App>,
    Asker(node): Asker,
    asked: Option<Extension<Exchange>>,
    Json(hello): Json<Hello>,
) -> Result<Json<HelloReply>> {
    let boot = hello.boot.clone();
    let reply = nodes::hello::hello(&app, node, hello).await?;
    // It has keys in it: they are for this start of the node, and not for whoever has copied its credentials.
    if let (Some(Extension(exchange)), Some(boot)) = (asked, boot) {
        exchange.seal_for(&boot);
    }
    Ok(Json(reply))
}

async fn version(
    State(app): State<App>,
    Asker(node): Asker,
    headers: HeaderMap,
    Path(id): Path<VersionId>,
) -> Result<Json<VersionSpec>> {
    let ticket = app.tickets.check(&headers, node, &[Purpose::Run, Purpose::Prepare], Timestamp::now())?;
    if ticket.version != id {
        return Err(refuse(Code::Forbidden, "The ticket is for another version."));
    }
    if let Some(spec) = app.calibration.spec(&ticket)? {
        return Ok(Json(spec));
    }
    let row = versions::Entity::find_by_id(Col(id)).one(app.db.read()).await?;
    let row = row.ok_or_else(|| refuse(Code::VersionNotFound, "The version was deleted."))?;
    // What a run finds around it is for those alone who do a run.
    let (env, egress) = match ticket.purpose {
        Purpose::Run => (row.env.0, row.egress.0),
        Purpose::Prepare => Default::default(),
    };
    Ok(Json(VersionSpec {
        version: row.id.0,
        function: row.function_id.0,
        account: row.account_id.0,
        artifact: row.artifact.0,
        artifact_size: row.artifact_size.0,
        kind: row.kind.map(|kind| kind.0),
        lane: row.lane.0,
        limits: row.limits.0,
        env,
        egress,
        base: row.base.map(|base| base.0),
        command: row.command.map(|command| command.0).unwrap_or_default(),
    }))
}

async fn artifact(
    State(app): State<App>,
    Asker(node): Asker,
    headers: HeaderMap,
    Path(digest): Path<Digest>,
) -> Result<Response> {
    let ticket = app.tickets.check(&headers, node, &[Purpose::Run, Purpose::Prepare], Timestamp::now())?;
    if ticket.artifact != digest {
        return Err(refuse(Code::Forbidden, "The ticket is for another artifact."));
    }
    if let Some(wasm) = app.calibration.artifact(&ticket)? {
        return Ok(([(header::CONTENT_LENGTH, wasm.len().to_string())], Body::from(wasm)).into_response());
    }
    let row = artifacts::find(app.db.read(), ticket.account, digest, "digest").await?;
    let object = objects::read(&app, artifacts::address(&row)?).await.map_err(|error| {
        tracing::error!(%error, artifact = %digest, "an artifact cannot be read");
        refuse(Code::StorageUnavailable, "The store cannot give the artifact.")
    })?;
    let head = [(header::CONTENT_LENGTH, row.size.0.0.to_string())];
    Ok((head, Body::from_stream(object.into_stream())).into_response())
}

async fn run_logs(State(app): State<App>, Asker(node): Asker, Json(batch): Json<Vec<RunLog>>) -> Result<StatusCode> {
    logs::keep(&app, node, batch).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn checkpoints(
    State(app): State<App>,
    Asker(node): Asker,
    Json(checkpoint): Json<settlement::SentCheckpoint>,
) -> Result<Json<CheckpointAck>> {
    Ok(Json(settlement::checkpoint(&app, node, checkpoint).await?))
}
