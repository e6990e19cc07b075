//! `POST /api/v1/functions/{function}/test`: one call from the portal, through the very run path, answered as data.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use protocol::api::{TestAnswer, TestCall};
use protocol::route::Scope;
use protocol::{Code, Field, Invalid, Name, Problem, headers, proxy_status};

use crate::address::FunctionAddress;
use crate::api;
use crate::config::Config;
use crate::handle::METHOD_LENGTH_MAX;
use crate::headers::head_size;
use crate::response::{Response, json};
use crate::run::{self, Call, Caller};
use crate::state::Gateway;
use crate::upload::{Source, Upload};

/// Where the call came from.
pub(crate) struct Origin<'a> {
    pub(crate) client: IpAddr,
    pub(crate) host: &'a str,
    pub(crate) proto: &'static str,
}

pub(crate) async fn call(
    gateway: &Arc<Gateway>,
    function: Name,
    head: &Parts,
    body: Source,
    from: &Origin<'_>,
) -> Result<Response, Problem> {
    api::only(&head.method, &Method::POST)?;
    api::no_query(&head.uri)?;
    let grant = api::grant(gateway, head, from.host, Scope::Invoke).await?;
    api::only_json(&head.headers)?;
    // Every function's route is in memory, and with it its account's name.
    let account = gateway.routes.account_name(grant.account).ok_or(Code::FunctionNotFound)?;
    let wanted = read_call(gateway, body).await?;
    let grant = api::grant_again(gateway, head, from.host, Scope::Invoke, &grant).await?;
    let received = Instant::now();
    let reference = wanted.reference.clone();
    let by_body = reference.is_some();
    let (head, body) = as_request(wanted, from.host, &gateway.config)?.into_parts();
    let answer = run::respond(
        gateway,
        Call {
            address: FunctionAddress { account, function, reference, prefix_len: 0, shared_origin: false },
            head,
            body,
            client: from.client,
            host: from.host.to_owned(),
            proto: from.proto,
            received,
            caller: Caller::Granted(grant),
        },
    )
    .await;
    // Here the body names the version.
    as_data(gateway, answer, received).await.map_err(|problem| match problem.code {
        Code::VersionNotFound if by_body => problem.at("reference"),
        _ => problem,
    })
}

async fn read_call(gateway: &Gateway, body: Source) -> Result<TestCall, Problem> {
    let size_max = gateway.config.test_body_max;
    let upload = Upload::new(body, gateway.config.upload_limits(size_max));
    let read = upload.body().ok_or(Code::Internal)?.collect().await;
    let bytes = read.map_err(|_| match upload.fault() {
        Some(Code::BodyTooLarge) => {
            Problem::of(Code::BodyTooLarge, Field::BODY, format!("a test call has up to {size_max}"))
        }
        fault => fault.unwrap_or(Code::InvalidRequest).into(),
    })?;
    protocol::body::read(&bytes.to_bytes())
}

/// The request that the function is to see, within what any caller may send.
fn as_request(call: TestCall, host: &str, config: &Config) -> Result<Request<Source>, Problem> {
    fn wrong(field: impl Into<Field>, why: impl std::fmt::Display) -> Problem {
        let field = field.into();
        let why = format!("{field}: {why}");
        Invalid { field, why }.into()
    }
    let body = STANDARD.decode(&call.body).map_err(|error| wrong("body", error))?;
    let method = Method::from_bytes(call.method.as_bytes()).map_err(|error| wrong("method", error))?;
    if matches!(method, Method::CONNECT | Method::TRACE) {
        return Err(wrong("method", "not supported"));
    }
    let path = if call.path.starts_with('/') { call.path } else { format!("/{}", call.path) };
    if path.contains('#') {
        return Err(wrong("path", "what stands after `#` is never sent; write the character itself as %23"));
    }
    let (count_max, head_max) = (config.headers_max, config.head_max);
    if method.as_str().len() > METHOD_LENGTH_MAX {
        return Err(wrong("method", format!("at most {METHOD_LENGTH_MAX} characters")));
    }
    if path.len() > head_max.as_usize() {
        return Err(wrong("path", format!("{} bytes; at most {head_max}, with the headers", path.len())));
    }
    if call.headers.len() > count_max {
        let headers = protocol::words::count(call.headers.len(), "header");
        return Err(wrong("headers", format!("{headers}; at most {count_max} headers")));
    }
    let mut request =
        Request::builder().method(method).uri(&path).body(fabric::full(body)).map_err(|error| wrong("path", error))?;
    let headers: &mut HeaderMap = request.headers_mut();
    for (index, (name, value)) in call.headers.iter().enumerate() {
        let place = Field::from("headers").index(index);
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| wrong(place.index(0), error))?;
        let value = HeaderValue::from_str(value).map_err(|error| wrong(place.index(1), error))?;
        headers.append(name, value);
    }
    if !headers.contains_key(http::header::HOST)
        && let Ok(host) = HeaderValue::from_str(host)
    {
        headers.insert(http::header::HOST, host);
    }
    headers.remove(http::header::CONTENT_LENGTH);
    let (head, body) = request.into_parts();
    let size = head_size(&head);
    if size > head_max.as_usize() {
        return Err(wrong("headers", format!("{size} bytes with the path; at most {head_max} in all")));
    }
    Ok(Request::from_parts(head, body))
}

async fn as_data(gateway: &Gateway, answer: Response, received: Instant) -> Result<Response, Problem> {
    let (head, body) = answer.into_parts();
    let size_max = gateway.config.test_body_max;
    let body = Limited::new(body, size_max.as_usize()).collect().await;
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let by_platform = text(proxy_status::HEADER).is_some_and(proxy_status::is_ours);
    let (bytes, cut) = match body {
        Ok(body) => (body.to_bytes(), None),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => (Bytes::new(), Some(Code::ResponseTooLarge)),
        Err(_) => (Bytes::new(), Some(Code::NodeFailed)),
    };
    let problem: Option<Problem> = by_platform.then(|| serde_json::from_slice(&bytes).ok()).flatten();
    let Some(run) = text(headers::RUN).and_then(|run| run.parse().ok()) else {
        // It never became a run: the problem is the answer.
        return Err(problem.unwrap_or_else(|| Code::Internal.into()));
    };
    let data = TestAnswer {
        run,
        node: text(headers::NODE).and_then(|node| node.parse().ok()),
        status: head.status.as_u16(),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
        body: STANDARD.encode(&bytes),
        wall_us: u64::try_from(received.elapsed().as_micros()).unwrap_or(u64::MAX),
        code: cut.or(problem.map(|problem| problem.code)),
    };
    Ok(json(StatusCode::OK, &data))
}
