//! Finds a node that takes the run: ranks, makes a ticket for the first, sends, and goes on to the next while that is
//! safe.

use std::time::{Duration, Instant};

use fabric::{CallError, CallOptions, NodeEndpoint, Target};
use http::request::Parts;
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Limited};
use learning::Learning;
use protocol::placement::Candidate;
use protocol::ticket::RunTicket;
use protocol::{ByteSize, Code, NodeId, Problem, RunId, Timestamp, headers};
use scheduler::{Memo, RunRequest};

use super::live::LiveRun;
use super::verdict::{Verdict, after_error, after_problem};
use crate::routes::Known;
use crate::state::Gateway;
use crate::upload::Upload;

/// A node that is cut off for longer than its deadline is given this much more to say so itself: its answer carries
/// what the run used.
const DEADLINE_SLACK: Duration = Duration::from_millis(50);
const PAUSE_MIN: Duration = Duration::from_millis(4);
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// The largest problem document of a node that is read.
const PROBLEM_MAX: usize = 64 << 10;

/// A request that is ready for a node.
pub(crate) struct Outbound<'a> {
    pub(crate) run: RunId,
    pub(crate) known: &'a Known,
    pub(crate) version: &'a protocol::route::VersionRoute,
    pub(crate) head: &'a Parts,
    pub(crate) upload: Option<&'a Upload>,
    /// Bytes of the body, as far as they are known.
    pub(crate) input: ByteSize,
    pub(crate) deadline: Instant,
}

/// The answer of a node that took the run.
pub(crate) struct Answered {
    pub(crate) response: http::Response<fabric::Body>,
    pub(crate) node: NodeId,
}

/// What one pass over the nodes brought.
enum Pass {
    Answered(Box<Answered>),
    Failed(Problem),
    /// Nobody can take it now; why.
    Full(Problem),
}

