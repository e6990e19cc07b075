//! What a run's connections to other hosts carry, both ways, is counted at its record, whichever lane it runs in, and
//! bounded: with more the run has failed, and its connections carry nothing any more.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use protocol::Code;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::record::Record;

/// The run that connections are for. A server in a machine keeps its connections from one run to the next: what they
/// carry is the run's that is in the machine then.
///
/// It holds no run: a record settles when all that works on the run has gone, and a connection goes later.
#[derive(Clone)]
pub struct Meter(Arc<Mutex<Present>>);

struct Present {
    run: Weak<Record>,
    /// Of what the run may carry. What a machine carries between two runs is taken from what the last one has left.
    left: u64,
    is_over: bool,
}

impl Present {
    fn of(run: &Arc<Record>) -> Self {
        Self { run: Arc::downgrade(run), left: run.limits.egress_bytes.0, is_over: false }
    }
}

impl Meter {
    /// For this run.
    pub fn of(run: &Arc<Record>) -> Self {
        Self(Arc::new(Mutex::new(Present::of(run))))
    }

    /// From now on for this one.
    pub fn turn_to(&self, run: &Arc<Record>) {
        *self.0.lock() = Present::of(run);
    }

    /// Counts bytes that have been carried; an error, and the run's end, once they are more than they may.
    fn count(&self, bytes: usize) -> io::Result<()> {
        let (run, is_over) = {
            let mut present = self.0.lock();
            let left = u64::try_from(bytes).ok().and_then(|bytes| present.left.checked_sub(bytes));
            present.is_over |= left.is_none();
            present.left = left.unwrap_or(0);
            (present.run.upgrade(), present.is_over)
        };
        if let Some(run) = run {
            run.add_egress(bytes);
            if is_over {
                let limit = run.limits.egress_bytes;
                run.fail(Code::EgressLimit, format!("the function's own connections carried more than {limit}"));
            }
        }
        match is_over {
            true => Err(io::Error::new(io::ErrorKind::QuotaExceeded, "the run's `egress_bytes` are used up")),
            false => Ok(()),
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
        self.meter.count(0)?;
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        Poll::Ready(self.meter.count(buf.filled().len() - before))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.meter.count(0)?;
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.meter.count(written)?;
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.meter.count(0)?;
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        self.meter.count(written)?;
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
