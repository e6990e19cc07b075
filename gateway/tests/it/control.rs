//! The control plane's stand-in: what a gateway asks of it, from maps that tests fill.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use fabric::Body;
use http::{Request, Response, StatusCode};
use parking_lot::Mutex;
use protocol::Code;
use protocol::receipt::Observation;
use protocol::route::{Grant, Route, VerifyCredential};

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
    pub(crate) heads: Mutex<Vec<http::request::Parts>>,
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
            "/internal/observations" => {
                let seen: Vec<Observation> = serde_json::from_slice(&bytes(body).await).unwrap();
                self.observations.lock().extend(seen);
                empty(StatusCode::NO_CONTENT)
            }
            "/internal/artifacts" => {
                let row = serde_json::from_slice(&bytes(body).await).unwrap();
                self.artifacts.lock().push(row);
                empty(StatusCode::NO_CONTENT)
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
                    // Whatever the API is asked, it echoes.
                    Response::new(body)
                }
            },
        }
    }
}

fn json(value: &impl serde::Serialize) -> Response<Body> {
    text(serde_json::to_vec(value).unwrap())
}

fn empty(status: StatusCode) -> Response<Body> {
    Response::builder().status(status).body(fabric::empty()).unwrap()
}
