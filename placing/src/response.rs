//! A function's response on its way to whom it is for: counted, bounded, and its end told to the attempt.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use fabric::BodyError;
use http_body::{Body, Frame};
use protocol::{ByteSize, Code};

use crate::attempt::Attempt;
use crate::verdict::Verdict;

/// A piece of a response.
pub type Piece = Result<Frame<Bytes>, BodyError>;

/// Whoever has an attempt while its response passes.
pub trait HasAttempt {
    /// The attempt, as long as it is not over.
    fn attempt(&mut self) -> Option<&mut Attempt>;
}

impl HasAttempt for Attempt {
    fn attempt(&mut self) -> Option<&mut Attempt> {
        Some(self)
    }
}

/// The response's body. Fields drop in this order: first the exchange is cancelled, then the attempt may end.
pub struct ResponseBody<H> {
    body: fabric::Body,
    /// Pieces that have been taken from it already.
    ahead: VecDeque<Piece>,
    size_max: ByteSize,
    passed: ByteSize,
    over: bool,
    holder: H,
}

impl<H: HasAttempt> ResponseBody<H> {
    /// The rest of a response, after the pieces that are there `ahead`.
    pub fn new(body: fabric::Body, ahead: VecDeque<Piece>, size_max: ByteSize, holder: H) -> Self {
        Self { body, ahead, size_max, passed: ByteSize(0), over: false, holder }
    }

    /// Bytes that have passed.
    #[must_use]
    pub fn passed(&self) -> ByteSize {
        self.passed
    }

    /// What has not come is wanted no more: it is cancelled on the node, unless all has come.
    pub fn into_holder(self) -> H {
        self.holder
    }

    /// Tells the attempt what comes.
    fn take(&mut self, next: Option<Piece>) -> Option<Piece> {
        let Some(attempt) = self.holder.attempt() else { return next };
        let frame = match next {
            None => {
                self.over = true;
                attempt.completed();
                return None;
            }
            Some(Err(error)) => {
                self.over = true;
                attempt.fail(Verdict::of_body(&error));
                return Some(Err(error));
            }
            Some(Ok(frame)) => frame,
        };
        self.passed = attempt.passed_out(frame.data_ref().map_or(0, Bytes::len));
        if self.passed > self.size_max {
            self.over = true;
            attempt.fail(Verdict::too_large(self.size_max));
            return Some(Err(BodyError::Aborted(Code::ResponseTooLarge.as_str().to_owned())));
        }
        if frame.is_trailers() {
            // A server asks for nothing after them.
            attempt.completed();
        }
        Some(Ok(frame))
    }
}

impl<H: HasAttempt + Unpin> Body for ResponseBody<H> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        let next = match this.ahead.pop_front() {
            Some(piece) => Some(piece),
            None => ready!(Pin::new(&mut this.body).poll_frame(cx)),
        };
        Poll::Ready(this.take(next))
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }
}
