//! A function's response, as the caller shall see it.

use std::collections::VecDeque;
use std::time::Instant;

use http::header::{self, HeaderMap, HeaderValue};
use http::{HeaderName, Method, StatusCode, Version};
use http_body::Frame;
use protocol::route::VersionRoute;
use protocol::{Code, NodeId, RunId, headers};

use super::download::Download;
use super::live::LiveRun;
use super::send::NodeResponse;
use crate::headers::{announced_trailers, clean_response, names_of_trailers};
use crate::meters::Meters;
use crate::pieces::{Piece, Whole, take_whole};
use crate::response::{Response, ResponseBody};

/// When things happened.
pub(super) struct Timing {
    pub(super) received: Instant,
    pub(super) placed: Instant,
    pub(super) answered: Instant,
}

impl Timing {
    pub(super) fn count(&self, meters: &Meters) {
        let Self { received, placed, answered } = *self;
        meters.head_came(placed.saturating_duration_since(received), answered.saturating_duration_since(placed));
    }

    fn header(&self) -> String {
        let ms = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64() * 1000.0;
        let Self { received, placed, answered } = *self;
        format!("gateway;dur={:.2}, node;dur={:.2}", ms(received, placed), ms(placed, answered))
    }
}

/// What was asked, as far as it shapes the response.
pub(super) struct Asked<'a> {
    pub(super) run: RunId,
    pub(super) method: &'a Method,
    /// The function's path on a shared origin; empty: it has a host of its own.
    pub(super) prefix: &'a str,
    pub(super) version: &'a VersionRoute,
    /// The caller takes trailers.
    pub(super) trailers: bool,
    pub(super) timing: Timing,
}

/// The response of a node that took the run, as the caller shall see it.
pub(super) fn to_caller(from: NodeResponse, mut live: LiveRun, asked: &Asked<'_>) -> Result<Response, Code> {
    let NodeResponse { response, node } = from;
    let (mut head, mut body) = response.into_parts();
    // The version is of one connection: what the function speaks is between it and its node.
    head.version = Version::HTTP_11;
    if head.status.is_informational() {
        live.refused(Code::InvalidResponse);
        return Err(Code::InvalidResponse);
    }
    let size_max = asked.version.limits.body;
    let announced = content_length(&mut head.headers);
    // Of a response to HEAD, and of 304, the length is that of another response.
    let of_another = *asked.method == Method::HEAD || head.status == StatusCode::NOT_MODIFIED;
    let bodiless = of_another || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
    if announced.is_some_and(|length| length > size_max.0) && !of_another {
        live.refused(Code::ResponseTooLarge);
        return Err(Code::ResponseTooLarge);
    }
    let announced_names = if asked.trailers { announced_trailers(&head.headers) } else { None };
    clean_response(&mut head.headers, asked.prefix);
    mark(&mut head.headers, asked.run, Some(node));
    if let Ok(timing) = HeaderValue::try_from(asked.timing.header()) {
        head.headers.append(HeaderName::from_static("server-timing"), timing);
    }
    let body = match take_whole(&mut body) {
        Whole::Not(ahead) if bodiless => {
            Download::new(body, ahead, size_max, None, live).swallow();
            ResponseBody::Empty
        }
        Whole::Yes(_) if bodiless => {
            live.completed(0);
            ResponseBody::Empty
        }
        Whole::Yes(bytes) if bytes.len() as u64 <= size_max.0 => {
            // The server sets the true one.
            head.headers.remove(header::CONTENT_LENGTH);
            live.completed(bytes.len());
            ResponseBody::Full(bytes)
        }
        Whole::Yes(_) => {
            live.refused(Code::ResponseTooLarge);
            return Err(Code::ResponseTooLarge);
        }
        Whole::Not(ahead) => {
            // Those that are there need not have been announced.
            let there = if asked.trailers { trailers_of(&ahead) } else { None };
            if let Some(names) = there.or(announced_names) {
                // What has a length has no place for them.
                head.headers.remove(header::CONTENT_LENGTH);
                head.headers.insert(header::TRAILER, names);
            }
            ResponseBody::Run(fabric::Body::new(Download::new(body, ahead, size_max, announced, live)))
        }
    };
    // hyper sends a length without a body in a response to HEAD alone; a 304 need not have one (RFC 9110, 8.6).
    if bodiless && *asked.method != Method::HEAD {
        head.headers.remove(header::CONTENT_LENGTH);
    }
    Ok(http::Response::from_parts(head, body))
}

/// The names of trailers that have come already.
fn trailers_of(ahead: &VecDeque<Piece>) -> Option<HeaderValue> {
    let trailers = ahead.iter().filter_map(|piece| piece.as_ref().ok()).find_map(Frame::trailers_ref)?;
    names_of_trailers(trailers.keys().map(HeaderName::as_str))
}

/// The announced length; one that is no number, or several, are taken away.
fn content_length(headers: &mut HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let first = values.next()?;
    let length = first.to_str().ok().and_then(|text| text.parse().ok()).filter(|_| values.next().is_none());
    if length.is_none() {
        headers.remove(header::CONTENT_LENGTH);
    }
    length
}

/// Says which run it was, and where.
pub(super) fn mark(head: &mut HeaderMap, run: RunId, node: Option<NodeId>) {
    if let Ok(run) = HeaderValue::try_from(run.to_string()) {
        head.insert(headers::RUN, run);
    }
    if let Some(Ok(node)) = node.map(|node| HeaderValue::try_from(node.to_string())) {
        head.insert(headers::NODE, node);
    }
}
