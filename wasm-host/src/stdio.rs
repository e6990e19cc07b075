//! A command's standard streams: the request's body is stdin, stdout is the response's body, both with
//! back-pressure.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use http_body::Frame;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi_http::p2::body::{HostIncomingBody, HostIncomingBodyStream};
use wasmtime_wasi_http::{Error, WasiBody};

/// A guest that has written this much waits until some of it is read.
const PIPE_BYTES_MAX: usize = 256 << 10;
/// One write takes at most this much.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// The request's body as stdin.
pub(crate) struct Stdin(Arc<tokio::sync::Mutex<HostIncomingBodyStream>>);

impl Stdin {
    pub(crate) fn new(body: WasiBody) -> Option<Self> {
        HostIncomingBody::new(body).take_stream().map(|stream| Self(Arc::new(tokio::sync::Mutex::new(stream))))
    }
}

impl IsTerminal for Stdin {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Stdin {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        // Only p3 guests read this way, and they are not offered.
        Box::new(tokio::io::empty())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(Self(Arc::clone(&self.0)))
    }
}

#[async_trait]
impl InputStream for Stdin {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        match self.0.try_lock() {
            Ok(mut stream) => stream.read(size),
            Err(_) => Ok(Bytes::new()),
        }
    }
}

#[async_trait]
impl Pollable for Stdin {
    async fn ready(&mut self) {
        self.0.lock().await.ready().await;
    }
}

/// What the guest wrote and nobody has read yet.
#[derive(Default)]
struct PipeState {
    chunks: VecDeque<Bytes>,
    buffered_bytes: usize,
    first_write: Option<Instant>,
    /// The guest has ended: nothing follows.
    ended: bool,
    /// The reader has gone: the guest is told that stdout is closed.
    abandoned: bool,
    reader: Option<Waker>,
    writers: Vec<Waker>,
}

/// A command's stdout, between the guest that writes and the response's body.
#[derive(Clone, Default)]
pub struct Pipe(Arc<Mutex<PipeState>>);

impl Pipe {
    /// How much waits to be read, and since when something has been written.
    pub fn waiting(&self) -> (usize, Option<Instant>) {
        let state = self.0.lock();
        (state.buffered_bytes, state.first_write)
    }

    /// The first bytes, for a guess at the media type.
    pub fn peek(&self) -> Bytes {
        self.0.lock().chunks.front().cloned().unwrap_or_default()
    }

    /// Writes, once there is room; false where nobody reads any more.
    pub async fn put(&self, bytes: Bytes) -> bool {
        let mut pipe = self.clone();
        pipe.ready().await;
        OutputStream::write(&mut pipe, bytes).is_ok()
    }

    /// Ends the stream when it is dropped: nothing more will be written.
    pub fn end_on_drop(&self) -> EndOnDrop {
        EndOnDrop(self.clone())
    }

    fn end(&self) {
        let mut state = self.0.lock();
        state.ended = true;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }
}

/// See [`Pipe::end_on_drop`].
pub struct EndOnDrop(Pipe);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl IsTerminal for Pipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Pipe {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only p3 guests write this way, and they are not offered.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl OutputStream for Pipe {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut state = self.0.lock();
        if state.abandoned {
            return Err(StreamError::Closed);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        state.first_write.get_or_insert_with(Instant::now);
        state.buffered_bytes += bytes.len();
        state.chunks.push_back(bytes);
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let state = self.0.lock();
        if state.abandoned {
            return Err(StreamError::Closed);
        }
        Ok(if state.buffered_bytes >= PIPE_BYTES_MAX { 0 } else { WRITE_BYTES_MAX })
    }
}

#[async_trait]
impl Pollable for Pipe {
    async fn ready(&mut self) {
        std::future::poll_fn(|cx| {
            let mut state = self.0.lock();
            if state.abandoned || state.buffered_bytes < PIPE_BYTES_MAX {
                return Poll::Ready(());
            }
            if !state.writers.iter().any(|writer| writer.will_wake(cx.waker())) {
                state.writers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

/// The reading end: the response's body.
pub(crate) struct PipeBody(pub(crate) Pipe);

impl http_body::Body for PipeBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut state = self.0.0.lock();
        if let Some(chunk) = state.chunks.pop_front() {
            state.buffered_bytes -= chunk.len();
            state.writers.drain(..).for_each(Waker::wake);
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for PipeBody {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.abandoned = true;
        state.writers.drain(..).for_each(Waker::wake);
    }
}
