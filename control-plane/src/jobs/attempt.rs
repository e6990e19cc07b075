//! One try of a job on one node: the very same ticket and fabric call as a gateway's run.

mod output;

use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric::{BodyError, CallError, CallOptions, EndFuture, NodeEndpoint, Target};
use futures::StreamExt as _;
use http::{HeaderValue, Method, Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, Limited, StreamBody};
use protocol::job::HeaderBytes;
use protocol::placement::Explanation;
use protocol::receipt::{Observation, Outcome, RunEnd};
use protocol::route::VersionRoute;
use protocol::{
    AccountId, ByteSize, Code, Digest, FunctionId, JobId, Lane, NodeId, Problem, RunId, Timestamp, headers,
};
use sea_orm::EntityTrait as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::fields;
use super::verdict::Came;
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::job_inputs;
use crate::tickets::RunTicket;

use output::{Broken, keep};

/// A node that is cut off for longer than its deadline is given this much more to say so itself.
const DEADLINE_SLACK: Duration = Duration::from_millis(50);
/// A call that has not been refused so long after `accept_within` has been accepted.
const ACCEPTED_AFTER: Duration = Duration::from_millis(50);
const TICKET_LIFE: Duration = Duration::from_secs(20);
/// A cancelled exchange stays open for 2 s, for the node's last word.
const LAST_WORD_WITHIN: Duration = Duration::from_secs(3);
const PROBLEM_MAX: usize = 64 << 10;
const PATH_KEPT: usize = 256;

/// A job on its way to a node.
#[derive(Debug, Clone)]
pub(super) struct Try {
    pub(super) job: JobId,
    pub(super) account: AccountId,
    pub(super) function: FunctionId,
    /// With the job's own limits.
    pub(super) version: VersionRoute,
    pub(super) node: NodeId,
    pub(super) lane: Lane,
    pub(super) run: RunId,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) host: String,
    pub(super) input_size: ByteSize,
    /// Why this node.
    pub(super) placement: Explanation,
    pub(super) cancel: CancellationToken,
}

/// What a try says while it goes on, and at its end.
#[derive(Debug)]
pub(super) enum Event {
    /// The node has taken it.
    Running { job: JobId, run: RunId, node: NodeId, at: Timestamp },
    /// It is over.
    Finished(Box<Finished>),
}

/// The end of a try.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) job: JobId,
    pub(super) run: RunId,
    pub(super) node: NodeId,
    pub(super) at: Timestamp,
    pub(super) came: Came,
    /// What the function answered.
    pub(super) answer: Option<Answer>,
    /// Our half of the bill; none where no node has begun it.
    pub(super) seen: Option<Observation>,
    /// The node may be sick: others are asked first for a while.
    pub(super) suspect: bool,
}

/// A function's answer, safe.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, HeaderBytes)>,
    pub(super) body: Option<Bytes>,
    pub(super) root: Option<Digest>,
    pub(super) size: ByteSize,
}

/// Does it, and says how it ended. Dropping the future cancels it on the node.
pub(super) async fn run(app: App, one: Try, events: mpsc::Sender<Event>) {
    let finished = Box::pin(attempt(&app, &one, &events)).await;
    // Nobody listens when the lead was lost: then the rows tell.
    let _ = events.send(Event::Finished(Box::new(finished))).await;
}

async fn attempt(app: &App, one: &Try, events: &mpsc::Sender<Event>) -> Finished {
    let (began, received) = (Instant::now(), Timestamp::now());
    let mut finished = Finished {
        job: one.job,
        run: one.run,
        node: one.node,
        at: received,
        came: Came::Cancelled,
        answer: None,
        seen: None,
        suspect: false,
    };
    let Some(fabrics) = &app.fabrics else { return finished };
    let request = match request(app, one).await {
        Ok(request) => request,
        Err(why) => {
            finished.came = Came::Lost(Code::StorageUnavailable, why);
            finished.at = Timestamp::now();
            return finished;
        }
    };
    let options = CallOptions {
        deadline: one.version.limits.timeout.duration() + DEADLINE_SLACK,
        accept_within: app.config.job_accept_within.duration(),
    };
    let (call, end) = fabrics.nodes.start(Target::Node(one.node, NodeEndpoint::Run), request, options);
    let called = tokio::select! {
        called = called(app, one, call, events) => Some(called),
        () = one.cancel.cancelled() => None,
    };
    let head = began.elapsed();
    finished.suspect =
        matches!(&called, Some(Err(error)) if !matches!(error, CallError::Busy(_) | CallError::Deadline));
    let came = match called {
        None => Came::Cancelled,
        Some(Err(error)) if error.surely_not_started() => Came::NotTaken(error.to_string()),
        Some(Err(error)) => after_error(&error),
        Some(Ok(response)) => {
            let read = tokio::select! {
                read = read(app, one, response) => Some(read),
                () = one.cancel.cancelled() => None,
            };
            match read {
                None => Came::Cancelled,
                Some((came, answer)) => {
                    finished.answer = answer;
                    came
                }
            }
        }
    };
    finished.at = Timestamp::now();
    if matches!(came, Came::NotTaken(_)) {
        finished.came = came;
        return finished;
    }
    let end = last_word(end).await;
    finished.came = with_last_word(came, end.as_ref());
    finished.suspect |= matches!(finished.came, Came::Lost(..));
    if !matches!(finished.came, Came::Done { outcome: Outcome::Succeeded, .. }) {
        finished.answer = None;
    }
    finished.seen = Some(observation(app, one, received, (head, began.elapsed()), &finished, end));
    finished
}

