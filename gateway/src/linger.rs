//! A connection's body, read to its end even where nobody wants the rest: a connection that is closed while the caller
//! still sends is reset, and the answer is lost before the caller has read it (RFC 9112, section 9.6).

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use fabric::BodyError;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

/// The rest gets so long, and so many bytes; then the connection closes all the same.
const TIME_MAX: Duration = Duration::from_secs(2);
const SIZE_MAX: u64 = 64 << 20;

/// A request's body. Dropped before its end, it goes on reading aside for a moment.
pub(crate) struct Lingering<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    /// None after its end.
    inner: Option<B>,
    /// Reading tells the caller to go on: who waits for `100 Continue` is not told so just to throw the body away.
    invited: bool,
}

impl<B> Lingering<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    /// `expects` says that the caller sends nothing before `100 Continue`.
    pub(crate) fn new(inner: B, expects: bool) -> Self {
        Self { inner: Some(inner), invited: !expects }
    }
}

impl<B> Body for Lingering<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        this.invited = true;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        let next = ready!(Pin::new(inner).poll_frame(cx));
        if !matches!(next, Some(Ok(_))) {
            this.inner = None;
        }
        Poll::Ready(next.map(|frame| frame.map_err(|error| BodyError::Source(error.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B> Drop for Lingering<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        let rest = self.inner.take().filter(|rest| self.invited && !rest.is_end_stream());
        if let (Some(rest), Ok(runtime)) = (rest, tokio::runtime::Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(TIME_MAX, discard(rest)));
        }
    }
}

async fn discard<B>(mut body: B)
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut left = SIZE_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::StreamBody;
    use tokio::sync::mpsc;

    use super::*;

    type Frames = mpsc::Receiver<Result<Frame<Bytes>, Infallible>>;

    fn body(expects: bool) -> (mpsc::Sender<Result<Frame<Bytes>, Infallible>>, impl Body<Error = BodyError>) {
        let (sender, receiver): (_, Frames) = mpsc::channel(1);
        let stream = futures::stream::unfold(receiver, async |mut frames| Some((frames.recv().await?, frames)));
        (sender, Lingering::new(StreamBody::new(Box::pin(stream)), expects))
    }

    fn frame() -> Result<Frame<Bytes>, Infallible> {
        Ok(Frame::data(Bytes::from_static(b"rest")))
    }

    #[tokio::test]
    async fn the_rest_is_read_aside() {
        let (sender, body) = body(false);
        drop(body);
        for _ in 0..100 {
            sender.send(frame()).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn but_not_for_ever() {
        let (sender, body) = body(false);
        drop(body);
        tokio::time::timeout(TIME_MAX * 2, sender.closed()).await.unwrap();
    }

    #[tokio::test]
    async fn nobody_is_asked_for_what_is_thrown_away() {
        let (sender, body) = body(true);
        drop(body);
        assert!(sender.send(frame()).await.is_err());
    }
}
