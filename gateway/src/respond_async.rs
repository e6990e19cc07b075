//! `Prefer: respond-async` (RFC 7240) on a function's URL: the request becomes a job, and the response is 202 with the
//! job's place. With `wait=N` it is the function's own response, where that comes in so many seconds.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use fabric::{CallOptions, CoreService, Target};
use futures::StreamExt as _;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyDataStream, BodyExt as _};
use protocol::headers::{IDEMPOTENCY_KEY, IdempotencyKey};
use protocol::job::{DeferredCall, HeaderBytes, Job};
use protocol::route::{Grant, Principal, Scope, VersionRoute};
use protocol::{AccountId, Blob, ByteSize, Code, Millis, Problem, headers};

use crate::address::FunctionAddress;
use crate::epochs::Writing;
use crate::headers::{Forward, bearer_key, clean_response, for_function};
use crate::keys::unavailable;
use crate::pieces::{Whole, take_whole};
use crate::quota::Charge;
use crate::response::{Response, ResponseBody, json};
use crate::routes::Known;
use crate::state::Gateway;
use crate::upload::{Source, Upload};

const PREFER: &str = "prefer";
/// A longer body goes through the store.
const INLINE_MAX: usize = 64 << 10;
/// The control plane commits the job within so long.
const SUBMIT_WITHIN: Duration = Duration::from_secs(10);
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(60);
const WAIT_SLACK: Duration = Duration::from_secs(3);

/// What the caller prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Async {
    /// Respond as usual, where that takes no longer.
    wait: Option<Duration>,
}

/// The preference, where it is there.
pub(crate) fn preferred(headers: &HeaderMap) -> Option<Async> {
    let mut found = None;
    let mut wait = None;
    for preference in headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','))
    {
        match Preference::read(preference) {
            Preference::RespondAsync => found = Some(()),
            Preference::Wait(seconds) => wait = wait.or(seconds.map(|wait| Duration::from_secs(wait).min(WAIT_MAX))),
            Preference::Other => {}
        }
    }
    found.map(|()| Async { wait })
}

/// One preference.
enum Preference {
    RespondAsync,
    /// So many seconds, where it is a number.
    Wait(Option<u64>),
    /// The function's affair.
    Other,
}

impl Preference {
    fn read(text: &str) -> Self {
        let text = text.split(';').next().unwrap_or_default().trim();
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        match name.trim() {
            name if name.eq_ignore_ascii_case("respond-async") => Self::RespondAsync,
            name if name.eq_ignore_ascii_case("wait") => Self::Wait(value.trim().trim_matches('"').parse().ok()),
            _ => Self::Other,
        }
    }
}

/// Who makes the job. Nobody, for callers of a public function who are not of its account: they could never see what
/// came of it, so that they are answered as usual, as the RFC allows.
pub(crate) async fn maker(
    gateway: &Arc<Gateway>,
    known: &Known,
    head: &Parts,
    given: Option<&Grant>,
) -> Option<String> {
    let looked_up = match (given, bearer_key(&head.headers)) {
        (None, Some(key)) => gateway.keys.grant_of_key(key).await.ok(),
        _ => None,
    };
    let grant = given.or(looked_up.as_deref())?;
    let own = grant.account == known.route.account && grant.allows(Scope::Invoke);
    let whole = grant.function.is_none_or(|only| only == known.route.function);
    (own && whole).then(|| match &grant.principal {
        Principal::Key { key } => key.to_string(),
        Principal::Session { user, .. } => user.to_string(),
    })
}

/// A request that is responded to later.
pub(crate) struct Deferred<'a> {
    pub(crate) prefer: Async,
    /// Known already, and asked for after the body had come: a test call's.
    pub(crate) given: Option<&'a Grant>,
    pub(crate) known: &'a Known,
    pub(crate) version: &'a VersionRoute,
    pub(crate) address: &'a FunctionAddress,
    pub(crate) head: Parts,
    pub(crate) body: Source,
    pub(crate) forward: Forward<'a>,
}