/// Waits for the answer's head. Says that it runs as soon as that is sure.
async fn called(
    app: &App,
    one: &Try,
    call: impl Future<Output = Result<(Response<fabric::Body>, fabric::Peer), CallError>>,
    events: &mpsc::Sender<Event>,
) -> Result<Response<fabric::Body>, CallError> {
    let mut call = std::pin::pin!(call);
    let running = || Event::Running { job: one.job, run: one.run, node: one.node, at: Timestamp::now() };
    let sure = app.config.job_accept_within.duration() + ACCEPTED_AFTER;
    if let Ok(called) = tokio::time::timeout(sure, call.as_mut()).await {
        let (response, _) = called?;
        if !response.headers().contains_key(headers::NODE_PROBLEM) {
            let _ = events.send(running()).await;
        }
        return Ok(response);
    }
    let _ = events.send(running()).await;
    call.await.map(|(response, _)| response)
}

/// The function's request, with a ticket for this node.
async fn request(app: &App, one: &Try) -> Result<Request<fabric::Body>, String> {
    let input = job_inputs::Entity::find_by_id(Col(one.job)).one(app.db.read()).await.map_err(|e| e.to_string())?;
    let input = input.ok_or("the input is gone")?;
    let body = match (input.body, input.root) {
        (Some(body), _) => fabric::full(body),
        (None, None) => fabric::empty(),
        (None, Some(root)) => {
            let object = app.store.get(root.0).await.map_err(|error| error.to_string())?;
            let frames = object.map(|piece| piece.map(Frame::data).map_err(|error| BodyError::Source(error.into())));
            fabric::Body::new(StreamBody::new(frames))
        }
    };
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(one.method.as_bytes()).map_err(|error| error.to_string())?;
    *request.uri_mut() = one.path.parse().map_err(|_| "the path is malformed")?;
    let head = request.headers_mut();
    *head = fields::to_map(&input.headers);
    let text = |text: String| HeaderValue::try_from(text).map_err(|error| error.to_string());
    // A call that is answered later has one.
    if !head.contains_key(header::HOST) {
        head.insert(header::HOST, text(one.host.clone())?);
    }
    if one.input_size.0 > 0 {
        head.insert(header::CONTENT_LENGTH, text(one.input_size.0.to_string())?);
    }
    let Try { run, node, lane, account, function, version, .. } = one;
    let ticket = RunTicket { run: *run, node: *node, lane: *lane, account: *account, function: *function, version };
    head.insert(headers::TICKET, text(app.tickets.run(ticket, Timestamp::now(), TICKET_LIFE).0)?);
    Ok(request)
}

fn after_error(error: &CallError) -> Came {
    match error {
        CallError::Deadline => timed_out(),
        CallError::Aborted(why) => Came::Lost(Code::NodeFailed, why.clone()),
        error => Came::Lost(Code::NodeLost, error.to_string()),
    }
}

fn timed_out() -> Came {
    Came::Done { outcome: Outcome::TimedOut, status: None, code: Some(Code::TimedOut), why: String::new() }
}

/// A code that somebody answered instead of the function.
fn coded(code: Code, why: String) -> Came {
    match (code, Outcome::of(code)) {
        (Code::Overloaded | Code::Draining, _) => Came::NotTaken(why),
        (_, Outcome::PlatformFailed) => Came::Lost(code, why),
        (_, Outcome::TimedOut) => timed_out(),
        (_, _) => Came::Done { outcome: Outcome::Failed, status: None, code: Some(code), why },
    }
}

