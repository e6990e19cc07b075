//! A request's body on its way to a node: counted, bounded, watched for pauses, and kept from its beginning as long
//! as another node may still need it.
//!
//! ```text
//! caller --> Source --> Upload (counts, records up to `replay_max`) --> body 1 --> first node: busy
//!                                                                   \-> body 2 --> next node, from the beginning
//! ```

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use fabric::BodyError;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use protocol::{ByteSize, Code};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

/// Where a request's body comes from: the connection, or memory.
pub(crate) type Source = fabric::Body;

/// What an upload may do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UploadLimits {
    /// More bytes than that: `body_too_large`.
    pub(crate) size_max: ByteSize,
    /// A longer pause: `request_timeout`.
    pub(crate) idle: Duration,
    /// What waits for the caller longer than this allows: `request_timeout`. None for bodies that a function streams.
    pub(crate) pace: Option<Pace>,
    /// Kept for another node.
    pub(crate) replay_max: ByteSize,
}

/// The slowest that a body may come: `grace` in all, and beyond that a second for each `rate` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) grace: Duration,
    pub(crate) rate: ByteSize,
}

impl Pace {
    /// How long in all the caller may be waited for, once it has sent so much.
    fn allows(self, received: u64) -> Duration {
        let rate = u128::from(self.rate.0.max(1));
        let earned_us = u128::from(received) * 1_000_000 / rate;
        self.grace.saturating_add(Duration::from_micros(u64::try_from(earned_us).unwrap_or(u64::MAX)))
    }
}

/// A request's body. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Upload(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    failed: Notify,
}

struct State {
    source: Source,
    limits: UploadLimits,
    /// The whole, where the caller has said it.
    length: Option<u64>,
    received: u64,
    ended: bool,
    fault: Option<Code>,
    /// None when it is no longer kept.
    kept: Option<Vec<Piece>>,
    kept_bytes: u64,
    /// Only the newest body reads.
    reader: u64,
    pause: Option<Pause>,
    /// So long the caller was waited for; what others take to read what is there does not count.
    waited: Duration,
}

/// Waiting for the caller.
struct Pause {
    since: Instant,
    over: Pin<Box<Sleep>>,
}

#[derive(Clone)]
enum Piece {
    Data(Bytes),
    Trailers(http::HeaderMap),
}

impl Upload {
    /// Takes the body over; it is not read before a body of it is.
    pub(crate) fn new(source: Source, limits: UploadLimits) -> Self {
        let length = source.size_hint().exact();
        let ended = source.is_end_stream();
        let state = State {
            source,
            limits,
            length,
            received: 0,
            ended,
            fault: None,
            kept: Some(Vec::new()),
            kept_bytes: 0,
            reader: 0,
            pause: None,
            waited: Duration::ZERO,
        };
        Self(Arc::new(Inner { state: Mutex::new(state), failed: Notify::new() }))
    }

    /// Bytes that have arrived.
    pub(crate) fn received(&self) -> ByteSize {
        ByteSize(self.0.state.lock().received)
    }

    /// Whether it can be sent from its beginning.
    pub(crate) fn replayable(&self) -> bool {
        self.0.state.lock().kept.is_some()
    }

    /// The whole body from its beginning, for one node; an earlier one ends. Nothing where it is not replayable.
    pub(crate) fn body(&self) -> Option<fabric::Body> {
        let mut state = self.0.state.lock();
        state.kept.as_ref()?;
        state.reader += 1;
        let reader = state.reader;
        drop(state);
        Some(fabric::Body::new(UploadBody { upload: self.clone(), reader, place: 0, passed: 0 }))
    }

    /// No other node will need it.
    pub(crate) fn forget(&self) {
        let mut state = self.0.state.lock();
        // What is kept may not be read yet by the newest body: it stays until then, but nothing is added.
        state.limits.replay_max = ByteSize(0);
    }

    /// Why the body broke off, if it did.
    pub(crate) fn fault(&self) -> Option<Code> {
        self.0.state.lock().fault
    }

    /// Resolves when the body breaks off; otherwise never.
    pub(crate) async fn broken(&self) -> Code {
        loop {
            if let Some(fault) = self.fault() {
                return fault;
            }
            self.0.failed.notified().await;
        }
    }
}

