//! Small questions to the control plane, in JSON, with a time limit.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use fabric::{CallOptions, CoreService, Fabric, Target};
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt as _, Limited};
use protocol::route::Route;
use protocol::wire::WireError;
use protocol::{ByteSize, Code, Problem};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest answer that is read.
const ANSWER_MAX: ByteSize = ByteSize::mib(4);

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CoreError {
    /// It said no, and why.
    #[error(transparent)]
    Refused(Box<Problem>),
    /// It cannot be reached, or does not answer in time, or not in our words.
    #[error("the control plane does not answer: {0}")]
    Unavailable(String),
}

/// The control plane, as the gateway asks it.
#[derive(Clone)]
pub(crate) struct CoreClient {
    fabric: Fabric,
    service: CoreService,
}

impl CoreClient {
    pub(crate) fn new(fabric: Fabric) -> Self {
        Self { fabric, service: CoreService::ControlPlane }
    }

    /// The one that leads settlement, which alone takes observations; at times nobody does.
    pub(crate) fn settlement(&self) -> Self {
        Self { fabric: self.fabric.clone(), service: CoreService::Settlement }
    }

    /// Whether it answers.
    pub(crate) async fn is_ready(&self, within: Duration) -> bool {
        let answer = self.ask(Method::GET, "/internal/ready", Bytes::new(), within).await;
        !matches!(answer, Err(CoreError::Unavailable(_)))
    }

    /// `GET` for a value.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, within: Duration) -> Result<T, CoreError> {
        let answer = self.ask(Method::GET, path, Bytes::new(), within).await?;
        parse(&answer)
    }

    /// `GET` for a route, and those of its versions that are not understood.
    pub(crate) async fn get_route(&self, path: &str, within: Duration) -> Result<(Route, BTreeSet<u32>), CoreError> {
        let answer = self.ask(Method::GET, path, Bytes::new(), within).await?;
        Route::read(&answer).map_err(unreadable)
    }

    /// `POST` of a value for another.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        within: Duration,
    ) -> Result<T, CoreError> {
        let answer = self.ask(Method::POST, path, to_json(body), within).await?;
        parse(&answer)
    }

    /// The same, with more headers.
    pub(crate) async fn post_with<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        headers: HeaderMap,
        within: Duration,
    ) -> Result<T, CoreError> {
        let answer = self.send(Method::POST, path, headers, to_json(body), within).await?;
        parse(&answer)
    }

    /// `POST` of JSON for a value; none where nothing comes back.
    pub(crate) async fn post_json<T: DeserializeOwned>(
        &self,
        path: &str,
        json: Bytes,
        within: Duration,
    ) -> Result<Option<T>, CoreError> {
        let answer = self.ask(Method::POST, path, json, within).await?;
        if answer.is_empty() { Ok(None) } else { parse(&answer).map(Some) }
    }

    /// `POST` of JSON that brings nothing back.
    pub(crate) async fn tell(&self, path: &str, json: Bytes, within: Duration) -> Result<(), CoreError> {
        self.ask(Method::POST, path, json, within).await.map(drop)
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes, within: Duration) -> Result<Bytes, CoreError> {
        self.send(method, path, HeaderMap::new(), body, within).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
        within: Duration,
    ) -> Result<Bytes, CoreError> {
        let unavailable = |why: &dyn std::fmt::Display| CoreError::Unavailable(why.to_string());
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(fabric::full(body))
            .map_err(|error| unavailable(&error))?;
        request.headers_mut().extend(headers);
        let options = CallOptions { deadline: within, accept_within: within };
        let to = Target::Core(self.service);
        let reply = self.fabric.call(to, request, options).await.map_err(|error| unavailable(&error))?;
        let status = reply.response.status();
        let body = Limited::new(reply.response.into_body(), ANSWER_MAX.as_usize())
            .collect()
            .await
            .map_err(|error| unavailable(&error))?
            .to_bytes();
        match serde_json::from_slice::<Problem>(&body) {
            _ if status.is_success() => Ok(body),
            Ok(problem) if problem.code != Code::ControlPlaneUnavailable => Err(CoreError::Refused(Box::new(problem))),
            _ => Err(CoreError::Unavailable(format!("status {status}"))),
        }
    }
}

pub(crate) fn to_json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

fn parse<T: DeserializeOwned>(answer: &[u8]) -> Result<T, CoreError> {
    protocol::wire::read(answer).map_err(unreadable)
}

fn unreadable(error: WireError) -> CoreError {
    match error {
        error @ WireError::NotUnderstood(_) => CoreError::Refused(Box::new(error.into())),
        WireError::Malformed { why, .. } => CoreError::Unavailable(format!("an answer not understood: {why}")),
    }
}
