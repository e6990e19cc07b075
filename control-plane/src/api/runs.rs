//! Handlers: invocations, logs, usage and receipts.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, header};
use protocol::RunId;
use protocol::api::{Invocation, InvocationPage, LogPage, UsageNow, UsageReport, UsageSums};
use protocol::headers;
use protocol::node::LogLine;
use protocol::route::Scope;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Path, Query};
use crate::App;
use crate::error::Result;
use crate::identity::caller::Caller;
use crate::logs::{self, LogQuery};
use crate::paging::Paging;
use crate::settlement::runs::{self, RunFilter};
use crate::settlement::{self, ReceiptsQuery};
use crate::usage::{self, UsageQuery};

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_invocations))
        .routes(routes!(show_invocation))
        .routes(routes!(show_invocation_logs))
        .routes(routes!(function_logs))
        .routes(routes!(function_usage))
        .routes(routes!(show_usage))
        .routes(routes!(show_usage_now))
        .routes(routes!(download_receipts))
}

/// The account's runs, the newest first. A page that searches may be short, or empty, with `next` set: so far was looked.
#[utoipa::path(get, path = "/invocations", tag = "runs", params(RunFilter, Paging), responses((status = 200, body = InvocationPage)))]
async fn list_invocations(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<RunFilter>,
    Query(paging): Query<Paging>,
) -> Result<Json<InvocationPage>> {
    Ok(Json(runs::list(&app, &caller, &filter, &paging).await?))
}

/// One run.
#[utoipa::path(get, path = "/invocations/{run}", tag = "runs", params(("run" = RunId, Path)), responses((status = 200, body = Invocation)))]
async fn show_invocation(State(app): State<App>, caller: Caller, Path(run): Path<RunId>) -> Result<Json<Invocation>> {
    Ok(Json(runs::show(&app, &caller, run).await?))
}

/// What one run wrote.
#[utoipa::path(get, path = "/invocations/{run}/logs", tag = "runs", params(("run" = RunId, Path)), responses((status = 200, body = LogPage)))]
async fn show_invocation_logs(State(app): State<App>, caller: Caller, Path(run): Path<RunId>) -> Result<Json<LogPage>> {
    Ok(Json(logs::of_run(&app, &caller, run).await?))
}

/// What a function's runs wrote, as NDJSON; with `follow=true` it goes on. Where lines cannot be read, one of the platform's
/// says which, and the others are there.
#[utoipa::path(get, path = "/functions/{name}/logs", tag = "runs", params(("name" = String, Path), LogQuery), responses((status = 200, body = LogLine, content_type = "application/x-ndjson", headers(("x-crowdcloud-logs-since" = String)))))]
async fn function_logs(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<LogQuery>,
) -> Result<Response> {
    let (since, lines) = logs::of_function(&app, &caller, &name, &query).await?;
    let kind = (header::CONTENT_TYPE.as_str(), "application/x-ndjson");
    let since = (headers::LOGS_SINCE, since.to_string());
    Ok(([kind], [since], Body::from_stream(lines)).into_response())
}

/// What a function's settled runs used, in all.
#[utoipa::path(get, path = "/functions/{name}/usage", tag = "runs", params(("name" = String, Path)), responses((status = 200, body = UsageSums)))]
async fn function_usage(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Json<UsageSums>> {
    Ok(Json(usage::of_function(&app, &caller, &name).await?))
}

/// What the account's settled runs used, by function, principal and so on, by time, or by both. As CSV where `Accept` or
/// `format` says so.
#[utoipa::path(get, path = "/usage", tag = "runs", params(UsageQuery, Paging), responses((status = 200, content((UsageReport = "application/json"), (String = "text/csv")))))]
async fn show_usage(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Query(query): Query<UsageQuery>,
    Query(paging): Query<Paging>,
) -> Result<Response> {
    let csv = usage::wants_csv(&query, &headers);
    let report = usage::report(&app, &caller, &query, &paging, csv).await?;
    let vary = (header::VARY, "accept");
    if csv {
        let kind = (header::CONTENT_TYPE, "text/csv; charset=utf-8");
        let file = (header::CONTENT_DISPOSITION, "attachment; filename=\"usage.csv\"");
        return Ok(([kind, file, vary], usage::to_csv(&report)).into_response());
    }
    Ok(([vary], Json(report)).into_response())
}

/// The account's jobs that wait and run, what the last full minute used, and what live nodes lend.
#[utoipa::path(get, path = "/usage/now", tag = "runs", responses((status = 200, body = UsageNow)))]
async fn show_usage_now(State(app): State<App>, caller: Caller) -> Result<Json<UsageNow>> {
    let account = caller.require(Scope::Read)?;
    let nodes = app.nodes.totals(&app, account).await?;
    Ok(Json(usage::now(&app.db, account, nodes).await?))
}

/// The account's settled runs as they are kept: blocks, whose headers are a chain, and their lines. As NDJSON; see the
/// documentation of receipts for its lines. What is settled and not packed yet is packed first.
#[utoipa::path(get, path = "/receipts", tag = "runs", params(ReceiptsQuery), responses((status = 200, body = String, content_type = "application/x-ndjson")))]
async fn download_receipts(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ReceiptsQuery>,
) -> Result<Response> {
    let (numbers, lines) = settlement::receipts(&app, &caller, &query).await?;
    let mut response = Body::from_stream(lines).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    let file = HeaderValue::from_static("attachment; filename=\"receipts.ndjson\"");
    headers.insert(header::CONTENT_DISPOSITION, file);
    // By this whoever reads knows when all has come.
    let numbers = numbers.map_or_else(|| "none".to_owned(), |(first, last)| format!("{first}-{last}"));
    if let Ok(numbers) = HeaderValue::try_from(numbers) {
        headers.insert(protocol::headers::BLOCKS, numbers);
    }
    Ok(response)
}
