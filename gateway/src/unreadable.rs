//! Requests that hyper cannot read: it answers them itself, with a status and no body, before anything of ours is asked,
//! and closes. Where such an answer is the first thing that a connection carries, its caller gets a problem document
//! instead.
//!
//! ```text
//! silent --hyper's own answer, no request read--> refusing --sent--> the rest is thrown away, closed
//!    \--anything else--> passing
//! ```
//! Only at first: once a request has been read, what leaves may be a function's bytes, which could look like an answer of
//! hyper's. So a later request that cannot be read gets the bare status.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use protocol::{ByteSize, Code, Problem};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::response::last_words;

/// Unread bytes would make the close a reset, and the answer would be lost: they are read for so long.
const LINGER: Duration = Duration::from_millis(300);

/// Whether a request of a connection has been read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Served(Arc<AtomicBool>);

impl Served {
    /// One has.
    pub(crate) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a head may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadLimits {
    pub(crate) headers_max: usize,
    pub(crate) size_max: ByteSize,
}

/// A connection whose first answer is in our words.
pub(crate) struct FirstWords<S, F> {
    stream: S,
    state: State,
    served: Served,
    limits: HeadLimits,
    /// Is told which code was answered.
    refused: F,
}

enum State {
    Silent,
    Refusing { answer: Vec<u8>, sent: usize, over: Option<Pin<Box<Sleep>>> },
    Passing,
}

impl<S, F: FnMut(Code)> FirstWords<S, F> {
    pub(crate) fn new(stream: S, served: Served, limits: HeadLimits, refused: F) -> Self {
        Self { stream, state: State::Silent, served, limits, refused }
    }

    /// Decides by what is written first.
    fn look(&mut self, first: &[u8]) {
        if !matches!(self.state, State::Silent) {
            return;
        }
        let problem = if self.served.any() { None } else { problem(first, self.limits) };
        self.state = match problem {
            Some(problem) => {
                (self.refused)(problem.code);
                State::Refusing { answer: last_words(&problem), sent: 0, over: None }
            }
            None => State::Passing,
        };
    }
}

impl<S: AsyncWrite + Unpin, F> FirstWords<S, F> {
    /// Sends ours, in the place of so many bytes of hyper's.
    fn poll_refuse(&mut self, cx: &mut Context<'_>, instead_of: usize) -> Poll<io::Result<usize>> {
        if let State::Refusing { answer, sent, .. } = &mut self.state {
            while *sent < answer.len() {
                match ready!(Pin::new(&mut self.stream).poll_write(cx, &answer[*sent..]))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    wrote => *sent += wrote,
                }
            }
        }
        Poll::Ready(Ok(instead_of))
    }
}

impl<S: AsyncRead + Unpin, F> FirstWords<S, F> {
    /// Throws away what a refused caller still sends, for a moment.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let State::Refusing { over, .. } = &mut self.state else { return Poll::Ready(()) };
        let over = over.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        let mut piece = [0; 4096];
        while over.as_mut().poll(cx).is_pending() {
            let mut rest = ReadBuf::new(&mut piece);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut rest));
            if read.is_err() || rest.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin, F: Unpin> AsyncRead for FirstWords<S, F> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, F: FnMut(Code) + Unpin> AsyncWrite for FirstWords<S, F> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.look(bytes);
        match this.state {
            State::Refusing { .. } => this.poll_refuse(cx, bytes.len()),
            State::Silent | State::Passing => Pin::new(&mut this.stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if matches!(this.state, State::Silent) {
            let mut filled = slices.iter().filter(|slice| !slice.is_empty());
            // Hyper's own answer is a head alone, in one piece.
            match (filled.next(), filled.next()) {
                (None, _) => {}
                (Some(only), None) => this.look(only),
                (Some(_), Some(_)) => this.state = State::Passing,
            }
        }
        match this.state {
            State::Refusing { .. } => this.poll_refuse(cx, slices.iter().map(|slice| slice.len()).sum()),
            State::Silent | State::Passing => Pin::new(&mut this.stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_linger(cx));
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

/// What an answer of hyper's means; none where it is something else.
fn problem(written: &[u8], limits: HeadLimits) -> Option<Problem> {
    let head = std::str::from_utf8(written).ok()?.strip_suffix("\r\n\r\n")?;
    if head.contains("\r\n\r\n") {
        return None;
    }
    let HeadLimits { headers_max, size_max } = limits;
    match head.strip_prefix("HTTP/1.1 ")?.get(..3)? {
        "400" => {
            let detail = "the request line or a header is malformed: perhaps two Content-Length headers that differ, a \
                          header that is folded over two lines, or a character that cannot be there";
            let help = "Send HTTP/1.1 as RFC 9112 has it, on a new connection: this one is closed.";
            Some(Problem::new(Code::InvalidRequest, detail).with_help(help))
        }
        "414" => Some(Problem::new(Code::UriTooLong, format!("accepted: {size_max}, with the headers"))),
        "431" => {
            let detail = format!("accepted: {headers_max} headers, of {size_max} in all with path and query");
            Some(Problem::new(Code::HeadersTooLarge, detail))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;

    const HYPERS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";

    type Near = FirstWords<DuplexStream, fn(Code)>;

    fn connection(served: &Served) -> (Near, DuplexStream) {
        let uncounted: fn(Code) = |_| {};
        let (near, far) = tokio::io::duplex(64 << 10);
        let limits = HeadLimits { headers_max: 128, size_max: ByteSize::kib(32) };
        (FirstWords::new(near, served.clone(), limits, uncounted), far)
    }

    async fn sent(served: bool, writes: &[&[u8]]) -> String {
        let told = Served::default();
        let (mut near, mut far) = connection(&told);
        if served {
            told.note();
        }
        for bytes in writes {
            near.write_all(bytes).await.unwrap();
        }
        drop(near);
        let mut text = String::new();
        far.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn only_what_hyper_says_before_any_request_is_said_otherwise() {
        let ours = sent(false, &[HYPERS]).await;
        assert!(
            ours.starts_with("HTTP/1.1 400 Bad Request\r\n") && ours.contains("\"code\":\"invalid_request\""),
            "{ours}"
        );
        let hypers = String::from_utf8_lossy(HYPERS);
        assert_eq!(sent(true, &[HYPERS]).await, hypers, "a request had been read");
        for other in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n\r\nbody", "HTTP/1.1 400 Bad Request\r\n"]
        {
            assert_eq!(
                sent(false, &[other.as_bytes(), HYPERS]).await,
                format!("{other}{hypers}"),
                "it was not the first"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_caller_is_heard_to_its_end_but_not_for_ever() {
        let (mut near, mut far) = connection(&Served::default());
        near.write_all(HYPERS).await.unwrap();
        far.write_all(&[b'x'; 10_000]).await.unwrap();
        let begun = tokio::time::Instant::now();
        near.shutdown().await.unwrap();
        assert!(begun.elapsed() >= LINGER, "the caller keeps its side open");
        let begun = tokio::time::Instant::now();
        let (mut near, mut far) = connection(&Served::default());
        near.write_all(HYPERS).await.unwrap();
        far.shutdown().await.unwrap();
        near.shutdown().await.unwrap();
        assert!(begun.elapsed() < LINGER, "it has closed");
    }
}