/// Asks nodes until one answers.
pub(crate) async fn send(gateway: &Gateway, out: &Outbound<'_>, live: &mut LiveRun) -> Result<Answered, Problem> {
    let mut wanted = RunRequest::of(out.version, out.known.route.account);
    wanted.input = out.input;
    wanted.wait_max = gateway.config.better_within.duration();
    let begun = Instant::now();
    let mut give_up = begun + gateway.config.place_within.duration();
    let mut pause = PAUSE_MIN;
    let mut tries_left = gateway.config.tries_max;
    // What the node said that took the run and failed. It takes no run twice: that it is busy then tells nothing.
    let mut failure = None;
    let mut place = None;
    loop {
        let tries_before = tries_left;
        let full = match pass(gateway, out, live, &wanted, &mut tries_left).await {
            Pass::Answered(reply) => return Ok(*reply),
            Pass::Failed(problem) => return Err(problem),
            Pass::Full(problem) => problem,
        };
        let now = Instant::now();
        if tries_left < tries_before {
            // A node was lost, perhaps after seconds: others may have come meanwhile.
            give_up = now + gateway.config.place_within.duration();
            failure = Some(full.clone()).filter(|problem| problem.code == Code::NodeFailed).or(failure);
        }
        if now + pause >= out.deadline {
            return Err(failure.unwrap_or_else(|| Code::TimedOut.into()));
        }
        if tries_left == 0 || now + pause >= give_up {
            return Err(failure.unwrap_or(full));
        }
        if place.is_none() {
            // All that wait ask nodes again and again: they are few, and not all of one account.
            match gateway.bounds.wait(out.known.route.account) {
                Ok(held) => place = Some(held),
                Err(over) => return Err(failure.unwrap_or_else(|| over.problem("runs that wait for a node"))),
            }
        }
        wanted.waited = now.saturating_duration_since(begun);
        // Chance keeps waiting runs from coming back together.
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn pass(
    gateway: &Gateway,
    out: &Outbound<'_>,
    live: &mut LiveRun,
    wanted: &RunRequest,
    tries_left: &mut u32,
) -> Pass {
    if !gateway.issuer.is_ready() {
        return Pass::Full(Problem::new(Code::ControlPlaneUnavailable, "the gateway has no keys for tickets yet"));
    }
    let knowledge = gateway.learning.knowledge();
    let rank = |memo: &mut Memo| gateway.nodes.rank(&knowledge, memo, wanted, Instant::now());
    let placement = Learning::with_memo(rank);
    drop(knowledge);
    live.placed(placement.explain(wanted.waited));
    if placement.ranked.is_empty() {
        let why = placement.summary();
        return match placement.only_full() {
            true => Pass::Full(Problem::new(Code::Overloaded, why)),
            false => Pass::Full(Problem::new(Code::NoNode, why)),
        };
    }
    let mut last = Problem::from(Code::Overloaded);
    for (place, candidate) in placement.ranked.iter().enumerate() {
        if *tries_left == 0 {
            break;
        }
        if place > 0 {
            gateway.meters.retries.increment(1);
        }
        let Some(request) = request_for(gateway, out, candidate) else {
            return Pass::Failed(last);
        };
        let answer = call(gateway, out, candidate, request, live).await;
        let replayable = out.upload.is_none_or(Upload::replayable);
        let (verdict, problem) = match answer {
            Ok(reply) => match node_problem(&reply) {
                None => return Pass::Answered(Box::new(reply)),
                Some(code) => (after_problem(code, &out.head.method, replayable), read_problem(code, reply).await),
            },
            Err(error) => {
                tracing::debug!(run = %out.run, node = %candidate.node, %error, "a node did not answer");
                if matches!(error, CallError::Unsendable(_)) {
                    // Nothing of it has left: this node will have nothing to say of the run.
                    live.not_taken();
                }
                (after_error(&error, &out.head.method, replayable), describe(&error))
            }
        };
        match verdict {
            Verdict::Next { suspect } => {
                live.not_taken();
                if suspect {
                    *tries_left -= 1;
                    gateway.nodes.suspect(candidate.node, Instant::now());
                }
                last = problem;
            }
            Verdict::Wait => {
                live.not_taken();
                return Pass::Full(Problem::new(Code::NoNode, "the connection to the nodes is away"));
            }
            Verdict::Fail(code) => {
                if code == Code::NodeLost {
                    gateway.nodes.suspect(candidate.node, Instant::now());
                }
                let same = code == problem.code;
                return Pass::Failed(if same { problem } else { Problem::new(code, problem.detail) });
            }
        }
    }
    Pass::Full(last)
}

async fn call(
    gateway: &Gateway,
    out: &Outbound<'_>,
    to: &Candidate,
    request: Request<fabric::Body>,
    live: &mut LiveRun,
) -> Result<Answered, CallError> {
    let left = out.deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(CallError::Deadline);
    }
    let options = CallOptions {
        deadline: left + DEADLINE_SLACK,
        accept_within: gateway.config.accept_within.duration().min(left),
    };
    let (call, end) = gateway.fabrics.nodes.start(Target::Node(to.node, NodeEndpoint::Run), request, options);
    live.sent_to(to.node, to.lane, end);
    let (response, _) = call.await?;
    live.answered();
    Ok(Answered { response, node: to.node })
}

/// The function's request, with a ticket for this node.
fn request_for(gateway: &Gateway, out: &Outbound<'_>, to: &Candidate) -> Option<Request<fabric::Body>> {
    let body = match out.upload {
        Some(upload) => upload.body()?,
        None => fabric::empty(),
    };
    let issued = Timestamp::now();
    let route = &out.known.route;
    let (account, function) = (route.account, route.function);
    let ticket = RunTicket { run: out.run, node: to.node, lane: to.lane, account, function, version: out.version };
    let ticket = gateway.issuer.run(ticket, issued, gateway.config.ticket_life.duration())?;
    let mut request = Request::new(body);
    request.method_mut().clone_from(&out.head.method);
    request.uri_mut().clone_from(&out.head.uri);
    request.headers_mut().clone_from(&out.head.headers);
    let ticket = HeaderValue::try_from(ticket.0).ok()?;
    request.headers_mut().insert(headers::TICKET, ticket);
    Some(request)
}

/// The code, where the node answered instead of the function.
fn node_problem(reply: &Answered) -> Option<Code> {
    let header = reply.response.headers().get(headers::NODE_PROBLEM)?;
    let text = header.to_str().unwrap_or_default();
    Some(Code::ALL.iter().copied().find(|code| code.as_str() == text).unwrap_or(Code::NodeFailed))
}

/// What the node says about it. Its `end` comes after the document's last byte.
async fn read_problem(code: Code, reply: Answered) -> Problem {
    let read = Limited::new(reply.response.into_body(), PROBLEM_MAX).collect().await;
    read.ok()
        .and_then(|body| serde_json::from_slice::<Problem>(&body.to_bytes()).ok())
        .filter(|problem| problem.code == code)
        .map_or_else(|| code.into(), |problem| Problem::new(code, problem.detail).with_help(problem.help))
}

fn describe(error: &CallError) -> Problem {
    match error {
        CallError::Deadline => Code::TimedOut.into(),
        CallError::Busy(why) if why.starts_with(Code::ShareExceeded.as_str()) => {
            let why = why.trim_start_matches(Code::ShareExceeded.as_str()).trim_start_matches([':', ' ']);
            Problem::new(Code::ShareExceeded, format!("All nodes that could take it say: {why}."))
        }
        CallError::Busy(_) | CallError::NoResponder | CallError::NotAccepted { revoked: true } => {
            Problem::new(Code::Overloaded, error.to_string())
        }
        CallError::Aborted(why) => Problem::new(Code::NodeFailed, why.clone()),
        _ => Problem::new(Code::NodeLost, error.to_string()),
    }
}

/// Whether a request of this method may have a body that matters.
pub(crate) fn has_body(method: &Method, source: &crate::upload::Source) -> bool {
    use http_body::Body as _;
    !source.is_end_stream() && *method != Method::TRACE
}
