//! How both ends send a body: its beginning with the head, the rest in pieces within the peer's window.

use std::task::Poll;

use bytes::Bytes;
use http::HeaderMap;

use super::Link;
use crate::body::{Body, BodyError, Start, poll_start};
use crate::frame::{self, Frame};

/// Takes what is there at once. True: that is all, or enough.
pub(super) async fn gather(body: &mut Body, start: &mut Start, room: usize) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(poll_start(body, start, room, cx).is_ready())).await
}

pub(super) async fn gather_all(body: &mut Body, start: &mut Start, room: usize) {
    std::future::poll_fn(|cx| poll_start(body, start, room, cx)).await;
}

/// Sends a body, what has been taken of it first, in pieces within the peer's window, with `fin` on the last. Pieces
/// that are there together go together. Ok also if the peer wants no more.
pub(super) async fn send_body(link: &Link, mut start: Start, mut body: Body) -> Result<(), BodyError> {
    loop {
        tokio::select! {
            biased;
            () = gather_some(&mut body, &mut start, frame::FRAME_MAX_BYTES) => {}
            () = link.stopped() => return Ok(()),
        }
        let mut bytes = start.take_bytes();
        while !bytes.is_empty() {
            let Some(granted) = link.reserve(bytes.len().min(frame::FRAME_MAX_BYTES)).await else { return Ok(()) };
            let piece = bytes.split_to(granted);
            let last = start.is_whole() && bytes.is_empty();
            link.send_next(Frame::Data { body: piece, fin: last }).await.map_err(|_| BodyError::Lost)?;
            if last {
                return Ok(());
            }
        }
        if start.fin {
            send_fin(link, start.trailers).await;
            return Ok(());
        }
        if let Some(error) = start.failed.take() {
            return Err(error);
        }
        start = start.next();
    }
}

/// The body's end, with what follows it. Trailers that are too large are left out.
pub(super) async fn send_fin(link: &Link, trailers: Option<HeaderMap>) {
    let fields = trailers.and_then(|trailers| frame::trailers_bytes(&trailers).ok());
    let end = match fields {
        Some(fields) => Frame::Trailers { fields },
        None => Frame::Data { body: Bytes::new(), fin: true },
    };
    drop(link.send_next(end).await);
}

/// Takes what is there, at least one byte unless the body is at its end.
async fn gather_some(body: &mut Body, start: &mut Start, room: usize) {
    std::future::poll_fn(|cx| match poll_start(body, start, room, cx) {
        Poll::Pending if start.len() == 0 => Poll::Pending,
        _ => Poll::Ready(()),
    })
    .await;
}
