//! Bodies: what every request and response on the fabric carries, and the one that reads from an exchange.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame as BodyFrame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::Sleep;

use crate::exchange::Link;
use crate::exchange::window::{Failure, Next};

/// The body of every request and response on the fabric.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BodyError>;

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The peer went away, or a gap in the sequence.
    #[error("the peer was lost")]
    Lost,
    /// The peer ended the exchange, with this reason.
    #[error("the peer aborted: {0}")]
    Aborted(String),
    /// The deadline passed.
    #[error("the deadline passed")]
    Deadline,
    /// The producer of the body failed.
    #[error("the body's source failed: {0}")]
    Source(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<Failure> for BodyError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Lost => Self::Lost,
            Failure::Deadline => Self::Deadline,
            Failure::Aborted(reason) => Self::Aborted(reason),
            Failure::Source(reason) => Self::Source(reason.into()),
        }
    }
}

/// A body without bytes.
pub fn empty() -> Body {
    http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body of these bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    http_body_util::Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// The body that the peer of an exchange sends.
pub(crate) struct InBody {
    link: Arc<Link>,
    deadline: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    done: bool,
}

impl InBody {
    pub(crate) fn new(link: Arc<Link>, deadline: Option<Instant>) -> Self {
        Self { link, deadline, timer: None, done: false }
    }

    /// Only a caller has a timer: it ends the exchange for both.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = self.deadline else { return false };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        timer.as_mut().poll(cx).is_ready()
    }
}

impl http_body::Body for InBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<BodyFrame<Bytes>, BodyError>>> {
        if self.done {
            return Poll::Ready(None);
        }
        match self.link.poll_piece(cx) {
            Next::Piece(piece, grant) => {
                if grant > 0 {
                    self.link.send_credit(grant);
                }
                Poll::Ready(Some(Ok(BodyFrame::data(piece))))
            }
            Next::Trailers(trailers) => Poll::Ready(Some(Ok(BodyFrame::trailers(trailers)))),
            Next::End => {
                self.done = true;
                Poll::Ready(None)
            }
            Next::Failed(failure) => {
                self.done = true;
                Poll::Ready(Some(Err(failure.into())))
            }
            Next::Wait => {
                if !self.poll_deadline(cx) {
                    return Poll::Pending;
                }
                self.done = true;
                self.link.cancel(true);
                Poll::Ready(Some(Err(BodyError::Deadline)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.done
    }

    fn size_hint(&self) -> SizeHint {
        self.link.known_size().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for InBody {
    fn drop(&mut self) {
        self.link.reader_gone();
    }
}

/// The first bytes of a body, as many as are there at once.
#[derive(Default)]
pub(crate) struct Start {
    /// The only piece, which most bodies have.
    first: Bytes,
    /// All pieces, if there are more.
    joined: BytesMut,
    /// The body ended with them.
    pub(crate) fin: bool,
    /// A piece that did not fit any more.
    pub(crate) rest: Bytes,
    pub(crate) failed: Option<BodyError>,
    /// What follows the body, where the peer takes it.
    pub(crate) trailers: Option<HeaderMap>,
    keeps_trailers: bool,
}

/// Polls the body until it has no more for now, or `limit` bytes are there.
pub(crate) fn poll_start(body: &mut Body, start: &mut Start, limit: usize, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        if start.fin || !start.rest.is_empty() || start.failed.is_some() {
            return Poll::Ready(());
        }
        if body.is_end_stream() {
            start.fin = true;
            return Poll::Ready(());
        }
        match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => start.fin = true,
            Poll::Ready(Some(Err(error))) => start.failed = Some(error),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(piece) => start.push(piece, limit),
                Err(frame) if start.keeps_trailers => start.trailers = frame.into_trailers().ok(),
                Err(_) => {}
            },
        }
    }
}

impl Start {
    /// Of a body whose trailers count, or do not.
    pub(crate) fn keeping_trailers(keeps_trailers: bool) -> Self {
        Self { keeps_trailers, ..Self::default() }
    }

    /// What comes after this has been sent.
    pub(crate) fn next(self) -> Self {
        let Self { rest, trailers, keeps_trailers, .. } = self;
        Self { first: rest, trailers, keeps_trailers, ..Self::default() }
    }

    /// It is all of the body, and nothing follows.
    pub(crate) fn is_whole(&self) -> bool {
        self.fin && self.trailers.is_none()
    }

    pub(crate) fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    pub(crate) fn take_bytes(&mut self) -> Bytes {
        if self.joined.is_empty() { std::mem::take(&mut self.first) } else { self.joined.split().freeze() }
    }

    fn push(&mut self, mut piece: Bytes, limit: usize) {
        let room = limit.saturating_sub(self.len());
        if piece.len() > room {
            self.rest = piece.split_off(room);
        }
        if self.len() == 0 {
            self.first = piece;
        } else if !piece.is_empty() {
            let first = std::mem::take(&mut self.first);
            self.joined.extend_from_slice(&first);
            self.joined.extend_from_slice(&piece);
        }
    }
}
