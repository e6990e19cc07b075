//! One try of a job on one node: its input goes there as any run's request, and what comes back goes into the store and
//! into a step.

mod output;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use fabric::{BodyError, Fabric};
use futures::StreamExt as _;
use http::{HeaderValue, Method, Request, Response, header};
use http_body::Frame;
use http_body_util::StreamBody;
use placing::{Attempt, Concluded, Fate, NotTaken, Reservation, ResponseBody, RunFacts, Verdict};
use protocol::job::HeaderBytes;
use protocol::placement::Explanation;
use protocol::receipt::Observation;
use protocol::route::VersionRoute;
use protocol::{AccountId, ByteSize, Code, FunctionId, JobId, Lane, NodeId, RunId, RunPrincipal, RunSource, Timestamp};
use sea_orm::EntityTrait as _;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::bodies::Put;
use super::fields;
use super::verdict::Came;
use crate::App;
use crate::db::columns::Col;
use crate::db::entities::job_inputs;
use crate::objects::{self, Address};

use output::{Broken, keep};

/// A job on its way to a node.
#[derive(Debug)]
pub(super) struct Try {
    pub(super) job: JobId,
    pub(super) account: AccountId,
    pub(super) function: FunctionId,
    /// With the job's own limits.
    pub(super) version: VersionRoute,
    pub(super) run: RunId,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) source: RunSource,
    /// On whose behalf, where that is known.
    pub(super) principal: Option<RunPrincipal>,
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
    /// It was not taken because its account holds its share of the node.
    pub(super) share_exceeded: bool,
}

/// A function's answer, safe.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, HeaderBytes)>,
    pub(super) body: Option<Bytes>,
    pub(super) put: Option<Put>,
    pub(super) size: ByteSize,
}

/// Does it, and says how it ended. Dropping the future cancels it on the node.
pub(super) async fn run(app: App, one: Try, to: Reservation, events: mpsc::Sender<Event>) {
    let finished = Box::pin(attempt(&app, &one, to, &events)).await;
    // Nobody listens when the lead was lost: then the rows tell.
    let _ = events.send(Event::Finished(Box::new(finished))).await;
}

async fn attempt(app: &App, one: &Try, to: Reservation, events: &mpsc::Sender<Event>) -> Finished {
    let (node, lane) = (to.node(), to.lane());
    let finished = |came| {
        let (at, answer, seen) = (Timestamp::now(), None, None);
        Finished { job: one.job, run: one.run, node, at, came, answer, seen, share_exceeded: false }
    };
    let Some(fabrics) = &app.fabrics else { return finished(Came::Cancelled { begun: false }) };
    let mut attempt = begin(app, one, lane);
    let request = match request(app, one).await {
        Ok(request) => request,
        Err(why) => return finished(Came::Lost(Code::StorageUnavailable, why)),
    };
    let sent = tokio::select! {
        sent = send(&fabrics.nodes, one, &mut attempt, to, request, events) => Some(sent),
        () = one.cancel.cancelled() => None,
    };
    let answer = match sent {
        None => None,
        Some(Err(verdict)) if verdict.surely_not_started() => {
            let share_exceeded = verdict.fate == Fate::NotTaken(NotTaken::ShareExceeded);
            return Finished { share_exceeded, ..finished(Came::of(verdict, 0)) };
        }
        Some(Err(verdict)) => {
            attempt.fail(verdict);
            None
        }
        Some(Ok(response)) => {
            let poured = pour(app, one, response, attempt).await;
            attempt = poured.0;
            poured.1
        }
    };
    attempt.leave();
    let at = Timestamp::now();
    attempt.last_word().await;
    let Concluded { seen, verdict } = attempt.conclude();
    let answer = answer.filter(|_| verdict.fate == Fate::Answered);
    let came = match Came::of(verdict, seen.status) {
        // The node told of it: it had begun.
        Came::Cancelled { .. } => Came::Cancelled { begun: seen.end.is_some() },
        came => came,
    };
    Finished { at, answer, seen: Some(seen), ..finished(came) }
}

