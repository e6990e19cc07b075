//! The two bodies of a run, counted and bounded: what the guest reads, and what it writes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use protocol::Code;
use tokio::time::Sleep;
use wasmtime_wasi_http::{Error, WasiBody};

use crate::record::Record;

/// The request's body, as the guest reads it.
pub(crate) struct Incoming<B> {
    body: B,
    record: Arc<Record>,
}

impl<B> Incoming<B> {
    pub(crate) fn new(body: B, record: Arc<Record>) -> Self {
        Self { body, record }
    }
}

impl<B> http_body::Body for Incoming<B>
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Display> + Unpin,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(match frame {
            None => None,
            Some(Err(error)) => {
                self.record.starve(&error);
                Some(Err(Error::ConnectionTerminated))
            }
            Some(Ok(frame)) => {
                let total = self.record.add_in(frame.data_ref().map_or(0, Bytes::len));
                let limit = self.record.limits.body;
                if total > limit.0 {
                    self.record.fail(Code::BodyTooLarge, format!("the request's body is larger than {limit}"));
                    return Poll::Ready(Some(Err(Error::HttpRequestBodySize(Some(total)))));
                }
                Some(Ok(frame))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Why an answer's body broke off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The run failed: its verdict.
    #[error("{0}")]
    Failed(String),
    /// Nobody knows.
    #[error("the run was lost")]
    Lost,
}

/// A function's head as it may leave the host: final, without headers of ours; none where the run has failed.
pub fn presentable(head: Option<http::Response<WasiBody>>, record: &Record) -> Option<http::Response<WasiBody>> {
    let mut response = head.filter(|_| !record.has_failed())?;
    if response.status().as_u16() < 200 {
        record.fail(Code::InvalidResponse, format!("{} is no final status", response.status()));
        return None;
    }
    remove_ours(response.headers_mut());
    Some(response)
}

/// A function neither sees nor sets headers of ours.
pub(crate) fn remove_ours(headers: &mut http::HeaderMap) {
    protocol::headers::remove_where(headers, protocol::headers::is_ours);
}

/// The answer's body, as the caller's side reads it. It ends in an error where the guest did not end well.
pub struct Outgoing {
    body: WasiBody,
    record: Arc<Record>,
    deadline: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl Outgoing {
    /// A body of this run.
    pub fn new(body: WasiBody, record: Arc<Record>) -> Self {
        Self { body, record, deadline: None, ended: false }
    }

    /// Whose body it is.
    pub fn record(&self) -> &Record {
        &self.record
    }

    fn broken(&mut self) -> Broken {
        self.ended = true;
        match self.record.verdict() {
            Some(verdict) => match verdict.code {
                Some(code) => Broken::Failed(format!("{code}: {}", verdict.detail)),
                None => Broken::Failed(verdict.detail),
            },
            None => Broken::Lost,
        }
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let deadline = self.record.deadline;
        let sleep = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        sleep.as_mut().poll(cx).is_ready()
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let total = self.record.add_out(frame.data_ref().map_or(0, Bytes::len));
                let limit = self.record.limits.body;
                if total > limit.0 {
                    self.record.fail(Code::ResponseTooLarge, format!("the response is larger than {limit}"));
                    return Poll::Ready(Some(Err(self.broken())));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.record.fail(Code::InvalidResponse, format!("the response's body broke off: {error}"));
                Poll::Ready(Some(Err(self.broken())))
            }
            Poll::Ready(None) if self.record.has_failed() => Poll::Ready(Some(Err(self.broken()))),
            Poll::Ready(None) => {
                self.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending if self.is_late(cx) => {
                self.record.interrupt();
                Poll::Ready(Some(Err(self.broken())))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if !self.ended {
            self.record.interrupt();
        }
    }
}
