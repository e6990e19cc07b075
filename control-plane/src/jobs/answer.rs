//! The output: status, headers and body as the function gave them; or the problem, where it gave none, which
//! `Proxy-Status` marks.

use axum::body::Body;
use axum::response::Response;
use futures::StreamExt as _;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use protocol::job::JobState;
use protocol::{Code, JobId, Problem, headers, proxy_status};
use sea_orm::EntityTrait as _;

use super::{fields, views};
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::{job_outputs, jobs};
use crate::error::{Result, refuse, respond};
use crate::identity::caller::Caller;
use crate::objects::{self, Address};

/// `GET /jobs/{id}/output`
pub(crate) async fn output(app: &App, caller: &Caller, id: JobId) -> Result<Response> {
    let row = views::find(app, caller, id, &views::SEES).await?;
    let mut response = replay(app, row).await?;
    let map = response.headers_mut();
    fabric::strip_hop_by_hop(map);
    // What would speak for the platform's own origin, on which the API is; which run it was, we say.
    headers::remove_where(map, |name| !headers::row(name).in_output && !headers::is_ours(name));
    // Never a page of ours: a browser that shows it runs nothing in it.
    let sandbox = HeaderValue::from_static("sandbox; default-src 'none'; frame-ancestors 'none'");
    map.insert(header::CONTENT_SECURITY_POLICY, sandbox);
    map.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// `GET /internal/jobs/{id}/output`: for a gateway, which cleans the head itself. What the platform says instead of
/// the function is marked.
pub(crate) async fn deferred_output(app: &App, id: JobId) -> Result<Response> {
    let row = jobs::Entity::find_by_id(Col(id)).one(app.db.read()).await?;
    replay(app, row.ok_or_else(|| refuse(Code::NotFound, "There is no such job."))?).await
}

async fn replay(app: &App, row: jobs::Model) -> Result<Response> {
    if !row.state.ended() {
        return Err(refuse(Code::JobNotEnded, format!("The job is `{}`.", row.state.0)));
    }
    let output = job_outputs::Entity::find_by_id(row.id).one(app.db.read()).await?;
    let mut response = match output {
        Some(output) => answered(app, output).await?,
        None => instead(&row),
    };
    mark(response.headers_mut(), headers::RUN, row.run_id.map(|run| run.to_string()));
    mark(response.headers_mut(), headers::NODE, row.node_id.map(|node| node.to_string()));
    Ok(response)
}

fn mark(map: &mut HeaderMap, name: &'static str, value: Option<String>) {
    if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
        map.insert(HeaderName::from_static(name), value);
    }
}

async fn answered(app: &App, output: job_outputs::Model) -> Result<Response> {
    let body = match (output.body, Address::of(output.blob, output.root)) {
        (Some(body), _) => Body::from(body),
        (None, None) => Body::empty(),
        (None, Some(address)) => {
            let object = objects::read(app, address).await.map_err(|error| {
                tracing::error!(%error, job = %output.job_id.0, "an output cannot be read");
                refuse(Code::StorageUnavailable, "The store cannot give the output.")
            })?;
            Body::from_stream(object.boxed())
        }
    };
    let mut response = Response::new(body);
    let status = u16::try_from(output.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    *response.status_mut() = status.unwrap_or(StatusCode::OK);
    *response.headers_mut() = fields::to_map(&output.headers);
    unmark(response.headers_mut());
    Ok(response)
}

/// Takes our mark away where a function has set it: a response without it is the function's own. What other proxies say
/// stays, as in a call.
fn unmark(headers: &mut HeaderMap) {
    let name = HeaderName::from_static(proxy_status::HEADER);
    let ours = |value: &HeaderValue| value.to_str().is_ok_and(proxy_status::is_ours);
    let others: Vec<HeaderValue> = headers.get_all(&name).iter().filter(|value| !ours(value)).cloned().collect();
    headers.remove(&name);
    for value in others {
        headers.append(&name, value);
    }
}

/// The platform's word, where the function gave none.
fn instead(row: &jobs::Model) -> Response {
    let code = match (row.code, row.state.0) {
        (Some(code), _) => code.0,
        (None, JobState::TimedOut) => Code::TimedOut,
        (None, JobState::Cancelled) => Code::NotFound,
        (None, _) => Code::NodeLost,
    };
    let problem = Problem::new(code, format!("The job ended as `{}`: {}", row.state.0, row.reason)).about(row.id.0);
    let problem = match code {
        Code::NotFound => {
            problem.with_help("A cancelled job has no output; `crowdcloud jobs retry JOB` tries it again.")
        }
        _ => problem,
    };
    let mut response = respond(&problem);
    mark(response.headers_mut(), headers::NODE_PROBLEM, Some(code.as_str().to_owned()));
    response
}
