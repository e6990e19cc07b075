//! The run path, as a story: who asks, what for, may it run, where, and the response streamed back.
//!
//! ```text
//! authenticate -> route -> limits -> [ rank -> ticket -> node -> response -> observation ]
//!                                      an attempt of the crate `placing`
//! ```
//!
//! The warm path touches no database and waits for no JetStream.

mod download;
mod live;
mod response;
mod retry;
mod send;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use fabric::profile::{self, Part};
use http::Version;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http_body::Body as _;
use placing::{HasAttempt as _, RunFacts};
use protocol::route::{Grant, Scope, VersionRoute};
use protocol::words::count;
use protocol::{ByteSize, Code, Problem, RunId, RunPrincipal, RunSource};

use crate::address::FunctionAddress;
use crate::headers::{Forward, bearer_key, for_function};
use crate::respond_async::{self, Deferred};
use crate::response::{Response, refuse};
use crate::routes::Known;
use crate::state::Gateway;
use crate::upload::{Source, Upload, UploadLimits};

use live::LiveRun;
use response::{Asked, Timing, mark, to_caller};
use send::{Outbound, send};

/// A request for a function.
pub(crate) struct Call {
    pub(crate) address: FunctionAddress,
    pub(crate) head: Parts,
    pub(crate) body: Source,
    pub(crate) client: IpAddr,
    pub(crate) host: String,
    pub(crate) proto: &'static str,
    pub(crate) received: Instant,
    pub(crate) caller: Caller,
}

/// Who calls.
pub(crate) enum Caller {
    /// Whoever `Authorization` names. Cookies never count here.
    Headers,
    /// Known already: a test call of the portal.
    Granted(Arc<Grant>),
}

impl Caller {
    fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Headers => None,
            Self::Granted(grant) => Some(grant),
        }
    }

    fn source(&self) -> RunSource {
        match self {
            Self::Headers => RunSource::Call,
            Self::Granted(_) => RunSource::Test,
        }
    }
}

/// A run that was refused: the problem, and the run where there was one.
struct Refused {
    problem: Problem,
    run: Option<RunId>,
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self { problem, run: None }
    }
}

impl From<Code> for Refused {
    fn from(code: Code) -> Self {
        Problem::from(code).into()
    }
}

/// Responds to a call of a function.
pub(crate) async fn respond(gateway: &Arc<Gateway>, call: Call) -> Response {
    let shared_origin = call.address.shared_origin;
    let mut answer = match run(gateway, call).await {
        Ok(answer) => {
            gateway.meters.answered(None);
            answer
        }
        Err(Refused { problem, run }) => {
            gateway.meters.answered(Some(problem.code));
            let problem = match run {
                Some(run) => problem.about(run),
                None => problem,
            };
            let mut answer = refuse(&problem);
            if let Some(run) = run {
                mark(answer.headers_mut(), run, None);
            }
            answer
        }
    };
    if shared_origin && !answer.headers().contains_key(header::CONTENT_SECURITY_POLICY) {
        answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    }
    answer
}

async fn run(gateway: &Arc<Gateway>, call: Call) -> Result<Response, Refused> {
    // Who asks, and what for.
    let Call { address, mut head, body, client, host, proto, received, caller } = call;
    let asked = profile::around(Part::Routing, permitted(gateway, &address, &head.headers, &caller)).await?;
    let (known, principal) = asked;
    let Some(version) = known.route.resolve(address.reference.as_ref(), rand::random_range(0..100)) else {
        return Err(no_version(&address, &known).into());
    };

    let prefix = address.prefix(head.uri.path()).to_owned();

    // Later will do: a job.
    if let Some(prefer) = respond_async::preferred(&head.headers)
        && respond_async::maker(gateway, &known, &head, caller.grant()).await.is_some()
    {
        let forward = Forward { client, host: &host, proto, prefix: &prefix };
        let given = caller.grant();
        let deferred = Deferred { prefer, given, known: &known, version, address: &address, head, body, forward };
        return Ok(Box::pin(respond_async::respond(gateway, deferred)).await?);
    }

    // May it run now, with this body.
    let Some(permit) = known.concurrency.enter(version.limits.concurrency) else {
        let runs = count(version.limits.concurrency, "run");
        return Err(Problem::new(Code::ConcurrencyLimit, format!("the function may have {runs} at once")).into());
    };
    if body.size_hint().lower() > version.limits.body.0 {
        return Err(too_large(version.limits.body).into());
    }
    let run = RunId::new();
    let refused = |problem: Problem| Refused { problem, run: Some(run) };
    let input = ByteSize(body.size_hint().lower());
    let mut kept = None;
    let upload = send::has_body(&head.method, &body).then(|| {
        kept = gateway.bounds.keep(known.route.account, body.size_hint().exact());
        Upload::new(body, upload_limits(gateway, version, kept.is_some()))
    });
    let deadline = received + version.limits.timeout.duration();

    // As the function shall see it.
    let facts = RunFacts {
        method: head.method.as_str(),
        path: address.rest(head.uri.path()),
        source: Some(caller.source()),
        principal: Some(&principal),
        ..RunFacts::of(run, known.route.account, known.route.function, version)
    };
    let attempt = gateway.placing.begin(&facts, version.artifact, received);
    let mut live = LiveRun::begin(Arc::clone(gateway), attempt, upload.clone(), permit);
    let forward = Forward { client, host: &host, proto, prefix: &prefix };
    let trailers = head.version >= Version::HTTP_11 && fabric::wants_trailers(&head.headers);
    for_function(&mut head, &address, &forward).ok_or_else(|| refused(Code::InvalidRequest.into()))?;

    // To a node, unless the body breaks off or we are shut down first.
    let placed = Instant::now();
    let out = Outbound { run, known: &known, version, head: &head, upload: upload.as_ref(), input, deadline };
    let attempt = live.attempt().ok_or_else(|| refused(Code::Internal.into()))?;
    let reply = tokio::select! {
        biased;
        reply = send(gateway, &out, attempt) => reply,
        code = broken(upload.as_ref()) => Err(body_problem(code, version)),
        () = gateway.cut.cancelled() => Err(Code::Draining.into()),
    };
    let reply = match reply {
        Ok(reply) => reply,
        Err(problem) => {
            // The body's fault is the cause where there is one; what the node made of it is not.
            let fault = upload.as_ref().and_then(Upload::fault);
            let problem = fault.map_or(problem, |code| body_problem(code, version));
            live.refused(problem.code);
            return Err(refused(problem));
        }
    };
    if let Some(upload) = &upload {
        upload.forget();
    }
    drop(kept);

    // The response, streamed back.
    let timing = Timing { received, placed, answered: Instant::now() };
    timing.count(&gateway.meters);
    let asked = Asked { run, method: &head.method, prefix: &prefix, version, trailers, timing };
    profile::within(Part::Response, || to_caller(reply, live, &asked)).map_err(|code| refused(code.into()))
}

