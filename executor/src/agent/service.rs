//! What the core may ask of a node: runs, and control.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric::profile::{self, Part};
use fabric::shares::Shares;
use fabric::{Body, Busy, Exchange, Peer, Permit, metric_names};
use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use lending::control::RunShown;
use metrics::{Counter, Histogram};
use protocol::node::RevisedWish;
use protocol::receipt::{NodeReceipt, Outcome, RunEnd, Usage};
use protocol::ticket::{Purpose, SignedTicket, Ticket};
use protocol::{AccountId, Code, Lane, Problem, Timestamp};
use tokio::sync::{mpsc, oneshot};

use crate::admission::{Admission, Refusal, Share};
use crate::artifacts::Library;
use crate::journal::Journal;
use crate::keeper::{Lent, Place, Saying, Told};
use crate::run::log::{self, Sink, TicketedLine};
use crate::run::{self, Record, RunLogBook, Verdict, guest_request};
use crate::tickets::{Spent, TicketBook};
use crate::vm::{self, LaneProbe};
use crate::wasm::Lane as WasmLane;

/// Bytes of what a node is told: why it ends, what its owner wants.
const TOLD_BYTES_MAX: usize = 64 << 10;

/// All that runs share.
pub(super) struct Node {
    pub(super) lane: Arc<WasmLane>,
    pub(super) vm: Arc<LaneProbe>,
    pub(super) library: Arc<Library>,
    pub(super) admission: Arc<Admission>,
    pub(super) lent: Arc<Lent>,
    pub(super) tickets: Arc<TicketBook>,
    pub(super) journal: Journal,
    pub(super) log_sink: mpsc::Sender<TicketedLine>,
    pub(super) log_bytes_max: usize,
    pub(super) log_shares: Shares<AccountId>,
    pub(super) log_line_bytes_min: u64,
    /// A ticket came that is not valid by the keys and the clock that are known: perhaps they have changed.
    pub(super) unknown_key: Arc<tokio::sync::Notify>,
    /// Somebody has not heard what this node listed.
    pub(super) report_whole: Arc<tokio::sync::Notify>,
    /// The platform says that this is no node of its any more.
    pub(super) ended: mpsc::Sender<Box<Problem>>,
    /// To the keeper.
    pub(super) tell: mpsc::Sender<Told>,
}

/// What admission has found out and taken: the run's share of the node.
struct Admitted {
    signed: Arc<SignedTicket>,
    ticket: Ticket,
    spent: Spent,
    at: Timestamp,
    /// Whether the artifact had to be fetched for it; so it is until something is found.
    fetched: AtomicBool,
    _share: Share,
}

impl Node {
    /// Decides on a run by its head alone.
    pub(super) fn admit(&self, head: &http::request::Parts, _peer: Peer) -> Result<Permit, Busy> {
        let begun = Instant::now();
        let admitted = self.decide(head);
        PARTS.admission.record(begun.elapsed());
        admitted
    }

    fn decide(&self, head: &http::request::Parts) -> Result<Permit, Busy> {
        let busy = |reason: String| Busy { reason };
        if self.journal.is_full() {
            return Err(busy(Refusal::Receipts.to_string()));
        }
        let now = Timestamp::now();
        let checked = profile::within(Part::Ticket, || self.tickets.check(&head.headers, Purpose::Run, now));
        let (signed, ticket) = checked.map_err(|invalid| {
            if invalid.may_be_ours() {
                self.unknown_key.notify_one();
            }
            busy(invalid.to_string())
        })?;
        if ticket.lane == Lane::Vm && self.vm.lane().is_none() {
            return Err(busy(Refusal::Lane.to_string()));
        }
        let share = self.share(&ticket).map_err(|refusal| busy(refusal.to_string()))?;
        let spent = self.tickets.spend(&ticket, now).map_err(|invalid| busy(invalid.to_string()))?;
        Ok(Permit(Arc::new(Admitted {
            signed: Arc::new(signed),
            ticket,
            spent,
            at: now,
            fetched: AtomicBool::new(true),
            _share: share,
        })))
    }