/// Makes the job, and responds.
pub(crate) async fn respond(gateway: &Arc<Gateway>, deferred: Deferred<'_>) -> Result<Response, Problem> {
    let Deferred { prefer, given, known, version, address, mut head, body, forward } = deferred;
    let once = IdempotencyKey::of(&head.headers)?;
    head.headers.remove(IDEMPOTENCY_KEY);
    // A request that is repeated is about the version that was chosen at first, which may have been another one: what is
    // chosen now has no say in it. The control plane checks the size where the request is new.
    let size_max = match &once {
        Some(_) => known.route.versions.values().map(|version| version.limits.body).max(),
        None => None,
    };
    let size_max = size_max.unwrap_or(version.limits.body);
    let Taken { body, stored, size } = take(gateway, known.route.account, body, size_max).await?;
    // Its epoch is held until the job is there.
    let (blob, writing) = stored.unzip();
    // The body may have taken its time.
    let maker = maker(gateway, known, &head, given).await.ok_or(Code::InvalidKey)?;
    for_function(&mut head, address, &forward).ok_or(Code::InvalidRequest)?;
    let call = DeferredCall {
        account: known.route.account,
        function: known.route.function,
        target: address.target(),
        version: version.number,
        method: head.method.as_str().to_owned(),
        path: head.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        headers: pairs(&head.headers),
        body: body.map(|body| STANDARD.encode(body)),
        blob,
        size,
        caller: maker,
    };
    let mut extra = HeaderMap::new();
    if let Some(once) = once {
        let once = HeaderValue::try_from(once.to_string()).map_err(|_| Problem::from(Code::Internal))?;
        extra.insert(HeaderName::from_static(IDEMPOTENCY_KEY), once);
        // The same key of two accounts is two keys.
        if let Ok(account) = HeaderValue::try_from(call.account.to_string()) {
            extra.insert(headers::ACCOUNT, account);
        }
    }
    let job: Job =
        gateway.core.post_with("/internal/jobs", &call, extra, SUBMIT_WITHIN).await.map_err(|e| unavailable(&e))?;
    drop(writing);
    if let Some(wait) = prefer.wait
        && let Some(answer) = in_time(gateway, &job, wait, (&head.method, forward.prefix)).await?
    {
        return Ok(answer);
    }
    accepted(gateway, &job, prefer, address, &forward)
}

fn pairs(headers: &HeaderMap) -> Vec<(String, HeaderBytes)> {
    headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().into())).collect()
}

/// A request's body.
struct Taken {
    /// A short one.
    body: Option<Bytes>,
    /// A longer one, and under which epoch it was put.
    stored: Option<(Blob, Writing)>,
    size: ByteSize,
}

/// Reads the body; a longer one goes into the store.
async fn take(gateway: &Arc<Gateway>, account: AccountId, body: Source, size_max: ByteSize) -> Result<Taken, Problem> {
    let too_large =
        || Problem::of(Code::BodyTooLarge, protocol::Field::BODY, format!("the function accepts up to {size_max}"));
    if http_body::Body::size_hint(&body).lower() > size_max.0 {
        return Err(too_large());
    }
    let announced = http_body::Body::size_hint(&body).exact();
    let upload = Upload::new(body, gateway.config.upload_limits(size_max));
    let fault = |upload: &Upload| match upload.fault() {
        Some(Code::BodyTooLarge) => too_large(),
        Some(code) => code.into(),
        None => Code::BodyIncomplete.into(),
    };
    let mut body = upload.body().ok_or(Code::Internal)?;
    let mut start = BytesMut::new();
    while start.len() <= INLINE_MAX {
        let Some(frame) = body.frame().await else {
            let size = ByteSize(start.len() as u64);
            let body = (!start.is_empty()).then(|| start.freeze());
            return Ok(Taken { body, stored: None, size });
        };
        if let Ok(piece) = frame.map_err(|_| fault(&upload))?.into_data() {
            start.extend_from_slice(&piece);
        }
    }
    let mut charge = Charge::begin(gateway, account, announced, size_max).await?;
    charge.follow(&upload);
    let start = futures::stream::iter([Ok(start.freeze())]);
    let rest = BodyDataStream::new(body.map_err(|error| error.to_string()));
    let writing = gateway.epochs.writing().await.map_err(|error| unavailable(&error))?;
    let stored = gateway.store.put_stream(writing.epoch(), start.chain(rest), charge.granted()).await;
    let blob = stored.map_err(|error| match error {
        store::Error::TooLarge { .. } if charge.granted() < size_max => charge.exceeded(),
        store::Error::TooLarge { .. } => too_large(),
        store::Error::Source(_) => fault(&upload),
        error => {
            tracing::error!(%error, "a job's input cannot be stored");
            error.code().into()
        }
    })?;
    let size = blob.size;
    Ok(Taken { body: None, stored: Some((blob, writing)), size })
}

