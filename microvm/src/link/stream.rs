//! A stream as something to read and write.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::state::{Incoming, Shared};

/// No stream has it.
pub(super) const NO_STREAM: u32 = u32::MAX;

/// Bytes to and from something inside a guest. Dropping it ends it.
pub struct GuestStream {
    shared: Arc<Shared>,
    id: u32,
}

impl GuestStream {
    pub(super) fn standard(shared: &Arc<Shared>, id: u32) -> Self {
        shared.register(id);
        Self { shared: Arc::clone(shared), id }
    }

    pub(super) fn connect(shared: &Arc<Shared>) -> Option<Self> {
        let id = shared.open()?;
        Some(Self { shared: Arc::clone(shared), id })
    }

    pub(super) fn opened(shared: &Arc<Shared>, id: u32) -> Self {
        Self { shared: Arc::clone(shared), id }
    }
}

impl GuestStream {
    /// Waits until the guest has given it up: also when nobody reads or writes it, and wherever it is by then.
    pub fn over(&self) -> impl Future<Output = ()> + Send + use<> {
        let (shared, id) = (Arc::clone(&self.shared), self.id);
        std::future::poll_fn(move |cx| shared.poll_over(id, cx))
    }

    /// Moves it out of what keeps it; what stays is over.
    #[must_use]
    pub fn take_out(&mut self) -> Self {
        let id = std::mem::replace(&mut self.id, NO_STREAM);
        Self { shared: Arc::clone(&self.shared), id }
    }
}

impl AsyncRead for GuestStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        match std::task::ready!(self.shared.poll_read(self.id, buffer.remaining(), cx)) {
            Incoming::Bytes(bytes) => buffer.put_slice(&bytes),
            Incoming::End => {}
            Incoming::Reset => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for GuestStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = std::task::ready!(self.shared.poll_write(self.id, bytes, cx));
        Poll::Ready(written.ok_or_else(|| io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.finish(self.id);
        Poll::Ready(Ok(()))
    }
}

impl Drop for GuestStream {
    fn drop(&mut self) {
        self.shared.forget(self.id);
    }
}
