//! What the platform says to the keeper: what the owner wants from afar, and that it asks how things are.

use protocol::node::{NodeStatus, RevisedWish};
use tokio::sync::oneshot;

/// What the platform says to the keeper, and where the reply goes.
pub(crate) struct Told {
    pub(crate) what: Saying,
    pub(crate) reply: oneshot::Sender<NodeStatus>,
}

/// See [`Told`].
pub(crate) enum Saying {
    /// Nothing; it asks how things are.
    Status,
    /// What the owner wants from afar.
    Wish(RevisedWish),
    /// The same, in the answer to a hello that was sent when the revision here was this one.
    WithHello(u64, RevisedWish),
}

/// What the platform says and the keeper has not heard yet.
pub(crate) const TOLD_MAX: usize = 16;
