//! The control plane's stand-in: what a gateway asks of it, from maps that tests fill.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use fabric::Body;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use protocol::batch::BatchAck;
use protocol::epoch::{AskEpoch, EpochLease};
use protocol::job::DeferredCall;
use protocol::node::NodeRecord;
use protocol::receipt::Observation;
use protocol::route::{Grant, Route, VerifyCredential};
use protocol::ticket::TicketRoot;
use protocol::{ByteSize, Code, Epoch, EpochId, Millis, NodeId, Problem, Timestamp};

use crate::node::{problem, text};
use crate::platform::bytes;

/// The control plane's stand-in.
#[derive(Default)]
pub(crate) struct Control {
    pub(crate) grants: Mutex<HashMap<String, Grant>>,
    pub(crate) routes: Mutex<HashMap<String, Route>>,
    pub(crate) observations: Mutex<Vec<Observation>>,
    pub(crate) artifacts: Mutex<Vec<serde_json::Value>>,
    pub(crate) revoked: Mutex<Vec<String>>,
    pub(crate) verified: AtomicU32,
    pub(crate) looked_up: AtomicU32,
    pub(crate) revision: AtomicU64,
    pub(crate) away: AtomicBool,
    pub(crate) silent: AtomicBool,
    /// It gives no keys for tickets.
    pub(crate) keyless: AtomicBool,
    /// What it was asked about epochs of the store, and how long their leases last in milliseconds; it gives none where that
    /// is 0. Those of which it is said here are closed.
    pub(crate) epochs: Mutex<Vec<AskEpoch>>,
    pub(crate) epoch_lasts: AtomicU64,
    pub(crate) epochs_closed: Mutex<Vec<Epoch>>,
    /// How many copies the store is to keep, as it says with each epoch.
    pub(crate) copies: Mutex<Option<NonZeroUsize>>,
    /// An account may upload so much in all.
    pub(crate) upload_room: Mutex<Option<u64>>,
    pub(crate) settled: Mutex<Vec<serde_json::Value>>,
    pub(crate) heads: Mutex<Vec<http::request::Parts>>,
    /// How it refuses what it would echo, and what it says in `Retry-After`.
    pub(crate) refuses: Mutex<Option<(Code, &'static str)>>,
    /// What it says of nodes by their ids; of others that it does not know them.
    pub(crate) nodes: Mutex<HashMap<NodeId, Result<NodeRecord, Code>>>,
    /// Calls to be answered later. None becomes a job.
    pub(crate) deferred: Mutex<Vec<DeferredCall>>,
}

impl Control {
    pub(crate) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        if self.away.load(Ordering::Relaxed) {
            return problem(Code::ControlPlaneUnavailable);
        }
        match head.uri.path().to_owned().as_str() {
            "/internal/credentials/verify" => {
                self.verified.fetch_add(1, Ordering::Relaxed);
                let asked: VerifyCredential = serde_json::from_slice(&bytes(body).await).unwrap();
                match self.grants.lock().get(&asked.sha256) {
                    Some(grant) => json(grant),
                    None => problem(Code::InvalidKey),
                }
            }
            "/internal/ready" => empty(StatusCode::NO_CONTENT),
            "/internal/ticket-keys" if self.keyless.load(Ordering::Relaxed) => problem(Code::ControlPlaneUnavailable),
            "/internal/ticket-keys" if head.method == Method::POST => {
                json(&root().issuer(EpochId::new(), Timestamp::now()))
            }
            "/internal/ticket-keys" => json(&root().days(Timestamp::now())),
            "/internal/observations" => {
                let seen: Vec<Observation> = serde_json::from_slice(&bytes(body).await).unwrap();
                self.observations.lock().extend(seen);
                let number = |query: &str| query.split('&').find_map(|pair| pair.strip_prefix("number=")?.parse().ok());
                let committed = head.uri.query().and_then(number).expect("the batch has a number");
                json(&BatchAck { committed, void: 0 })
            }
            "/internal/artifacts" => {
                let row = serde_json::from_slice(&bytes(body).await).unwrap();
                self.artifacts.lock().push(row);
                empty(StatusCode::NO_CONTENT)
            }
            "/internal/store/epochs" => {
                let asked: AskEpoch = serde_json::from_slice(&bytes(body).await).unwrap();
                let lasts = Millis(self.epoch_lasts.load(Ordering::Relaxed));
                if lasts.0 == 0 {
                    return problem(Code::ControlPlaneUnavailable);
                }
                let mut all = self.epochs.lock();
                let goes_on = asked.renew.filter(|epoch| !self.epochs_closed.lock().contains(epoch));
                all.push(asked);
                let opened = u32::try_from(all.len()).unwrap();
                json(&EpochLease {
                    epoch: goes_on.unwrap_or(Epoch(opened)),
                    lasts,
                    draining: Vec::new(),
                    store: None,
                    copies: *self.copies.lock(),
                    absent: Vec::new(),
                })
            }
            "/internal/uploads" => {
                let asked: Upload = serde_json::from_slice(&bytes(body).await).unwrap();
                let granted = ByteSize(self.upload_room.lock().unwrap_or(u64::MAX)).min(asked.most);
                match granted < asked.least {
                    true => problem(Code::LimitReached),
                    false => json(&serde_json::json!({ "granted": granted })),
                }
            }
            "/internal/uploads/settle" => {
                let settled = serde_json::from_slice(&bytes(body).await).unwrap();
                self.settled.lock().push(settled);
                empty(StatusCode::NO_CONTENT)
            }
            "/internal/jobs" => {
                let call = serde_json::from_slice(&bytes(body).await).unwrap();
                self.deferred.lock().push(call);
                problem(Code::LimitReached)
            }
            // Unlike the rest, it reads the body before it answers.
            "/api/v1/jobs" => match body.collect().await {
                Ok(_) => empty(StatusCode::ACCEPTED),
                Err(_) => problem(Code::InvalidRequest),
            },
            path if path.starts_with("/internal/nodes/") => {
                let node = path.rsplit('/').next().and_then(|id| id.parse().ok());
                match node.and_then(|node: NodeId| self.nodes.lock().get(&node).cloned()) {
                    Some(Ok(record)) => json(&record),
                    Some(Err(code)) => problem(code),
                    None => problem(Code::NotFound),
                }
            }
            path => match path.strip_prefix("/internal/routes/") {
                Some(names) => {
                    self.looked_up.fetch_add(1, Ordering::Relaxed);
                    match self.routes.lock().get(&names.replace('/', ".")) {
                        Some(route) => json(route),
                        None => problem(Code::FunctionNotFound),
                    }
                }
                None => {
                    self.heads.lock().push(head);
                    match *self.refuses.lock() {
                        Some((code, retry_after)) => refusal(code, retry_after),
                        // Whatever the API is asked, it echoes.
                        None => Response::new(body),
                    }
                }
            },
        }
    }
}

/// What all keys of tickets are derived from.
pub(crate) fn root() -> TicketRoot {
    TicketRoot::of(&[7; 32])
}

#[derive(serde::Deserialize)]
struct Upload {
    least: ByteSize,
    most: ByteSize,
}

fn json(value: &impl serde::Serialize) -> Response<Body> {
    text(serde_json::to_vec(value).unwrap())
}

/// As the control plane refuses.
fn refusal(code: Code, retry_after: &'static str) -> Response<Body> {
    let mut response = problem(code);
    let headers = response.headers_mut();
    headers.insert("proxy-status", Problem::from(code).proxy_status().parse().unwrap());
    headers.insert("retry-after", HeaderValue::from_static(retry_after));
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    Response::builder().status(status).body(fabric::empty()).unwrap()
}
