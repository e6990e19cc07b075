//! Finds a node that takes the run: ranks, sends to the first, and goes on to the next while that is safe.

use std::time::{Duration, Instant};

use http::request::Parts;
use http::{Method, Request};
use placing::{Attempt, Fate, NotTaken, Verdict};
use protocol::{ByteSize, Code, NodeId, Problem, RunId};
use scheduler::RunRequest;

use super::retry::{Next, after};
use crate::routes::Known;
use crate::state::Gateway;
use crate::upload::Upload;

const PAUSE_MIN: Duration = Duration::from_millis(4);
const PAUSE_MAX: Duration = Duration::from_millis(100);

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

/// The response of a node that took the run.
pub(crate) struct NodeResponse {
    pub(crate) response: http::Response<fabric::Body>,
    pub(crate) node: NodeId,
}

/// What one pass over the nodes brought.
enum Pass {
    Answered(Box<NodeResponse>),
    Failed(Problem),
    /// Nobody can take it now; why.
    Full(Problem),
}

/// Asks nodes until one answers.
pub(crate) async fn send(
    gateway: &Gateway,
    out: &Outbound<'_>,
    attempt: &mut Attempt,
) -> Result<NodeResponse, Problem> {
    let mut wanted = RunRequest::of(out.version, out.known.route.account);
    wanted.input = out.input;
    wanted.wait_max = gateway.config.better_within.duration();
    let begun = Instant::now();
    let mut give_up = begun + gateway.config.place_within.duration();
    let mut pause = PAUSE_MIN;
    let mut tries_left = gateway.config.tries_max;
    // What the node said that took the run and failed. It takes no run twice: that it is busy then tells nothing.
    let (mut failure, mut lost) = (None, false);
    let mut place = None;
    loop {
        let tries_before = tries_left;
        let full = match pass(gateway, out, attempt, &wanted, &mut tries_left).await {
            Pass::Answered(reply) => return Ok(*reply),
            Pass::Failed(problem) => return Err(problem),
            Pass::Full(problem) => problem,
        };
        let now = Instant::now();
        if tries_left < tries_before {
            // A node was lost, perhaps after seconds: others may have come meanwhile.
            give_up = now + gateway.config.place_within.duration();
            lost = true;
            failure = Some(full.clone())
                .filter(|problem| matches!(problem.code, Code::NodeFailed | Code::NodePaused))
                .or(failure);
        }
        if now + pause >= out.deadline {
            // Where no node took it, it was not the function that took so long.
            let is_wait = |problem: &Problem| matches!(problem.code, Code::NoNode | Code::Overloaded);
            let waited = Some(full).filter(|problem| !lost && is_wait(problem));
            return Err(failure.or(waited).unwrap_or_else(|| Code::TimedOut.into()));
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
    attempt: &mut Attempt,
    wanted: &RunRequest,
    tries_left: &mut u32,
) -> Pass {
    if !gateway.issuer.is_ready() {
        return Pass::Full(Problem::new(Code::ControlPlaneUnavailable, "the gateway has no keys for tickets yet"));
    }
    let begun = Instant::now();
    let placement = gateway.placing.rank(wanted, begun);
    gateway.meters.ranked(begun.elapsed());
    attempt.placed(placement.explain(wanted.waited));
    if placement.ranked.is_empty() {
        let why = placement.summary_for(wanted.placement);
        return match (placement.only_full(), placement.only_paused()) {
            (true, _) => Pass::Full(Problem::new(Code::Overloaded, why)),
            (false, true) => Pass::Failed(Problem::new(Code::NoNode, why)),
            (false, false) => Pass::Full(Problem::new(Code::NoNode, why)),
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
        let Some(request) = request_for(out) else {
            return Pass::Failed(last);
        };
        let (node, lane) = (candidate.node, candidate.lane);
        let to = gateway.placing.reserve(node, lane, &out.version.limits);
        let verdict = match attempt.send(&gateway.fabrics.nodes, to, request, out.deadline, || {}).await {
            Ok(response) => return Pass::Answered(Box::new(NodeResponse { response, node })),
            Err(verdict) => verdict,
        };
        tracing::debug!(run = %out.run, %node, ?verdict, "a node did not do the run");
        let replayable = out.upload.is_none_or(Upload::replayable);
        match after(&verdict, &out.head.method, replayable) {
            Next::Node => {
                attempt.next_node();
                if verdict.suspect() || verdict.fate == Fate::Lost {
                    *tries_left -= 1;
                }
                last = problem_of(verdict);
            }
            Next::Wait => return Pass::Full(Problem::new(Code::NoNode, "the connection to the nodes is away")),
            Next::Fail(code) => {
                let problem = problem_of(verdict);
                let same = code == problem.code;
                return Pass::Failed(if same { problem } else { Problem::new(code, problem.detail) });
            }
        }
    }
    Pass::Full(last)
}

/// The function's request, from its beginning.
fn request_for(out: &Outbound<'_>) -> Option<Request<fabric::Body>> {
    let body = match out.upload {
        Some(upload) => upload.body()?,
        None => fabric::empty(),
    };
    let mut request = Request::new(body);
    request.method_mut().clone_from(&out.head.method);
    request.uri_mut().clone_from(&out.head.uri);
    request.headers_mut().clone_from(&out.head.headers);
    Some(request)
}

/// What a caller is told of it.
fn problem_of(verdict: Verdict) -> Problem {
    let code = verdict.code.unwrap_or(Code::Internal);
    let problem = match verdict.fate {
        Fate::NotTaken(NotTaken::ShareExceeded) => {
            Problem::new(code, format!("All nodes that could take it say: {}.", verdict.detail))
        }
        _ if verdict.detail.is_empty() => code.into(),
        _ => Problem::new(code, verdict.detail),
    };
    match verdict.help {
        Some(help) => problem.with_help(help),
        None => problem,
    }
}

/// Whether a request of this method may have a body that matters.
pub(crate) fn has_body(method: &Method, source: &crate::upload::Source) -> bool {
    use http_body::Body as _;
    !source.is_end_stream() && *method != Method::TRACE
}