/// The run of this try, before it is sent.
fn begin(app: &App, one: &Try, lane: Lane) -> Attempt {
    let facts = RunFacts {
        lane,
        job: Some(one.job),
        method: &one.method,
        path: &one.path,
        source: Some(one.source),
        principal: one.principal.as_ref(),
        ..RunFacts::of(one.run, one.account, one.function, &one.version)
    };
    let mut attempt = app.placing.begin(&facts, one.version.artifact, Instant::now());
    attempt.placed(one.placement.clone());
    attempt.bytes_in(one.input_size);
    attempt
}

/// Sends it, and waits for the answer's head. Says that it runs as soon as that is sure.
async fn send(
    over: &Fabric,
    one: &Try,
    attempt: &mut Attempt,
    to: Reservation,
    request: Request<fabric::Body>,
    events: &mpsc::Sender<Event>,
) -> Result<Response<fabric::Body>, Verdict> {
    let node = to.node();
    let running = || Event::Running { job: one.job, run: one.run, node, at: Timestamp::now() };
    let (accepts, accepted) = oneshot::channel();
    let deadline = Instant::now() + one.version.limits.timeout.duration();
    let accepts = move || {
        let _ = accepts.send(());
    };
    let sent = attempt.send(over, to, request, deadline, accepts);
    let told = async {
        let accepted = accepted.await.is_ok();
        if accepted {
            let _ = events.send(running()).await;
        }
        accepted
    };
    let (sent, told) = tokio::join!(sent, told);
    if sent.is_ok() && !told {
        let _ = events.send(running()).await;
    }
    sent
}

/// The function's request.
async fn request(app: &App, one: &Try) -> Result<Request<fabric::Body>, String> {
    let input = job_inputs::Entity::find_by_id(Col(one.job)).one(app.db.read()).await.map_err(|e| e.to_string())?;
    let input = input.ok_or("the input is gone")?;
    let body = match (input.body, Address::of(input.blob, input.root)) {
        (Some(body), _) => fabric::full(body),
        (None, None) => fabric::empty(),
        (None, Some(address)) => {
            let object = objects::read(app, address).await.map_err(|error| error.to_string())?;
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
    Ok(request)
}

/// Keeps the answer as it comes, to its end. What is not whole is nobody's answer.
async fn pour(app: &App, one: &Try, response: Response<fabric::Body>, attempt: Attempt) -> (Attempt, Option<Answer>) {
    let (mut head, body) = response.into_parts();
    let size_max = one.version.limits.body;
    let mut body = ResponseBody::new(body, VecDeque::new(), size_max, attempt);
    let kept = tokio::select! {
        kept = Box::pin(keep(app, one.account, &mut body, size_max)) => Some(kept),
        () = one.cancel.cancelled() => None,
    };
    let mut attempt = body.into_holder();
    match kept {
        Some(Ok((body, put, size))) => {
            let of_another = one.method == "HEAD" || head.status == http::StatusCode::NOT_MODIFIED;
            if !of_another {
                head.headers.remove(header::CONTENT_LENGTH);
            }
            let headers = fields::from_map(&head.headers);
            return (attempt, Some(Answer { status: head.status.as_u16(), headers, body, put, size }));
        }
        None => attempt.fail(Verdict::CANCELLED),
        // The attempt has seen why.
        Some(Err(Broken::Body(_))) => {}
        Some(Err(Broken::TooLarge)) => attempt.fail(Verdict::too_large(size_max)),
        Some(Err(Broken::Quota(problem))) => {
            attempt.fail(Verdict::failed(problem.code, format!("the answer cannot be kept: {}", problem.detail)));
        }
        Some(Err(Broken::Store(why))) => attempt.fail(Verdict::lost(Code::StorageUnavailable, why)),
    }
    (attempt, None)
}
