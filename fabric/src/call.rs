//! How calls are made, and what they bring.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::address::Peer;
use crate::body::Body;

/// How a call is made.
#[derive(Debug, Clone)]
pub struct CallOptions {
    /// From now to the answer's last byte. Travels as remaining milliseconds.
    pub deadline: Duration,
    /// How long to wait for `accepted`.
    pub accept_within: Duration,
}

impl Default for CallOptions {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(30), accept_within: Duration::from_millis(250) }
    }
}

/// The answer's head and body, and the future of its end. Dropping the body before its end cancels the exchange.
pub struct Reply {
    pub response: http::Response<Body>,
    pub peer: Peer,
    pub end: EndFuture,
}

/// Resolves after the last byte (or the cancel, 2 s at most) to what `end` carried.
pub struct EndFuture(pub(crate) oneshot::Receiver<End>);

impl Future for EndFuture {
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        Pin::new(&mut self.0).poll(cx).map(|end| end.unwrap_or(End { payload: None, how: EndKind::Lost }))
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub payload: Option<Bytes>,
    pub how: EndKind,
}

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndKind {
    Completed,
    Cancelled,
    Aborted(String),
    Deadline,
    Lost,
}
