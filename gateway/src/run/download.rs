//! The body of a function's response on its way to the caller.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use fabric::BodyError;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use placing::ResponseBody;
use protocol::ByteSize;

use super::live::LiveRun;
use crate::headers::clean_trailers;
use crate::pieces::Piece;

/// The response's body.
pub(crate) struct Download(Option<Running>);

struct Running {
    body: ResponseBody<LiveRun>,
    /// The length that the function has announced.
    announced: Option<u64>,
}

impl Download {
    /// The rest of a response, after the pieces that are there `ahead`.
    pub(crate) fn new(
        body: fabric::Body,
        ahead: VecDeque<Piece>,
        size_max: ByteSize,
        announced: Option<u64>,
        run: LiveRun,
    ) -> Self {
        Self(Some(Running { body: ResponseBody::new(body, ahead, size_max, run), announced }))
    }

    /// Reads the response to its end without a caller: for responses that have no body on the wire.
    pub(crate) fn swallow(mut self) {
        if let Some(running) = self.0.take() {
            running.finish_aside();
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let this = self.get_mut();
        let Some(running) = &mut this.0 else { return Poll::Ready(None) };
        let step = ready!(Pin::new(&mut running.body).poll_frame(cx));
        if !matches!(step, Some(Ok(_))) {
            this.0 = None;
        }
        Poll::Ready(step.map(|piece| piece.map(for_caller)))
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
        if let Some(running) = self.0.take_if(|running| running.has_passed_all()) {
            running.finish_aside();
        }
    }
}

/// Trailers that a function may not send stay behind.
fn for_caller(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            clean_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

impl Running {
    fn has_passed_all(&self) -> bool {
        self.announced.is_some_and(|all| self.body.passed().0 >= all)
    }

    fn finish_aside(self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let mut rest = Download(Some(Self { announced: None, ..self }));
            while let Some(Ok(_)) = rest.frame().await {}
        });
    }
}