/// The function's own answer, where it comes in time.
async fn in_time(
    gateway: &Gateway,
    job: &Job,
    wait: Duration,
    (method, prefix): (&Method, &str),
) -> Result<Option<Response>, Problem> {
    let path = format!("/internal/jobs/{}?wait={}ms", job.id, Millis::from(wait).0);
    let waited = tokio::select! {
        waited = gateway.core.get::<Job>(&path, wait + WAIT_SLACK) => waited,
        () = gateway.cut.cancelled() => return Ok(None),
    };
    // Whatever happens while we wait: the job is there, and can be asked for.
    if !waited.is_ok_and(|job| job.state.ended()) {
        return Ok(None);
    }
    let request = Request::get(format!("/internal/jobs/{}/output", job.id)).body(fabric::empty());
    let request = request.map_err(|_| Problem::from(Code::Internal))?;
    let options = CallOptions { deadline: gateway.config.api_timeout.duration(), accept_within: WAIT_SLACK };
    let Ok(reply) = gateway.fabrics.core.call(Target::Core(CoreService::ControlPlane), request, options).await else {
        return Ok(None);
    };
    let (mut head, mut body) = reply.response.into_parts();
    if head.headers.contains_key(headers::NODE_PROBLEM) {
        let problem = placing::problem::read(body, gateway.placing.settings.problem_max).await;
        return Err(problem.unwrap_or_else(|| Code::Internal.into()));
    }
    let kept = [headers::RUN, headers::NODE].map(|name| (name, head.headers.get(name).cloned()));
    clean_response(&mut head.headers, prefix);
    // Of an answer to HEAD, and of 304, the length is that of another answer.
    let of_another = *method == Method::HEAD || head.status == StatusCode::NOT_MODIFIED;
    if !of_another {
        head.headers.remove(header::CONTENT_LENGTH);
    }
    for (name, value) in kept {
        value.map(|value| head.headers.insert(name, value));
    }
    let body = match take_whole(&mut body) {
        _ if of_another => ResponseBody::Empty,
        Whole::Yes(bytes) => ResponseBody::Full(bytes),
        Whole::Not(ahead) => ResponseBody::Core(ahead, body),
    };
    Ok(Some(http::Response::from_parts(head, body)))
}

/// 202, and where to ask.
fn accepted(
    gateway: &Gateway,
    job: &Job,
    prefer: Async,
    address: &FunctionAddress,
    forward: &Forward<'_>,
) -> Result<Response, Problem> {
    let mut answer = json(StatusCode::ACCEPTED, job);
    let location = format!("{}/api/v1/jobs/{}", origin(gateway, address, forward), job.id);
    let applied = match prefer.wait {
        Some(wait) => format!("respond-async, wait={}", wait.as_secs()),
        None => "respond-async".to_owned(),
    };
    let value = |text: String| HeaderValue::try_from(text).map_err(|_| Problem::from(Code::Internal));
    answer.headers_mut().insert(header::LOCATION, value(location)?);
    answer.headers_mut().insert(HeaderName::from_static("preference-applied"), value(applied)?);
    answer.headers_mut().append(header::VARY, HeaderValue::from_static("prefer"));
    Ok(answer)
}

/// The API is not on a function's own host. Where it is, is said by the configuration, never by a caller's header.
fn origin(gateway: &Gateway, address: &FunctionAddress, forward: &Forward<'_>) -> String {
    if address.shared_origin {
        return String::new();
    }
    if let Some(url) = &gateway.config.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let domain = &gateway.config.functions_domain;
    // Only a trusted proxy makes it https; it listens where browsers expect that.
    match forward.proto {
        "https" => format!("https://{domain}"),
        proto => format!("{proto}://{domain}:{}", gateway.port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&'static str]) -> Option<Option<u64>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("prefer", HeaderValue::from_static(value));
        }
        preferred(&headers).map(|prefer| prefer.wait.map(|wait| wait.as_secs()))
    }

    #[test]
    fn f24_header_values_are_kept_as_bytes() {
        let mut headers = HeaderMap::new();
        for value in ["Gr\u{fc}n".as_bytes(), b"Gr\xfcn", b"plain"] {
            headers.append("x-name", HeaderValue::from_bytes(value).unwrap());
        }
        let kept: Vec<Vec<u8>> = pairs(&headers).into_iter().map(|(_, value)| value.as_bytes().to_vec()).collect();
        assert_eq!(kept, ["Gr\u{fc}n".as_bytes(), b"Gr\xfcn", b"plain"]);
    }

    #[test]
    fn preferences_read_as_in_the_rfc() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["wait=5"]), None, "without respond-async it waits as long as it takes");
        assert_eq!(of(&["respond-async"]), Some(None));
        assert_eq!(of(&["Respond-Async, wait=5"]), Some(Some(5)));
        assert_eq!(of(&["wait=\"7\"; x=y", "respond-async; foo"]), Some(Some(7)));
        assert_eq!(of(&["respond-async, wait=99999"]), Some(Some(60)));
        assert_eq!(of(&["respond-async, wait=soon"]), Some(None));
    }
}
