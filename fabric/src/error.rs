//! What can go wrong on the fabric, as its users see it.

/// Why a call brought no answer's head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nobody listens there.
    #[error("nobody listens there")]
    NoResponder,
    /// The peer said no.
    #[error("the peer is busy: {0}")]
    Busy(String),
    /// No `accepted` in time; it was revoked, and the peer may or may not have started. `revoked`: the peer has
    /// confirmed that it had not started.
    #[error("the peer did not accept in time")]
    NotAccepted { revoked: bool },
    /// The peer was lost after it had accepted.
    #[error("the peer was lost")]
    Lost,
    #[error("the deadline passed")]
    Deadline,
    #[error("the peer aborted: {0}")]
    Aborted(String),
    /// The source of the request's own body failed.
    #[error("{0}")]
    Source(String),
    /// Not connected to NATS: nothing was sent.
    #[error("not connected: {0}")]
    Disconnected(String),
    /// The request cannot be sent: its head is too large, or its target is not reachable from here.
    #[error("the request cannot be sent: {0}")]
    Unsendable(String),
}

impl CallError {
    /// Whether the peer has surely not begun to work on it, so that another may.
    pub fn surely_not_started(&self) -> bool {
        matches!(
            self,
            Self::NoResponder
                | Self::Busy(_)
                | Self::NotAccepted { revoked: true }
                | Self::Disconnected(_)
                | Self::Unsendable(_)
        )
    }
}

/// Why the fabric cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FabricError {
    #[error("cannot connect to NATS at {url}: {reason}")]
    Connect { url: String, reason: String },
    /// The gateway lets this node not in.
    #[error("{0}")]
    Refused(Box<protocol::Problem>),
    #[error("cannot subscribe: {0}")]
    Subscribe(String),
    #[error("bad credentials: {0}")]
    Credentials(String),
    #[error("{0}")]
    Server(String),
}
