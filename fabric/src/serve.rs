//! What a mounted service gets and gives besides the request and the response.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::node::BootKey;
use tokio_util::sync::CancellationToken;

use crate::address::Peer;
use crate::client::Fabric;
use crate::exchange::Link;
use crate::exchange::mounted::Mounted;

/// The exchange that a served request belongs to. An extension of every served request.
#[derive(Clone)]
pub struct Exchange {
    /// When the caller gives up.
    pub deadline: Option<Instant>,
    /// Cancelled when the caller goes away, cancels, or is lost; and once the exchange is over, so that nobody waits
    /// for it for ever.
    pub cancelled: CancellationToken,
    pub(crate) link: Arc<Link>,
}

impl Exchange {
    /// Claims the payload of the exchange's `end` frame: `end` is then held back, also after a cancel, until
    /// the sender is used or dropped, 2 s at most. Only the first claim brings a sender.
    ///
    /// After a cancel the service's future is dropped at once if nobody has claimed the end; else it runs on until
    /// the sender is used or dropped. The response's body is dropped at once in both cases.
    pub fn claim_end(&self) -> Option<EndSender> {
        self.link.claim_end().then(|| EndSender(Some(self.link.clone())))
    }

    /// Seals the answer for this start of the node that asks, which has just named itself: the answers to a start that is
    /// known already are sealed anyway. What has been sent before, that the call is accepted, stays as it was.
    pub fn seal_for(&self, boot: &BootKey) {
        self.link.seal_with(boot.clone());
    }
}

/// Sends the payload of `end`, once. At most 64 KiB: a longer one is dropped.
pub struct EndSender(Option<Arc<Link>>);

impl EndSender {
    pub fn send(mut self, payload: Bytes) {
        if let Some(link) = self.0.take() {
            link.release_end(Some(payload));
        }
    }
}

impl Drop for EndSender {
    fn drop(&mut self) {
        if let Some(link) = self.0.take() {
            link.release_end(None);
        }
    }
}

/// Says no before a request is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    pub reason: String,
}

/// Decides on the request's head alone, at once, whether it is taken. What it returns is put into the request's
/// extensions as a `Permit`.
pub type Admit = Arc<dyn Fn(&http::request::Parts, Peer) -> Result<Permit, Busy> + Send + Sync>;

/// What admission reserved; given back when its last clone is dropped. In a served request's extensions; the fabric
/// keeps none itself once the service has the request.
#[derive(Clone)]
pub struct Permit(pub Arc<dyn std::any::Any + Send + Sync>);

/// How a service is served.
#[derive(Clone, Default)]
pub struct ServeOptions {
    /// None: everything is taken, up to the limit.
    pub admit: Option<Admit>,
    /// Exchanges at once; more are answered `busy`. None: 4096.
    pub concurrency: Option<usize>,
}

/// A mounted service. Dropping it unmounts at once and cancels what runs; `drain` stops taking calls and waits for
/// the running ones.
pub struct Serving {
    pub(crate) mounted: Arc<Mounted>,
    /// The connection lives as long as it is served.
    pub(crate) _fabric: Fabric,
}

impl Serving {
    /// Stops taking calls, waits for the running ones, and cuts what is left after `grace`.
    pub async fn drain(self, grace: Duration) {
        self.mounted.drain(grace).await;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.mounted.stop();
    }
}
