//! The answer of a run: the function's response, checked; or a problem document that the node made instead.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use fabric::{Body, BodyError};
use http::{HeaderValue, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use protocol::{Code, Problem, headers};
use wasm_host::{Broken, Outgoing, Record, presentable};
use wasmtime_wasi_http::WasiBody;

/// The answer to a run: of its head, where there is one, and of its verdict, where it has ended.
pub(crate) fn answer(head: Option<http::Response<WasiBody>>, record: Arc<Record>) -> http::Response<Body> {
    let Some(response) = presentable(head, &record) else { return failure(&record) };
    let (mut parts, body) = response.into_parts();
    // The version is of one connection (RFC 9110, 2.5), and this one has ended here.
    parts.version = http::Version::HTTP_11;
    let over = record.verdict().is_some();
    let mut body = Outgoing::new(body, record);
    if !over {
        return http::Response::from_parts(parts, body.map_err(broken).boxed_unsync());
    }
    match collect(&mut body) {
        Collected::Whole(bytes) => {
            // The record settles here, before the answer leaves: its end travels with it.
            drop(body);
            http::Response::from_parts(parts, Full::new(bytes).map_err(|never| match never {}).boxed_unsync())
        }
        Collected::Parts(start) => {
            // Whoever passes them on must know their names before: a function need not have said them.
            let trailers = start.back().and_then(http_body::Frame::trailers_ref);
            let names: Vec<&str> = trailers.into_iter().flat_map(|map| map.keys().map(|name| name.as_str())).collect();
            if let (false, Ok(names)) = (names.is_empty(), HeaderValue::try_from(names.join(", "))) {
                parts.headers.insert(header::TRAILER, names);
            }
            http::Response::from_parts(parts, Rest { start, body }.boxed_unsync())
        }
        Collected::Broken => failure_of(body),
    }
}

enum Collected {
    /// All of it.
    Whole(Bytes),
    /// Trailers follow, or not all is there yet.
    Parts(std::collections::VecDeque<http_body::Frame<Bytes>>),
    Broken,
}

/// Takes what a guest that has ended left in its pipe.
fn collect(body: &mut Outgoing) -> Collected {
    let mut frames = std::collections::VecDeque::new();
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        match std::pin::Pin::new(&mut *body).poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let more = frame.is_data();
                frames.push_back(frame);
                if !more {
                    return Collected::Parts(frames);
                }
            }
            Poll::Ready(Some(Err(_))) => return Collected::Broken,
            Poll::Pending => return Collected::Parts(frames),
            Poll::Ready(None) => break,
        }
    }
    let mut pieces = frames.into_iter().filter_map(|frame| frame.into_data().ok());
    let first = pieces.next().unwrap_or_default();
    let Some(second) = pieces.next() else { return Collected::Whole(first) };
    let mut whole = BytesMut::from(first);
    whole.extend_from_slice(&second);
    pieces.for_each(|piece| whole.extend_from_slice(&piece));
    Collected::Whole(whole.freeze())
}

/// Frames that were taken already, then the rest.
struct Rest {
    start: std::collections::VecDeque<http_body::Frame<Bytes>>,
    body: Outgoing,
}

impl http_body::Body for Rest {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        match self.start.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => std::pin::Pin::new(&mut self.body).poll_frame(cx).map_err(broken),
        }
    }
}

fn broken(why: Broken) -> BodyError {
    match why {
        Broken::Failed(why) => BodyError::Aborted(why),
        Broken::Lost => BodyError::Lost,
    }
}

fn failure_of(body: Outgoing) -> http::Response<Body> {
    failure(body.record())
}

/// The problem that stands in a verdict.
fn failure(record: &Record) -> http::Response<Body> {
    match record.verdict() {
        Some(verdict) => match verdict.code {
            Some(code) => problem(&Problem::new(code, verdict.detail)),
            // The caller has gone: nobody reads this.
            None => problem(&Problem::new(Code::NodeFailed, verdict.detail)),
        },
        None => problem(&Problem::new(Code::NodeFailed, "the run ended without a verdict")),
    }
}

/// A problem document, marked as the node's and not the function's.
pub(crate) fn problem(problem: &Problem) -> http::Response<Body> {
    let body = Full::new(Bytes::from(problem.to_json())).map_err(|never| match never {}).boxed_unsync();
    let mut response = http::Response::new(body);
    *response.status_mut() =
        http::StatusCode::from_u16(problem.status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers_out = response.headers_mut();
    headers_out.insert(header::CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
    headers_out.insert(headers::NODE_PROBLEM, HeaderValue::from_static(problem.code.as_str()));
    response
}
