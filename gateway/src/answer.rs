//! Answers: the body type that all of them share, and problems (RFC 9457) with `Proxy-Status` (RFC 9209).

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use fabric::BodyError;
use http::header::{self, HeaderValue};
use http::{HeaderName, StatusCode};
use http_body::{Body, Frame, SizeHint};
use protocol::{Problem, proxy_status};

use crate::run::{Download, Piece};

/// What the gateway answers.
pub(crate) type Answer = http::Response<AnswerBody>;

/// The body of an answer: an enum, so that short answers allocate nothing.
pub(crate) enum AnswerBody {
    Empty,
    Full(Bytes),
    /// A function's answer, observed.
    Run(Box<Download>),
    /// The control plane's answer: pieces that are there, and the rest.
    Core(VecDeque<Piece>, fabric::Body),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match this {
            Self::Empty => Poll::Ready(None),
            Self::Full(_) => match std::mem::replace(this, Self::Empty) {
                Self::Full(bytes) if !bytes.is_empty() => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                _ => Poll::Ready(None),
            },
            Self::Run(download) => Pin::new(&mut **download).poll_frame(cx),
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
            Self::Run(download) => download.is_end_stream(),
            Self::Core(ahead, body) => ahead.is_empty() && body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Run(download) => download.size_hint(),
            Self::Core(..) => SizeHint::default(),
        }
    }
}

/// A short answer.
pub(crate) fn full(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = http::Response::new(AnswerBody::Full(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, value: &impl serde::Serialize) -> Answer {
    full(status, "application/json", serde_json::to_vec(value).unwrap_or_default())
}

/// The answer that carries a problem.
pub(crate) fn refuse(problem: &Problem) -> Answer {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = full(status, Problem::MEDIA_TYPE, problem.to_json());
    let headers = answer.headers_mut();
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
    answer
}

#[cfg(test)]
mod tests {
    use protocol::Code;

    use super::*;

    #[test]
    fn every_code_makes_a_valid_answer() {
        for &code in Code::ALL {
            let answer = refuse(&Problem::from(code));
            assert_eq!(answer.status().as_u16(), code.status());
            let proxy_status = answer.headers()["proxy-status"].to_str().unwrap();
            assert!(proxy_status.ends_with(&format!("details=\"{code}\"")), "{proxy_status}");
        }
    }
}