/// The function, where the caller may run it, and who that is. A private function is as one that does not exist, to
/// callers without a credential (401) and to those of other accounts (404).
async fn permitted(
    gateway: &Arc<Gateway>,
    address: &FunctionAddress,
    headers: &HeaderMap,
    caller: &Caller,
) -> Result<(Known, RunPrincipal), Problem> {
    let found = gateway.routes.find(&address.account, &address.function).await;
    if let Ok(known) = &found
        && known.route.public
        && matches!(caller, Caller::Headers)
    {
        return found.map(|known| (known, RunPrincipal::Public));
    }
    let grant = match (caller, bearer_key(headers), &found) {
        (Caller::Granted(grant), ..) => Arc::clone(grant),
        (Caller::Headers, Some(key), _) => gateway.keys.grant_of_key(key).await?,
        (Caller::Headers, None, Ok(_)) => return Err(Code::Unauthenticated.into()),
        (Caller::Headers, None, Err(problem)) if problem.code == Code::FunctionNotFound => {
            return Err(Code::Unauthenticated.into());
        }
        (Caller::Headers, None, Err(problem)) => return Err(problem.clone()),
    };
    let known = found.map_err(|problem| renamed(gateway, address, &grant).unwrap_or(problem))?;
    if grant.account != known.route.account {
        return Err(Code::FunctionNotFound.into());
    }
    if !grant.allows(Scope::Invoke) {
        return Err(Problem::new(Code::Forbidden, "this key lacks the scope `invoke`"));
    }
    if grant.function.is_some_and(|only| only != known.route.function) {
        return Err(Problem::new(Code::Forbidden, "this key is for another function"));
    }
    let principal = RunPrincipal::from(&grant.principal);
    Ok((known, principal))
}

/// A function is not found at the name that it had; who may call it is told what it is called now.
fn renamed(gateway: &Gateway, address: &FunctionAddress, grant: &Grant) -> Option<Problem> {
    let FunctionAddress { account, function, .. } = address;
    let left = gateway.routes.renamed(account, function)?;
    let of_caller = grant.account == left.account && grant.function.is_none_or(|only| only == left.function);
    let now = left.renamed.as_ref().filter(|_| of_caller && grant.allows(Scope::Invoke))?;
    let why = format!("{account}/{function} was renamed to `{now}`");
    Some(Problem::new(Code::FunctionNotFound, why).with_help(format!("Call /f/{account}/{now}/ instead.")))
}

fn no_version(address: &FunctionAddress, known: &Known) -> Problem {
    let FunctionAddress { account, function, reference, .. } = address;
    if known.route.may_mean(reference.as_ref(), &known.unknown) {
        return Problem::new(Code::NotUnderstood, "this gateway is too old for what the version asks for");
    }
    match reference {
        Some(reference) => Problem::new(Code::VersionNotFound, format!("{account}/{function} has no `{reference}`")),
        None => Problem::new(Code::VersionNotFound, format!("{account}/{function} has no live version yet")),
    }
}

fn too_large(limit: ByteSize) -> Problem {
    Problem::of(Code::BodyTooLarge, protocol::Field::BODY, format!("the function accepts up to {limit}"))
}

fn body_problem(code: Code, version: &VersionRoute) -> Problem {
    match code {
        Code::BodyTooLarge => too_large(version.limits.body),
        code => code.into(),
    }
}

fn upload_limits(gateway: &Gateway, version: &VersionRoute, keep: bool) -> UploadLimits {
    UploadLimits {
        size_max: version.limits.body,
        idle: gateway.config.body_idle.duration(),
        // A stream may say little for long; it ends with the run.
        pace: None,
        replay_max: if keep { gateway.config.replay_max } else { ByteSize(0) },
    }
}

async fn broken(upload: Option<&Upload>) -> Code {
    match upload {
        Some(upload) => upload.broken().await,
        None => std::future::pending().await,
    }
}