    /// A run's share of the node. Machines in which nothing runs make room for it.
    fn share(&self, ticket: &Ticket) -> Result<Share, Refusal> {
        let memory = ticket.limits.memory_in(ticket.lane);
        let account = ticket.account;
        self.admission.admit(account, memory).or_else(|refusal| match self.vm.lane() {
            Some(lane) if refusal == Refusal::Memory => {
                lane.make_room(memory);
                self.admission.admit(account, memory)
            }
            _ => Err(refusal),
        })
    }

    /// One run, from its admission to its answer; its end goes out when the last of it has gone.
    async fn run(self: Arc<Self>, mut request: http::Request<Body>) -> http::Response<Body> {
        let admitted = request.extensions_mut().remove::<Permit>().and_then(|permit| permit.0.downcast().ok());
        let (Some(admitted), Some(exchange)) = (admitted, request.extensions().get::<Exchange>().cloned()) else {
            return run::problem(&Problem::new(Code::NodeFailed, "the run was not admitted"));
        };
        let admitted: Arc<Admitted> = admitted;
        admitted.spent.begin();
        let ticket = &admitted.ticket;
        let latest = Instant::now() + ticket.limits.timeout.duration();
        let deadline = exchange.deadline.map_or(latest, |deadline| deadline.min(latest));
        let account = ticket.account;
        let (lines, shares) = (self.log_sink.clone(), self.log_shares.clone());
        let sink = Sink { lines, shares, account, line_bytes_min: self.log_line_bytes_min };
        let log = log::book(ticket.run, Arc::clone(&admitted.signed), sink, self.log_bytes_max);
        if ticket.lane == Lane::Vm {
            // Apart: its size is no burden to the other lane's runs.
            return Box::pin(self.run_in_vm(request, admitted, &exchange, deadline, log)).await;
        }
        let begun = Instant::now();
        let found = self.library.warm(ticket);
        let warm = found.is_some() || self.library.is_loaded(ticket);
        let (place, settle) = self.settle(&admitted, &exchange, warm);
        let stop = exchange.cancelled.clone();
        let record = Arc::new(Record::new(ticket.limits, deadline, stop.child_token(), log, settle));
        self.lent.work.begin(place, &record);
        let (program, surroundings) = match found {
            Some((program, surroundings)) => (program, surroundings),
            None => match bring(self.library.get(ticket, &admitted.signed), &record).await {
                Some((program, surroundings, fetched)) => {
                    admitted.fetched.store(fetched, Ordering::Relaxed);
                    (program, surroundings)
                }
                None => return run::answer(None, record),
            },
        };
        // The record has the run's share from here on.
        drop(admitted);
        PARTS.start.record(begun.elapsed());
        run::run(&self.lane, &program.program, &surroundings, account, request, record).await
    }

    /// The same in a machine of its own.
    async fn run_in_vm(
        self: Arc<Self>,
        request: http::Request<Body>,
        admitted: Arc<Admitted>,
        exchange: &Exchange,
        deadline: Instant,
        log: RunLogBook,
    ) -> http::Response<Body> {
        let Some(lane) = self.vm.lane() else {
            return run::problem(&Problem::new(Code::NodeFailed, Refusal::Lane.to_string()));
        };
        let ticket = &admitted.ticket;
        let begun = Instant::now();
        let found = lane.warm(ticket);
        let (place, settle) = self.settle(&admitted, exchange, found.is_some() || lane.is_prepared(ticket));
        let stop = exchange.cancelled.child_token();
        let record = Arc::new(Record::new(ticket.limits, deadline, stop, log, settle));
        self.lent.work.begin(place, &record);
        let version = match found {
            Some(found) => found,
            None => match bring(lane.get(ticket, &admitted.signed), &record).await {
                Some(brought) => {
                    admitted.fetched.store(brought.fetched(), Ordering::Relaxed);
                    brought
                }
                None => return run::answer(None, record),
            },
        };
        drop(admitted);
        PARTS.start.record(begun.elapsed());
        let request = guest_request(request, &record);
        let started = vm::start(&version, request, &record);
        run::drive(started, None, record).await
    }

