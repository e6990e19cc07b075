//! A function's answer on its way to the caller: counted and bounded.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use fabric::BodyError;
use futures::FutureExt as _;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use protocol::{ByteSize, Code};

use super::live::LiveRun;
use crate::hygiene;

/// The answer's body.
pub(crate) struct Download(Option<Running>);

/// A piece of an answer.
pub(crate) type Piece = Result<Frame<Bytes>, BodyError>;

/// Whether an answer is there as a whole already.
pub(crate) enum Whole {
    Yes(Bytes),
    /// What is there of it.
    Not(VecDeque<Piece>),
}

/// Takes a short answer that has come in one piece, without waiting.
pub(crate) fn take_whole(body: &mut fabric::Body) -> Whole {
    let mut ahead = VecDeque::new();
    while ahead.len() < 2 {
        match body.frame().now_or_never() {
            None => return Whole::Not(ahead),
            Some(Some(piece)) => ahead.push_back(piece),
            Some(None) => break,
        }
    }
    match ahead.pop_front() {
        None => Whole::Yes(Bytes::new()),
        Some(Ok(only)) if ahead.is_empty() && only.is_data() => Whole::Yes(only.into_data().unwrap_or_default()),
        Some(first) => {
            ahead.push_front(first);
            Whole::Not(ahead)
        }
    }
}

/// Fields drop in this order: first the exchange is cancelled, then the run concludes.
struct Running {
    body: fabric::Body,
    ahead: VecDeque<Piece>,
    size_max: ByteSize,
    /// The length that the function has announced.
    announced: Option<u64>,
    passed: u64,
    run: LiveRun,
}

impl Download {
    /// The rest of an answer, after the pieces that are there `ahead`.
    pub(crate) fn new(
        body: fabric::Body,
        ahead: VecDeque<Piece>,
        size_max: ByteSize,
        announced: Option<u64>,
        run: LiveRun,
    ) -> Self {
        Self(Some(Running { body, ahead, size_max, announced, passed: 0, run }))
    }

    /// Reads the answer to its end without a caller: for answers that have no body on the wire.
    pub(crate) fn swallow(mut self) {
        if let Some(running) = self.0.take() {
            running.finish_aside();
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Some(running) = &mut this.0 else { return Poll::Ready(None) };
        let step = ready!(running.poll_step(cx));
        if !matches!(step, Some(Ok(_))) {
            this.0 = None;
        }
        Poll::Ready(step)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.0.is_none() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        // The server stops asking at the announced length, before it has seen the end: that is no cancel.
        if let Some(running) = self.0.take_if(|running| running.announced.is_some_and(|all| running.passed >= all)) {
            running.finish_aside();
        }
    }
}

impl Running {
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = match self.ahead.pop_front() {
            Some(piece) => Some(piece),
            None => ready!(Pin::new(&mut self.body).poll_frame(cx)),
        };
        Poll::Ready(match next {
            None => {
                self.run.completed();
                None
            }
            Some(Ok(frame)) => {
                self.passed = self.run.passed_out(frame.data_ref().map_or(0, Bytes::len));
                if self.passed > self.size_max.0 {
                    self.run.failed(Code::ResponseTooLarge);
                    return Poll::Ready(Some(Err(BodyError::Aborted(Code::ResponseTooLarge.as_str().to_owned()))));
                }
                Some(Ok(match frame.into_trailers() {
                    Ok(mut trailers) => {
                        // The server asks for nothing after them.
                        self.run.completed();
                        hygiene::clean_trailers(&mut trailers);
                        Frame::trailers(trailers)
                    }
                    Err(frame) => frame,
                }))
            }
            Some(Err(error)) => {
                self.run.failed(match &error {
                    BodyError::Deadline => Code::TimedOut,
                    BodyError::Lost => Code::NodeLost,
                    BodyError::Aborted(_) | BodyError::Source(_) => Code::NodeFailed,
                });
                Some(Err(error))
            }
        })
    }

    fn finish_aside(self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let mut rest = Download(Some(Self { announced: None, ..self }));
            while let Some(Ok(_)) = rest.frame().await {}
        });
    }
}
