//! What is there of a body already, taken without waiting.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::FutureExt as _;
use http_body_util::BodyExt as _;

pub(crate) use placing::Piece;

/// Whether a body is there as a whole already.
pub(crate) enum Whole {
    Yes(Bytes),
    /// What is there of it.
    Not(VecDeque<Piece>),
}

/// Takes a short body that has come in one piece.
pub(crate) fn take_whole(body: &mut fabric::Body) -> Whole {
    let mut ahead = VecDeque::new();
    while ahead.len() < 2 {
        match body.frame().now_or_never() {
            None => return Whole::Not(ahead),
            Some(Some(piece)) => ahead.push_back(piece),
            Some(None) => break,
        }
    }
    match ahead.pop_front() {
        None => Whole::Yes(Bytes::new()),
        Some(Ok(only)) if ahead.is_empty() && only.is_data() => Whole::Yes(only.into_data().unwrap_or_default()),
        Some(first) => {
            ahead.push_front(first);
            Whole::Not(ahead)
        }
    }
}
