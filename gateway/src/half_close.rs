//! Callers that close their sending side once their request is complete (`nc -N`, `shutdown(SHUT_WR)`): they wait for
//! the response all the same. One that has closed both sides looks alike until something is sent to it, which it
//! answers with a reset. So a caller has gone when it resets the connection, or when nothing has moved for a while
//! since it closed its side; then its run is cancelled.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// What the system tells of a side that closes, though nobody reads.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOSING: Interest = Interest::PRIORITY.add(Interest::ERROR);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOSING: Interest = Interest::READABLE.add(Interest::ERROR);
/// Where unread bytes hide what follows them, it is looked at again after so long.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A connection, as the server reads and writes it.
pub(crate) struct Watched(Arc<Inner>);

/// The same, as it is watched meanwhile.
pub(crate) struct Watch(Arc<Inner>);

struct Inner {
    stream: TcpStream,
    opened: Instant,
    /// Since then, in milliseconds, bytes moved last.
    moved_ms: AtomicU64,
}

impl Watched {
    pub(crate) fn new(stream: TcpStream) -> (Self, Watch) {
        let inner = Arc::new(Inner { stream, opened: Instant::now(), moved_ms: AtomicU64::new(0) });
        (Self(Arc::clone(&inner)), Watch(inner))
    }
}

impl Inner {
    fn moves(&self) {
        let elapsed = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_ms.store(elapsed, Ordering::Relaxed);
    }

    fn moved(&self) -> Instant {
        self.opened + Duration::from_millis(self.moved_ms.load(Ordering::Relaxed))
    }

    /// Tries again once the stream is ready, until it does not have to wait.
    fn poll(
        &self,
        cx: &mut Context<'_>,
        poll_ready: impl Fn(&TcpStream, &mut Context<'_>) -> Poll<io::Result<()>>,
        mut attempt: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(poll_ready(&self.stream, cx))?;
            match attempt(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => {
                    if matches!(done, Ok(1..)) {
                        self.moves();
                    }
                    return Poll::Ready(done);
                }
            }
        }
    }
}

impl Watch {
    /// Waits until the caller has gone: by a reset, or because nothing has moved for `grace` since it closed its side.
    pub(crate) async fn gone(&self, grace: Duration) {
        let stream = &self.0.stream;
        loop {
            let Ok(seen) = stream.ready(CLOSING).await else { return };
            if seen.is_error() {
                return;
            }
            if seen.is_read_closed() {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let closed = Instant::now();
        loop {
            let quiet = self.0.moved().max(closed).elapsed();
            let Some(left) = grace.checked_sub(quiet).filter(|left| !left.is_zero()) else { return };
            tokio::select! {
                _ = stream.ready(Interest::ERROR) => return,
                () = tokio::time::sleep(left) => {}
            }
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Not initialised before: a request is a small part of what there is room for.
        self.0.poll(cx, TcpStream::poll_read_ready, |stream| stream.try_read_buf(buffer)).map_ok(|_| ())
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll(cx, TcpStream::poll_write_ready, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll(cx, TcpStream::poll_write_ready, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The server drops the connection next, which closes it.
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const NEVER: Duration = Duration::from_secs(3600);

    async fn pair() -> (TcpStream, Watched, Watch) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (far, near) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (watched, watch) = Watched::new(near.unwrap().0);
        (far.unwrap(), watched, watch)
    }

    #[tokio::test]
    async fn f17_a_side_that_closes_is_seen_though_nobody_reads() {
        let (mut far, mut near, watch) = pair().await;
        // Unread bytes do not hide it.
        far.write_all(b"request").await.unwrap();
        far.shutdown().await.unwrap();
        watch.gone(SOON).await;
        // Until then it gets its response.
        near.write_all(b"response").await.unwrap();
        let mut request = [0; 7];
        near.read_exact(&mut request).await.unwrap();
        drop((near, watch));
        let mut response = String::new();
        far.read_to_string(&mut response).await.unwrap();
        assert_eq!((&request, response.as_str()), (b"request", "response"));
    }

    #[tokio::test]
    async fn f17_a_reset_is_seen_at_once() {
        for half_closed in [false, true] {
            let (mut far, near, watch) = pair().await;
            if half_closed {
                far.shutdown().await.unwrap();
            }
            far.set_zero_linger().unwrap();
            drop(far);
            watch.gone(NEVER).await;
            drop(near);
        }
    }
}
