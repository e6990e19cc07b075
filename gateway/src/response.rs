//! Responses: the body type that all of them share, and problems (RFC 9457) with `Proxy-Status` (RFC 9209).

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use fabric::BodyError;
use http::header::{self, HeaderValue};
use http::{HeaderName, StatusCode};
use http_body::{Body, Frame, SizeHint};
use protocol::{Problem, proxy_status};

use crate::pieces::Piece;

/// The gateway's response.
pub(crate) type Response = http::Response<ResponseBody>;

/// The body of a response: an enum, so that short responses allocate nothing.
pub(crate) enum ResponseBody {
    Empty,
    Full(Bytes),
    /// A function's response, observed.
    Run(fabric::Body),
    /// The control plane's response: pieces that are there, and the rest.
    Core(VecDeque<Piece>, fabric::Body),
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let this = self.get_mut();
        match this {
            Self::Empty => Poll::Ready(None),
            Self::Full(_) => match std::mem::replace(this, Self::Empty) {
                Self::Full(bytes) if !bytes.is_empty() => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                _ => Poll::Ready(None),
            },
            Self::Run(body) => Pin::new(body).poll_frame(cx),
            Self::Core(ahead, body) => match ahead.pop_front() {
                Some(piece) => Poll::Ready(Some(piece)),
                None => Pin::new(body).poll_frame(cx),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Run(body) => body.is_end_stream(),
            Self::Core(ahead, body) => ahead.is_empty() && body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Run(body) => body.size_hint(),
            Self::Core(..) => SizeHint::default(),
        }
    }
}

/// A short response.
pub(crate) fn full(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = http::Response::new(ResponseBody::Full(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A response in JSON.
pub(crate) fn json(status: StatusCode, value: &impl serde::Serialize) -> Response {
    full(status, "application/json", serde_json::to_vec(value).unwrap_or_default())
}

/// The response that carries a problem.
pub(crate) fn refuse(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = full(status, Problem::MEDIA_TYPE, problem.to_json());
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(value) = HeaderValue::try_from(problem.proxy_status()) {
        headers.insert(HeaderName::from_static(proxy_status::HEADER), value);
    }
    match status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"crowdcloud\""));
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    response
}

/// The same as bytes, where no server writes to the connection. It is the last response there.
pub(crate) fn last_words(problem: &Problem) -> Vec<u8> {
    let body = problem.to_json();
    let reason = StatusCode::from_u16(problem.status).ok().and_then(|status| status.canonical_reason());
    let head = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: {}\r\n{}: {}\r\ncontent-length: {}\r\ncache-control: no-store\r\n{}connection: \
         close\r\n\r\n",
        problem.status,
        reason.unwrap_or_default(),
        Problem::MEDIA_TYPE,
        proxy_status::HEADER,
        problem.proxy_status(),
        body.len(),
        if problem.retry { "retry-after: 1\r\n" } else { "" },
    );
    [head.as_bytes(), &body].concat()
}

#[cfg(test)]
mod tests {
    use protocol::Code;

    use super::*;

    #[test]
    fn every_code_makes_a_valid_response() {
        for &code in Code::ALL {
            let response = refuse(&Problem::from(code));
            assert_eq!(response.status().as_u16(), code.status());
            let proxy_status = response.headers()["proxy-status"].to_str().unwrap();
            assert!(proxy_status.ends_with(&format!("details=\"{code}\"")), "{proxy_status}");
        }
    }
}
