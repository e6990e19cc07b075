//! The API, proxied to the control plane, streaming both ways; and who asks, for the calls that end here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fabric::{CallError, CallOptions, CoreService, Target};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request};
use http_body::Body as _;
use protocol::route::{Grant, Scope};
use protocol::{ByteSize, Code, Digest, Field, Name, Problem, headers};

use crate::headers::{Forward, bearer_key, cookie, set_forwarded, strip_ours};
use crate::pieces::{Whole, take_whole};
use crate::portal;
use crate::quiet::Quiet;
use crate::response::{Response, ResponseBody};
use crate::state::Gateway;
use crate::stranger;
use crate::upload::{Source, Upload};

/// The control plane takes a call within so long, or counts as away.
const ACCEPT_WITHIN: Duration = Duration::from_secs(2);

/// Passes a request on to the control plane.
pub(crate) async fn proxy(
    gateway: &Arc<Gateway>,
    mut head: Parts,
    body: Source,
    forward: &Forward<'_>,
    certificate: Option<Digest>,
) -> Result<Response, Problem> {
    check_origin(&head, forward.host)?;
    let size_max = gateway.config.api_body_max;
    if body.size_hint().lower() > size_max.0 {
        return Err(too_large(size_max));
    }
    let body = stranger::vet(gateway, &head, body, forward.client).await?;
    // Nothing has been read of a body whose sender shows a credential.
    let asked = gateway.refusals.asked(&head);
    if let Some(refusal) = asked.and_then(|asked| gateway.refusals.repeat(&asked, Instant::now())) {
        return Ok(refusal);
    }
    let account = head.headers.get(headers::ACCOUNT).cloned();
    fabric::strip_hop_by_hop(&mut head.headers);
    strip_ours(&mut head.headers);
    set_forwarded(&mut head.headers, forward);
    head.headers.remove(header::EXPECT);
    if let Some(account) = account {
        head.headers.insert(headers::ACCOUNT, account);
    }
    if let Some(key) = certificate.and_then(|key| HeaderValue::try_from(key.to_string()).ok()) {
        head.headers.insert(headers::CERTIFICATE, key);
    }
    let upload = (!body.is_end_stream()).then(|| Upload::new(body, gateway.config.upload_limits(size_max)));
    let body = upload.as_ref().and_then(Upload::body);
    let body = body.unwrap_or_else(fabric::empty);
    let request = Request::from_parts(head, body);
    let options = CallOptions { deadline: gateway.config.api_timeout.duration(), accept_within: ACCEPT_WITHIN };
    let reply = gateway.fabrics.core.call(Target::Core(CoreService::ControlPlane), request, options);
    let reply = tokio::select! {
        reply = reply => reply,
        () = gateway.cut.cancelled() => return Err(Code::Draining.into()),
    };
    // Where the body broke off, that is the cause; what the control plane made of it is not.
    match upload.as_ref().and_then(Upload::fault) {
        Some(Code::BodyTooLarge) => return Err(too_large(size_max)),
        Some(code) => return Err(code.into()),
        None => {}
    }
    let reply = reply.map_err(|error| match error {
        CallError::Unsendable(_) => Problem::from(Code::HeadersTooLarge),
        error => {
            static AWAY: Quiet = Quiet::new();
            if let Some(left_out) = AWAY.now() {
                tracing::warn!(%error, left_out, "the control plane did not answer");
            }
            Problem::from(Code::ControlPlaneUnavailable)
        }
    })?;
    let (mut head, mut body) = reply.response.into_parts();
    fabric::strip_hop_by_hop(&mut head.headers);
    secure(&mut head.headers);
    head.headers.extend(portal::release().map(|release| (HeaderName::from_static(headers::PORTAL), release)));
    let body = match take_whole(&mut body) {
        Whole::Yes(bytes) => {
            if let Some(asked) = asked {
                gateway.refusals.note(asked, &head, &bytes, Instant::now());
            }
            ResponseBody::Full(bytes)
        }
        Whole::Not(ahead) => ResponseBody::Core(ahead, body),
    };
    Ok(http::Response::from_parts(head, body))
}

/// Whoever asks, with this scope: a key, or a log-in that names its account.
pub(crate) async fn grant(
    gateway: &Arc<Gateway>,
    head: &Parts,
    host: &str,
    scope: Scope,
) -> Result<Arc<Grant>, Problem> {
    let grant = match bearer_key(&head.headers) {
        Some(key) => gateway.keys.grant_of_key(key).await?,
        None => {
            check_origin(head, host)?;
            let token = cookie(&head.headers, headers::SESSION_COOKIE).ok_or(Code::Unauthenticated)?;
            let account = head.headers.get(headers::ACCOUNT).ok_or(Code::MissingAccount)?;
            let account: Name = account.to_str().ok().and_then(|name| name.parse().ok()).ok_or(Code::MissingAccount)?;
            gateway.keys.grant_of_session(token, account).await?
        }
    };
    if !grant.allows(scope) {
        return Err(Code::Forbidden.into());
    }
    Ok(grant)
}

/// The same asker's grant, once a body has come that may have taken its time.
pub(crate) async fn grant_again(
    gateway: &Arc<Gateway>,
    head: &Parts,
    host: &str,
    scope: Scope,
    before: &Grant,
) -> Result<Arc<Grant>, Problem> {
    let now = grant(gateway, head, host, scope).await?;
    // An account's name may have become another's.
    if now.account == before.account { Ok(now) } else { Err(Code::InvalidKey.into()) }
}

/// Refuses changes that another site's page makes with our cookie. A key is never sent by itself.
fn check_origin(head: &Parts, host: &str) -> Result<(), Problem> {
    let by_key = bearer_key(&head.headers).is_some();
    if by_key || protocol::origin::is_own(&head.method, host, &head.headers) {
        Ok(())
    } else {
        Err(Code::CrossSite.into())
    }
}

fn too_large(size_max: ByteSize) -> Problem {
    Problem::of(Code::BodyTooLarge, Field::BODY, format!("the API accepts up to {size_max}"))
        .with_help("Send less; artifacts go to POST /api/v1/artifacts.")
}

/// Answers of the API are data: never a page, a script or a frame.
fn secure(headers: &mut HeaderMap) {
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::CACHE_CONTROL, "no-store");
    set(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
}

/// Refuses a query where nothing is asked by one: it would be passed over.
pub(crate) fn no_query(uri: &http::Uri) -> Result<(), Problem> {
    let name = uri.query().unwrap_or_default().split(['&', '=']).find(|name| !name.is_empty());
    name.map_or(Ok(()), |name| {
        let field = Field::from(name);
        let detail = format!("The query parameter `{field}` is unknown: none is known here.");
        Err(Problem::of(Code::InvalidRequest, field, detail))
    })
}

/// Refuses a body that is said to be something else than JSON: a page of another site can send such a one.
pub(crate) fn only_json(headers: &HeaderMap) -> Result<(), Problem> {
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    match kinds.all(|kind| protocol::body::is_json(kind.as_bytes())) {
        true => Ok(()),
        false => Err(Problem::of(Code::InvalidRequest, "Content-Type", "The body is not `application/json`.")),
    }
}

/// Answers a method that a resource of the gateway does not have.
pub(crate) fn only(method: &Method, allowed: &Method) -> Result<(), Problem> {
    if method == allowed { Ok(()) } else { Err(Problem::new(Code::MethodNotAllowed, format!("only {allowed}"))) }
}
