//! A WebSocket as the bytes in its binary messages: what NATS says does not follow the borders of messages.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use futures::{Sink as _, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_websockets::{ClientBuilder, Limits, Message, WebSocketStream};

/// What is written goes in messages of at most so many bytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// A larger message of the server ends the connection.
const PAYLOAD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The bytes in a WebSocket.
pub(crate) struct WebSocket<S> {
    stream: WebSocketStream<S>,
    /// Of the last message, what is not read yet.
    rest: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// The client's side, where the handshake is over.
    pub(super) fn new(stream: S) -> Self {
        let limits = Limits::default().max_payload_len(Some(PAYLOAD_BYTES_MAX));
        Self { stream: ClientBuilder::new().limits(limits).take_over(stream), rest: Bytes::new() }
    }
}

fn other(error: tokio_websockets::Error) -> io::Error {
    match error {
        tokio_websockets::Error::Io(error) => error,
        error => io::Error::other(error),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
                Some(Ok(message)) if message.is_binary() => self.rest = message.into_payload().into(),
                // Pings are answered below us.
                Some(Ok(message)) if message.is_ping() || message.is_pong() => {}
                Some(Ok(_)) | None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(other(error))),
            }
        }
        let count = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..count]);
        self.rest.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut stream = Pin::new(&mut self.stream);
        ready!(stream.as_mut().poll_ready(cx)).map_err(other)?;
        let count = bytes.len().min(MESSAGE_BYTES_MAX);
        stream.start_send(Message::binary(BytesMut::from(&bytes[..count]))).map_err(other)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx).map_err(other)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx).map_err(other)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn bytes_go_in_masked_messages_and_come_as_they_are() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let mut socket = WebSocket::new(near);
        let sent = vec![7; MESSAGE_BYTES_MAX + 5];
        socket.write_all(&sent).await.unwrap();
        socket.flush().await.unwrap();
        let mut head = [0; 14];
        far.read_exact(&mut head).await.unwrap();
        assert_eq!(head[..10], [0x82, 0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 0], "binary, masked, 65536 bytes");
        let mut masked = vec![0; MESSAGE_BYTES_MAX];
        far.read_exact(&mut masked).await.unwrap();
        assert!(masked.iter().zip(head[10..].iter().cycle()).all(|(byte, mask)| byte ^ mask == 7));

        // Two messages, a ping between them.
        far.write_all(b"\x82\x03INF\x89\x00\x82\x02O \x88\x00").await.unwrap();
        let mut come = String::new();
        socket.read_to_string(&mut come).await.unwrap();
        assert_eq!(come, "INFO ");
    }
}
