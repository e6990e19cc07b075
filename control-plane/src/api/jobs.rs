//! Handlers: jobs.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use protocol::JobId;
use protocol::api::{LogPage, Page};
use protocol::job::{Job, JobArray, JobLimits, JobSummary, JobWhy, SubmitArray, SubmitJob, WebhookKey};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Path, Query};
use crate::App;
use crate::error::Result;
use crate::identity::caller::Caller;
use crate::jobs::{self, JobFilter, ShowQuery, SummaryQuery};
use crate::paging::Paging;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(submit_job, list_jobs))
        .routes(routes!(submit_array))
        .routes(routes!(job_limits))
        .routes(routes!(job_summary))
        .routes(routes!(webhook_key))
        .routes(routes!(account_events))
        .routes(routes!(show_job))
        .routes(routes!(job_events))
        .routes(routes!(job_output))
        .routes(routes!(job_logs))
        .routes(routes!(job_why))
        .routes(routes!(cancel_job))
        .routes(routes!(retry_job))
}

/// Submits a job: it is kept when this answers.
#[utoipa::path(post, path = "/jobs", tag = "jobs", request_body = SubmitJob, params(("Idempotency-Key" = Option<String>, Header)), responses((status = 202, body = Job, headers(("Location" = String)))))]
async fn submit_job(State(app): State<App>, caller: Caller, Json(asked): Json<SubmitJob>) -> Result<Response> {
    let job = Box::pin(jobs::submit(&app, &caller, asked)).await?;
    let location = HeaderValue::try_from(format!("/api/v1/jobs/{}", job.id));
    let mut response = (StatusCode::ACCEPTED, Json(job)).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Submits one job for each input; all are kept when this answers, or none.
#[utoipa::path(post, path = "/jobs/arrays", tag = "jobs", request_body = SubmitArray, params(("Idempotency-Key" = Option<String>, Header)), responses((status = 202, body = JobArray)))]
async fn submit_array(
    State(app): State<App>,
    caller: Caller,
    Json(asked): Json<SubmitArray>,
) -> Result<(StatusCode, Json<JobArray>)> {
    let array = Box::pin(jobs::submit_array(&app, &caller, asked)).await?;
    Ok((StatusCode::ACCEPTED, Json(array)))
}

/// The account's jobs, in the order that is asked for.
#[utoipa::path(get, path = "/jobs", tag = "jobs", params(JobFilter, Paging), responses((status = 200, body = Page<Job>)))]
async fn list_jobs(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<JobFilter>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Job>>> {
    Ok(Json(jobs::list(&app, &caller, &filter, &paging).await?))
}

/// What a job may ask for. Needs no log-in.
#[utoipa::path(get, path = "/jobs/limits", tag = "jobs", responses((status = 200, body = JobLimits)))]
async fn job_limits(State(app): State<App>) -> Json<JobLimits> {
    Json(jobs::limits(&app))
}

/// How many jobs are in each state: open ones now, and those that ended in a period.
#[utoipa::path(get, path = "/jobs/summary", tag = "jobs", params(SummaryQuery), responses((status = 200, body = JobSummary)))]
async fn job_summary(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<SummaryQuery>,
) -> Result<Json<JobSummary>> {
    Ok(Json(jobs::summary(&app, &caller, &query).await?))
}

/// The key that signs the account's webhooks.
#[utoipa::path(get, path = "/jobs/webhook-key", tag = "jobs", responses((status = 200, body = WebhookKey)))]
async fn webhook_key(State(app): State<App>, caller: Caller) -> Result<Json<WebhookKey>> {
    Ok(Json(jobs::webhook_key(&app, &caller)?))
}

/// Changes of the account's jobs, as server-sent events; `Last-Event-ID` goes on where a stream broke off.
#[utoipa::path(get, path = "/jobs/events", tag = "jobs", params(("Last-Event-ID" = Option<String>, Header)), responses((status = 200, body = Job, content_type = "text/event-stream")))]
async fn account_events(State(app): State<App>, caller: Caller, headers: HeaderMap) -> Result<Response> {
    jobs::events_of_account(&app, &caller, &headers).await
}

/// One job, with its life so far.
#[utoipa::path(get, path = "/jobs/{id}", tag = "jobs", params(("id" = JobId, Path), ShowQuery), responses((status = 200, body = Job)))]
async fn show_job(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<JobId>,
    Query(query): Query<ShowQuery>,
) -> Result<Json<Job>> {
    Ok(Json(jobs::show(&app, &caller, id, query).await?))
}

/// One job as it is, and each change until its end, as server-sent events.
#[utoipa::path(get, path = "/jobs/{id}/events", tag = "jobs", params(("id" = JobId, Path)), responses((status = 200, body = Job, content_type = "text/event-stream")))]
async fn job_events(State(app): State<App>, caller: Caller, Path(id): Path<JobId>) -> Result<Response> {
    jobs::events_of_job(&app, &caller, id).await
}

/// What the function answered: status, headers and body.
#[utoipa::path(get, path = "/jobs/{id}/output", tag = "jobs", params(("id" = JobId, Path)), responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream", description = "As the function answered; other statuses too.")))]
async fn job_output(State(app): State<App>, caller: Caller, Path(id): Path<JobId>) -> Result<Response> {
    jobs::output(&app, &caller, id).await
}

/// What the job's runs wrote.
#[utoipa::path(get, path = "/jobs/{id}/logs", tag = "jobs", params(("id" = JobId, Path)), responses((status = 200, body = LogPage)))]
async fn job_logs(State(app): State<App>, caller: Caller, Path(id): Path<JobId>) -> Result<Json<LogPage>> {
    Ok(Json(jobs::logs(&app, &caller, id).await?))
}

/// Why the job is where it is: its placement, and what it waits for.
#[utoipa::path(get, path = "/jobs/{id}/why", tag = "jobs", params(("id" = JobId, Path)), responses((status = 200, body = JobWhy)))]
async fn job_why(State(app): State<App>, caller: Caller, Path(id): Path<JobId>) -> Result<Json<JobWhy>> {
    Ok(Json(jobs::why(&app, &caller, id).await?))
}

/// Cancels a job that has not ended.
#[utoipa::path(post, path = "/jobs/{id}/cancel", tag = "jobs", params(("id" = JobId, Path)), responses((status = 200, body = Job)))]
async fn cancel_job(State(app): State<App>, caller: Caller, Path(id): Path<JobId>) -> Result<Json<Job>> {
    Ok(Json(jobs::cancel(&app, &caller, id).await?))
}

/// Tries a job again that did not succeed.
#[utoipa::path(post, path = "/jobs/{id}/retry", tag = "jobs", params(("id" = JobId, Path)), responses((status = 200, body = Job)))]
async fn retry_job(State(app): State<App>, caller: Caller, Path(id): Path<JobId>) -> Result<Json<Job>> {
    Ok(Json(jobs::retry(&app, &caller, id).await?))
}