    /// What becomes of a run at its end: the share is given back, the caller is told, the receipt is kept. And the run's
    /// place among those that are here, which it has until then.
    fn settle(self: &Arc<Self>, admitted: &Arc<Admitted>, exchange: &Exchange, warm: bool) -> (u64, run::Settle) {
        let (node, end, admitted) = (Arc::clone(self), exchange.claim_end(), Arc::clone(admitted));
        let place = self.enter(&admitted);
        let id = place.id();
        let conclude = move |verdict: Verdict, usage: Usage| {
            drop(place);
            node.lent.ended(&verdict, &usage);
            let (signed, run, started) = (Arc::clone(&admitted.signed), admitted.ticket.run, admitted.at);
            let cached = !warm && !admitted.fetched.load(Ordering::Relaxed);
            drop(admitted);
            count(verdict.outcome, &usage);
            let run_end = RunEnd {
                outcome: verdict.outcome,
                code: verdict.code,
                detail: (!verdict.detail.is_empty()).then_some(verdict.detail),
                usage,
                warm,
                cached,
                running: node.admission.running(),
            };
            if let (Some(end), Ok(json)) = (end, serde_json::to_vec(&run_end)) {
                end.send(Bytes::from(json));
            }
            node.journal.add(NodeReceipt { run, ticket: (*signed).clone(), started, end: run_end });
        };
        (id, Box::new(move |verdict, usage| profile::within(Part::Bookkeeping, || conclude(verdict, usage))))
    }

    fn enter(&self, admitted: &Admitted) -> Place {
        let (lane, limits) = (admitted.ticket.lane, &admitted.ticket.limits);
        self.lent.work.enter(RunShown { lane, since: admitted.at, memory: limits.memory_in(lane) })
    }

    async fn control(self: Arc<Self>, request: http::Request<Body>) -> http::Response<Body> {
        let (head, body) = request.into_parts();
        match (head.method.as_str(), head.uri.path()) {
            ("POST", "/end") => self.end(body).await,
            ("POST", "/report") => {
                self.report_whole.notify_one();
                json(http::StatusCode::OK, &serde_json::json!({}))
            }
            ("GET", "/status") => self.tell_keeper(Saying::Status).await,
            ("POST", "/wish") => self.wish(body).await,
            ("POST", "/prepare") => self.prepare(&head).await,
            ("POST", "/drain") => {
                self.admission.drain();
                json(http::StatusCode::OK, &serde_json::json!({ "running": self.admission.running() }))
            }
            _ => run::problem(&Problem::new(
                Code::NotFound,
                "a node has /prepare, /drain, /report, /status, /wish and /end",
            )),
        }
    }

    /// The core alone can ask for this: nobody else may publish where a node listens.
    async fn end(&self, body: Body) -> http::Response<Body> {
        let Some(problem) = read_told::<Problem>(body).await else {
            return run::problem(&Problem::new(Code::InvalidRequest, "the body says why, as a problem"));
        };
        // Once is enough.
        self.ended.try_send(Box::new(problem)).ok();
        json(http::StatusCode::OK, &serde_json::json!({ "running": self.admission.running() }))
    }

    /// What the owner wants from afar; what it comes to is the response.
    async fn wish(&self, body: Body) -> http::Response<Body> {
        match read_told::<RevisedWish>(body).await {
            Some(wish) => self.tell_keeper(Saying::Wish(wish)).await,
            None => run::problem(&Problem::new(Code::InvalidRequest, "the body is no wish")),
        }
    }

    async fn tell_keeper(&self, what: Saying) -> http::Response<Body> {
        let (reply, status) = oneshot::channel();
        // What it does not hear it does not reply to.
        self.tell.send(Told { what, reply }).await.ok();
        match status.await {
            Ok(status) => json(http::StatusCode::OK, &status),
            Err(_) => run::problem(&Problem::from(Code::Draining)),
        }
    }

    async fn prepare(self: &Arc<Self>, head: &http::request::Parts) -> http::Response<Body> {
        if let Some(paused) = self.admission.paused() {
            return run::problem(&Problem::new(Code::Overloaded, Refusal::Paused(paused).to_string()));
        }
        let checked = self.tickets.check(&head.headers, Purpose::Prepare, Timestamp::now());
        let (signed, ticket) = match checked {
            Ok(checked) => checked,
            Err(invalid) => {
                self.unknown_key.notify_one();
                return run::problem(&Problem::new(Code::NodeFailed, invalid.to_string()));
            }
        };
        let prepared = match (ticket.lane, self.vm.lane()) {
            (Lane::Wasm, _) => self.library.prepare(&ticket, &signed).await,
            (Lane::Vm, Some(lane)) => lane.prepare(&ticket, &signed).await,
            (Lane::Vm, None) => Err(Problem::new(Code::NodeFailed, Refusal::Lane.to_string())),
        };
        match prepared {
            Ok(prepared) => json(http::StatusCode::OK, &prepared),
            Err(problem) => run::problem(&problem),
        }
    }
}