/// Reads the answer to its end.
async fn read(app: &App, one: &Try, response: Response<fabric::Body>) -> (Came, Option<Answer>) {
    let (mut head, body) = response.into_parts();
    if let Some(code) = head.headers.get(headers::NODE_PROBLEM) {
        let code = code.to_str().unwrap_or_default();
        let code = Code::ALL.iter().copied().find(|one| one.as_str() == code).unwrap_or(Code::NodeFailed);
        let body = Limited::new(body, PROBLEM_MAX).collect().await;
        let problem = body.ok().and_then(|body| serde_json::from_slice::<Problem>(&body.to_bytes()).ok());
        return (coded(code, problem.map(|problem| problem.detail).unwrap_or_default()), None);
    }
    let size_max = one.version.limits.body;
    let of_another = one.method == "HEAD" || head.status == http::StatusCode::NOT_MODIFIED;
    match Box::pin(keep(app, one.account, body, size_max)).await {
        Ok((body, root, size)) => {
            if !of_another {
                head.headers.remove(header::CONTENT_LENGTH);
            }
            let headers = fields::from_map(&head.headers);
            let status = head.status.as_u16();
            let answer = Answer { status, headers, body, root, size };
            let why = String::new();
            (Came::Done { outcome: Outcome::Succeeded, status: Some(status), code: None, why }, Some(answer))
        }
        Err(Broken::TooLarge) => {
            let why = format!("the answer is larger than {size_max}");
            let outcome = Outcome::Failed;
            (Came::Done { outcome, status: None, code: Some(Code::ResponseTooLarge), why }, None)
        }
        Err(Broken::Quota(problem)) => {
            let why = format!("the answer cannot be kept: {}", problem.detail);
            (Came::Done { outcome: Outcome::Failed, status: None, code: Some(problem.code), why }, None)
        }
        Err(Broken::Body(BodyError::Deadline)) => (timed_out(), None),
        Err(Broken::Body(error @ BodyError::Lost)) => (Came::Lost(Code::NodeLost, error.to_string()), None),
        Err(Broken::Body(error)) => (Came::Lost(Code::NodeFailed, error.to_string()), None),
        Err(Broken::Store(why)) => (Came::Lost(Code::StorageUnavailable, why), None),
    }
}

async fn last_word(end: EndFuture) -> Option<RunEnd> {
    let end = tokio::time::timeout(LAST_WORD_WITHIN, end).await.ok()?;
    protocol::wire::read(&end.payload?).ok()
}

/// The node knows why an answer broke off.
fn with_last_word(came: Came, end: Option<&RunEnd>) -> Came {
    let Some(end) = end else { return came };
    let why = || end.detail.clone().unwrap_or_default();
    match (came, end.outcome) {
        (came @ (Came::Cancelled | Came::NotTaken(_)), _) => came,
        (_, outcome @ (Outcome::Failed | Outcome::TimedOut)) => {
            Came::Done { outcome, status: None, code: end.code, why: why() }
        }
        (Came::Lost(code, _), Outcome::PlatformFailed) => Came::Lost(end.code.unwrap_or(code), why()),
        (Came::Done { outcome: Outcome::Succeeded, .. }, Outcome::PlatformFailed) => {
            Came::Lost(end.code.unwrap_or(Code::NodeFailed), why())
        }
        (came, _) => came,
    }
}

/// Our half of the bill. What the platform lost is billed to nobody.
fn observation(
    app: &App,
    one: &Try,
    received: Timestamp,
    (head, wall): (Duration, Duration),
    finished: &Finished,
    end: Option<RunEnd>,
) -> Observation {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let (outcome, code) = match &finished.came {
        Came::Done { outcome, code, .. } => (*outcome, *code),
        Came::Lost(code, _) => (Outcome::PlatformFailed, Some(*code)),
        Came::NotTaken(_) | Came::Cancelled => (Outcome::Cancelled, None),
    };
    let size = finished.answer.as_ref().map_or(ByteSize(0), |answer| answer.size);
    let status = finished.answer.as_ref().map(|answer| answer.status);
    let mut seen = Observation {
        run: one.run,
        gateway: app.instance,
        account: one.account,
        function: one.function,
        version: one.version.version,
        version_number: one.version.number,
        node: Some(one.node),
        lane: one.lane,
        received,
        head_us: micros(head),
        wall_us: micros(wall),
        outcome,
        status: status.or(code.map(Code::status)).unwrap_or(0),
        code,
        method: one.method.clone(),
        path: one.path.split('?').next().unwrap_or_default().chars().take(PATH_KEPT).collect(),
        bytes_in: one.input_size,
        bytes_out: size,
        end: None,
        placement: Some(one.placement.clone()),
        job: Some(one.job),
        limits: Some(one.version.limits),
    };
    seen.take_end(end);
    seen
}