/// One reading of the upload.
struct UploadBody {
    upload: Upload,
    reader: u64,
    place: usize,
    passed: u64,
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let mut state = this.upload.0.state.lock();
        if state.reader != this.reader {
            return Poll::Ready(Some(Err(BodyError::Aborted("sent to another node".to_owned()))));
        }
        let kept = state.kept.as_ref().and_then(|kept| kept.get(this.place)).cloned();
        let piece = match kept {
            Some(piece) => Some(piece),
            None => match ready!(state.poll_source(cx)) {
                Ok(piece) => piece,
                Err(code) => {
                    drop(state);
                    this.upload.0.failed.notify_one();
                    return Poll::Ready(Some(Err(BodyError::Aborted(code.as_str().to_owned()))));
                }
            },
        };
        this.place += 1;
        Poll::Ready(piece.map(|piece| {
            Ok(match piece {
                Piece::Data(data) => {
                    this.passed += data.len() as u64;
                    Frame::data(data)
                }
                Piece::Trailers(trailers) => Frame::trailers(trailers),
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        let state = self.upload.0.state.lock();
        state.ended && state.kept.as_ref().is_none_or(|kept| self.place >= kept.len())
    }

    fn size_hint(&self) -> SizeHint {
        match self.upload.0.state.lock().length {
            Some(length) => SizeHint::with_exact(length.saturating_sub(self.passed)),
            None => SizeHint::default(),
        }
    }
}

impl State {
    /// The next piece from the caller, recorded while there is room.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Piece>, Code>> {
        if let Some(fault) = self.fault {
            return Poll::Ready(Err(fault));
        }
        if self.ended {
            return Poll::Ready(Ok(None));
        }
        let Poll::Ready(next) = Pin::new(&mut self.source).poll_frame(cx) else {
            return self.poll_pause(cx).map(Err);
        };
        if let Some(pause) = self.pause.take() {
            self.waited += pause.since.elapsed();
        }
        self.ended = self.source.is_end_stream();
        let piece = match next {
            None => {
                self.ended = true;
                return Poll::Ready(Ok(None));
            }
            Some(Err(error)) => return Poll::Ready(Err(self.fail(fault_of(&error)))),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Piece::Data(data),
                Err(frame) => Piece::Trailers(frame.into_trailers().unwrap_or_default()),
            },
        };
        if let Piece::Data(data) = &piece {
            self.received += data.len() as u64;
            self.kept_bytes += data.len() as u64;
        }
        if self.received > self.limits.size_max.0 {
            return Poll::Ready(Err(self.fail(Code::BodyTooLarge)));
        }
        if self.kept_bytes > self.limits.replay_max.0 {
            self.kept = None;
        }
        if let Some(kept) = &mut self.kept {
            kept.push(piece.clone());
        }
        Poll::Ready(Ok(Some(piece)))
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<Code> {
        let left = self.limits.pace.map(|pace| pace.allows(self.received).saturating_sub(self.waited));
        let most = left.map_or(self.limits.idle, |left| left.min(self.limits.idle));
        let pause =
            self.pause.get_or_insert_with(|| Pause { since: Instant::now(), over: Box::pin(tokio::time::sleep(most)) });
        ready!(pause.over.as_mut().poll(cx));
        Poll::Ready(self.fail(Code::RequestTimeout))
    }

    fn fail(&mut self, code: Code) -> Code {
        self.fault = Some(code);
        self.kept = None;
        // Whoever reads the rest of it need not wait for us.
        self.source = fabric::empty();
        code
    }
}

/// Why a source failed: its caller wrote what is no body, or ended within it.
fn fault_of(error: &BodyError) -> Code {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(found) = cause {
        if let Some(error) = found.downcast_ref::<io::Error>()
            && matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
        {
            return Code::InvalidRequest;
        }
        cause = found.source();
    }
    Code::BodyIncomplete
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full, StreamBody};

    use super::*;

    fn limits(size_max: u64, replay_max: u64) -> UploadLimits {
        let idle = Duration::from_secs(5);
        UploadLimits { size_max: ByteSize(size_max), idle, pace: None, replay_max: ByteSize(replay_max) }
    }

    fn chunks(sizes: &[usize]) -> Source {
        let frames: Vec<_> =
            sizes.iter().map(|&size| Ok::<_, BodyError>(Frame::data(Bytes::from(vec![7; size])))).collect();
        Source::new(StreamBody::new(futures::stream::iter(frames)))
    }

    #[tokio::test]
    async fn another_node_gets_it_from_the_beginning() {
        let upload = Upload::new(chunks(&[3, 4, 5]), limits(100, 100));
        let mut first = upload.body().unwrap();
        assert_eq!(first.frame().await.unwrap().unwrap().into_data().unwrap().len(), 3);
        let second = upload.body().unwrap();
        assert!(first.frame().await.unwrap().is_err(), "an earlier body ends");
        assert_eq!(second.collect().await.unwrap().to_bytes().len(), 12);
        assert_eq!(upload.received(), ByteSize(12));
        assert_eq!(upload.body().unwrap().collect().await.unwrap().to_bytes().len(), 12);
    }

    #[tokio::test]
    async fn what_is_too_long_is_not_kept_but_passes() {
        let upload = Upload::new(chunks(&[30, 40, 50]), limits(1000, 64));
        assert_eq!(upload.body().unwrap().collect().await.unwrap().to_bytes().len(), 120);
        assert!(!upload.replayable());
        assert!(upload.body().is_none());
    }

    #[tokio::test]
    async fn too_large_and_too_slow_break_off() {
        let upload = Upload::new(chunks(&[30, 40]), limits(50, 100));
        assert!(upload.body().unwrap().collect().await.is_err());
        assert_eq!(upload.broken().await, Code::BodyTooLarge);

        tokio::time::pause();
        let silent = Source::new(StreamBody::new(futures::stream::pending()));
        let upload = Upload::new(silent, limits(50, 100));
        assert!(upload.body().unwrap().collect().await.is_err());
        assert_eq!(upload.fault(), Some(Code::RequestTimeout));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_told_from_one_that_is_none() {
        for (kind, code) in [
            (io::ErrorKind::UnexpectedEof, Code::BodyIncomplete),
            (io::ErrorKind::ConnectionReset, Code::BodyIncomplete),
            (io::ErrorKind::InvalidInput, Code::InvalidRequest),
            (io::ErrorKind::InvalidData, Code::InvalidRequest),
        ] {
            let pieces =
                [Ok(Frame::data(Bytes::from_static(b"begun"))), Err(BodyError::Source(io::Error::from(kind).into()))];
            let upload = Upload::new(Source::new(StreamBody::new(futures::stream::iter(pieces))), limits(50, 100));
            assert!(upload.body().unwrap().collect().await.is_err());
            assert_eq!(upload.fault(), Some(code), "{kind:?}");
        }
    }

    /// A piece of so many bytes each so often.
    fn dripping(size: usize, each: Duration) -> Source {
        Source::new(StreamBody::new(Box::pin(futures::stream::unfold((), move |()| async move {
            tokio::time::sleep(each).await;
            Some((Ok::<_, BodyError>(Frame::data(Bytes::from(vec![7; size]))), ()))
        }))))
    }

    #[tokio::test(start_paused = true)]
    async fn a17_a_body_comes_at_the_least_rate_or_not_at_all() {
        let pace = Pace { grace: Duration::from_secs(10), rate: ByteSize(100) };
        let paced = |source| Upload::new(source, UploadLimits { pace: Some(pace), ..limits(100_000, 0) });
        let begun = Instant::now();
        let slow = paced(dripping(10, Duration::from_secs(1)));
        assert!(slow.body().unwrap().collect().await.is_err());
        assert_eq!(slow.fault(), Some(Code::RequestTimeout));
        assert!(begun.elapsed() < Duration::from_secs(13), "{:?}", begun.elapsed());

        // Fast enough, it may take as long as it takes; and a reader who is slow is not the caller's fault.
        let fast = paced(dripping(200, Duration::from_secs(1)));
        let mut body = fast.body().unwrap();
        for _ in 0..100 {
            body.frame().await.unwrap().unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        // A function's stream has no rate.
        let stream = Upload::new(dripping(1, Duration::from_secs(4)), limits(100, 0));
        let mut body = stream.body().unwrap();
        for _ in 0..90 {
            body.frame().await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn lengths_are_told() {
        let source = Source::new(Full::new(Bytes::from_static(b"abcd")).map_err(|never| match never {}));
        let upload = Upload::new(source, limits(50, 100));
        let body = upload.body().unwrap();
        assert_eq!(body.size_hint().exact(), Some(4));
        body.collect().await.unwrap();
        assert_eq!(upload.body().unwrap().size_hint().exact(), Some(4));
    }
}
