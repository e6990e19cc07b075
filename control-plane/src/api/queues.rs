//! Handlers: queues.

use axum::extract::State;
use http::StatusCode;
use protocol::MessageId;
use protocol::api::Page;
use protocol::queue::{
    Discarded, EndLeases, LeaseMessages, LeasesEnded, Message, MessagesLeased, MessagesPut, PutMessages, Queue,
    Redriven, SetQueue,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Path, Query, created};
use crate::App;
use crate::error::Result;
use crate::identity::caller::Caller;
use crate::paging::Paging;
use crate::queues;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_queues))
        .routes(routes!(set_queue, show_queue, delete_queue))
        .routes(routes!(put_messages, list_messages))
        .routes(routes!(lease_messages))
        .routes(routes!(ack_messages))
        .routes(routes!(release_messages))
        .routes(routes!(dead_messages, discard_messages))
        .routes(routes!(discard_message))
        .routes(routes!(redrive_message))
        .routes(routes!(redrive_queue))
}

/// The account's queues.
#[utoipa::path(get, path = "/queues", tag = "queues", params(Paging), responses((status = 200, body = Page<Queue>)))]
async fn list_queues(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Queue>>> {
    Ok(Json(queues::list(&app, &caller, &paging).await?))
}

/// Makes or changes a queue; what is in it stays.
#[utoipa::path(put, path = "/queues/{name}", tag = "queues", params(("name" = String, Path)), request_body = SetQueue, responses((status = 200, body = Queue)))]
async fn set_queue(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Json(asked): Json<SetQueue>,
) -> Result<Json<Queue>> {
    Ok(Json(queues::set(&app, &caller, &name, asked).await?))
}

/// One queue, and how much is in it.
#[utoipa::path(get, path = "/queues/{name}", tag = "queues", params(("name" = String, Path)), responses((status = 200, body = Queue)))]
async fn show_queue(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Json<Queue>> {
    Ok(Json(queues::show(&app, &caller, &name).await?))
}

/// Deletes a queue with all that is in it; not while a trigger takes from it.
#[utoipa::path(delete, path = "/queues/{name}", tag = "queues", params(("name" = String, Path)), responses((status = 204)))]
async fn delete_queue(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<StatusCode> {
    queues::delete(&app, &caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Puts messages: all of them are kept when this answers, or none.
#[utoipa::path(post, path = "/queues/{name}/messages", tag = "queues", params(("name" = String, Path), ("Idempotency-Key" = Option<String>, Header)), request_body = PutMessages, responses((status = 201, body = MessagesPut)))]
async fn put_messages(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Json(asked): Json<PutMessages>,
) -> Result<(StatusCode, Json<MessagesPut>)> {
    Ok(created(queues::put(&app, &caller, &name, asked).await?))
}

/// Messages that wait or are leased, the oldest first. Nobody takes them by looking.
#[utoipa::path(get, path = "/queues/{name}/messages", tag = "queues", params(("name" = String, Path), Paging), responses((status = 200, body = Page<Message>)))]
async fn list_messages(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Message>>> {
    Ok(Json(queues::messages(&app, &caller, &name, &paging).await?))
}

/// Leases the oldest messages that wait: nobody else sees them until the lease is over.
#[utoipa::path(post, path = "/queues/{name}/lease", tag = "queues", params(("name" = String, Path), ("Idempotency-Key" = Option<String>, Header)), request_body = LeaseMessages, responses((status = 200, body = MessagesLeased)))]
async fn lease_messages(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Json(asked): Json<LeaseMessages>,
) -> Result<Json<MessagesLeased>> {
    Ok(Json(queues::lease(&app, &caller, &name, asked).await?))
}

/// Acknowledges leased messages: they are done, and gone.
#[utoipa::path(post, path = "/queues/{name}/ack", tag = "queues", params(("name" = String, Path), ("Idempotency-Key" = Option<String>, Header)), request_body = EndLeases, responses((status = 200, body = LeasesEnded)))]
async fn ack_messages(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Json(asked): Json<EndLeases>,
) -> Result<Json<LeasesEnded>> {
    Ok(Json(queues::ack(&app, &caller, &name, asked).await?))
}

/// Gives leased messages back: others may have them.
#[utoipa::path(post, path = "/queues/{name}/release", tag = "queues", params(("name" = String, Path), ("Idempotency-Key" = Option<String>, Header)), request_body = EndLeases, responses((status = 200, body = LeasesEnded)))]
async fn release_messages(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Json(asked): Json<EndLeases>,
) -> Result<Json<LeasesEnded>> {
    Ok(Json(queues::release(&app, &caller, &name, asked).await?))
}

/// Messages that were leased as often as the queue allows, and never acknowledged.
#[utoipa::path(get, path = "/queues/{name}/dead", tag = "queues", params(("name" = String, Path), Paging), responses((status = 200, body = Page<Message>)))]
async fn dead_messages(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Message>>> {
    Ok(Json(queues::dead(&app, &caller, &name, &paging).await?))
}

/// Deletes all dead messages.
#[utoipa::path(delete, path = "/queues/{name}/dead", tag = "queues", params(("name" = String, Path)), responses((status = 200, body = Discarded)))]
async fn discard_messages(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Json<Discarded>> {
    Ok(Json(queues::discard(&app, &caller, &name, None).await?))
}

/// Deletes one dead message.
#[utoipa::path(delete, path = "/queues/{name}/dead/{message}", tag = "queues", params(("name" = String, Path), ("message" = MessageId, Path)), responses((status = 204)))]
async fn discard_message(
    State(app): State<App>,
    caller: Caller,
    Path((name, message)): Path<(String, MessageId)>,
) -> Result<StatusCode> {
    queues::discard(&app, &caller, &name, Some(message)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// One dead message waits again.
#[utoipa::path(post, path = "/queues/{name}/dead/{message}/redrive", tag = "queues", params(("name" = String, Path), ("message" = MessageId, Path), ("Idempotency-Key" = Option<String>, Header)), responses((status = 200, body = Redriven)))]
async fn redrive_message(
    State(app): State<App>,
    caller: Caller,
    Path((name, message)): Path<(String, MessageId)>,
) -> Result<Json<Redriven>> {
    Ok(Json(queues::redrive(&app, &caller, &name, Some(message)).await?))
}

/// All dead messages wait again.
#[utoipa::path(post, path = "/queues/{name}/redrive", tag = "queues", params(("name" = String, Path), ("Idempotency-Key" = Option<String>, Header)), responses((status = 200, body = Redriven)))]
async fn redrive_queue(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Json<Redriven>> {
    Ok(Json(queues::redrive(&app, &caller, &name, None).await?))
}