/// What the platform tells a node.
async fn read_told<T: serde::de::DeserializeOwned>(body: Body) -> Option<T> {
    let told = http_body_util::Limited::new(body, TOLD_BYTES_MAX).collect().await.ok()?;
    protocol::wire::read(&told.to_bytes()).ok()
}

/// The node's own figures of a run that is over.
fn count(outcome: Outcome, usage: &Usage) {
    let ended = match outcome {
        Outcome::Succeeded => &PARTS.succeeded,
        Outcome::Failed => &PARTS.failed,
        Outcome::TimedOut => &PARTS.timed_out,
        Outcome::Cancelled => &PARTS.cancelled,
        Outcome::PlatformFailed => &PARTS.platform_failed,
    };
    ended.increment(1);
    PARTS.cpu_us.increment(usage.cpu_us);
    PARTS.run.record(Duration::from_micros(usage.wall_us));
}

/// How long parts of a run took here, and how runs ended. The handles are made once, after the process has begun to
/// record.
struct Parts {
    admission: Histogram,
    start: Histogram,
    run: Histogram,
    cpu_us: Counter,
    succeeded: Counter,
    failed: Counter,
    timed_out: Counter,
    cancelled: Counter,
    platform_failed: Counter,
}

static PARTS: LazyLock<Parts> = LazyLock::new(|| {
    let part = |part: &'static str| metrics::histogram!(metric_names::NODE_RUN_PART_SECONDS, "part" => part);
    let ended = |outcome: &'static str| metrics::counter!(metric_names::NODE_RUNS, "outcome" => outcome);
    Parts {
        admission: part("admission"),
        start: part("start"),
        run: part("run"),
        cpu_us: metrics::counter!(metric_names::NODE_CPU_MICROSECONDS),
        succeeded: ended("succeeded"),
        failed: ended("failed"),
        timed_out: ended("timed_out"),
        cancelled: ended("cancelled"),
        platform_failed: ended("platform_failed"),
    }
});

/// Waits for what a run needs; none where that failed or took too long, which the record then says.
async fn bring<T>(needed: impl Future<Output = Result<T, Problem>>, record: &Record) -> Option<T> {
    tokio::select! {
        found = needed => found.map_err(|problem| record.conclude(not_had(problem))).ok(),
        () = tokio::time::sleep_until(record.deadline.into()) => {
            record.interrupt();
            None
        }
        () = record.stop.cancelled() => {
            record.interrupt();
            None
        }
    }
}

/// What a run needs and this node does not have. Where it is only busy, the run surely has not begun.
fn not_had(problem: Problem) -> Verdict {
    let code = if problem.code == Code::Overloaded { Code::Overloaded } else { Code::NodeFailed };
    Verdict { code: Some(code), ..Verdict::node_failed(problem.detail) }
}

fn json(status: http::StatusCode, value: &impl serde::Serialize) -> http::Response<Body> {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = http::Response::new(fabric::full(body));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}

/// Which of a node's services.
#[derive(Clone, Copy)]
pub(super) enum What {
    Run,
    Control,
}

/// A node's service, as the fabric mounts it.
///
/// It holds the node weakly: a drained node ends although the fabric may still remember the mount.
#[derive(Clone)]
pub(super) struct Service(pub(super) Weak<Node>, pub(super) What);

impl tower::Service<http::Request<Body>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Some(node) = self.0.upgrade() else {
            return Box::pin(async { Ok(run::problem(&Problem::from(Code::Draining))) });
        };
        match self.1 {
            What::Run => {
                Box::pin(profile::around(Part::Admission, async move { Ok(Box::pin(node.run(request)).await) }))
            }
            What::Control => Box::pin(async move { Ok(node.control(request).await) }),
        }
    }
}
