//! What a run's connections to other hosts carry, both ways, is counted at its record, whichever lane it runs in.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::record::Record;

/// The run that connections are for. A server in a machine keeps its connections from one run to the next: what they
/// carry is the run's that is in the machine then.
///
/// It holds no run: a record settles when all that works on the run has gone, and a connection goes later.
#[derive(Clone)]
pub struct Meter(Arc<Mutex<Weak<Record>>>);

impl Meter {
    /// For this run.
    pub fn of(run: &Arc<Record>) -> Self {
        Self(Arc::new(Mutex::new(Arc::downgrade(run))))
    }

    /// From now on for this one.
    pub fn turn_to(&self, run: &Arc<Record>) {
        *self.0.lock() = Arc::downgrade(run);
    }

    /// Counts bytes that have been carried.
    fn count(&self, bytes: usize) {
        let run = self.0.lock().upgrade();
        if let Some(run) = run {
            run.add_egress(bytes);
        }
    }
}

/// A connection whose bytes are counted.
pub struct Counted<S> {
    stream: S,
    meter: Meter,
}

impl<S> Counted<S> {
    /// This connection, counted by this meter.
    pub fn new(stream: S, meter: Meter) -> Self {
        Self { stream, meter }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.meter.count(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.meter.count(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        self.meter.count(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
