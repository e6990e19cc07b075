//! Routes leave the database through the outbox: in the order of revisions, by one leader, again after every
//! failure, so that gateways see every change once it is committed and never an older one after a newer.

pub(crate) mod bucket;
mod publisher;
mod pulse;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use protocol::InstanceId;
use protocol::route::GatewayPulse;
use tokio::sync::{Notify, watch};

pub(crate) use crate::db::ROUTE;
pub(crate) use publisher::run;
pub(crate) use pulse::{Revoked, beat, listen};

/// An outbox row with the SHA-256 of a credential that is no more.
pub(crate) const REVOKED: &str = "revoked";

/// An outbox row that says that a node's record has changed, or must go.
pub(crate) const NODE: &str = "node";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gateway {
    revision: u64,
    heard: Instant,
    draining: bool,
}

/// How far the routes have come.
pub(crate) struct Routes {
    wake: Notify,
    /// The outbox is published up to here.
    published: watch::Sender<u64>,
    /// The newest revision of a route in the bucket.
    newest: watch::Sender<u64>,
    gateways: watch::Sender<HashMap<InstanceId, Gateway>>,
    revoked: Revoked,
    pulse_now: Notify,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            wake: Notify::new(),
            published: watch::Sender::new(0),
            newest: watch::Sender::new(0),
            gateways: watch::Sender::new(HashMap::new()),
            revoked: Revoked::default(),
            pulse_now: Notify::new(),
        }
    }
}

impl Routes {
    /// There is something in the outbox.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until the revision is in the bucket and all live gateways have it.
    pub(crate) async fn reached(&self, revision: u64, silence_max: Duration) {
        let mut published = self.published.subscribe();
        if published.wait_for(|published| *published >= revision).await.is_err() {
            return;
        }
        let mut gateways = self.gateways.subscribe();
        loop {
            if all_have(&gateways.borrow_and_update(), revision, silence_max, Instant::now()) {
                return;
            }
            // A gateway that falls silent is no longer waited for, although nothing changes.
            let changed = tokio::time::timeout(Duration::from_millis(250), gateways.changed()).await;
            if matches!(changed, Ok(Err(_))) {
                return;
            }
        }
    }

    fn gateway_said(&self, pulse: &GatewayPulse, silence_max: Duration) {
        self.gateways.send_modify(|gateways| {
            let now = Instant::now();
            gateways.retain(|_, gateway| now.duration_since(gateway.heard) <= silence_max * 10);
            let gateway = Gateway { revision: pulse.revision, heard: now, draining: pulse.draining };
            gateways.insert(pulse.instance, gateway);
        });
    }
}

fn all_have(gateways: &HashMap<InstanceId, Gateway>, revision: u64, silence_max: Duration, now: Instant) -> bool {
    let live = |gateway: &&Gateway| !gateway.draining && now.duration_since(gateway.heard) <= silence_max;
    gateways.values().filter(live).all(|gateway| gateway.revision >= revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_live_gateways_only() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let gateway = |revision, heard, draining| (InstanceId::new(), Gateway { revision, heard, draining });
        let have = |gateways: Vec<_>| all_have(&gateways.into_iter().collect(), 5, 3 * second, now + 4 * second);
        assert!(have(vec![]));
        assert!(have(vec![gateway(5, now + 4 * second, false), gateway(9, now + 2 * second, false)]));
        assert!(!have(vec![gateway(5, now + 4 * second, false), gateway(4, now + 2 * second, false)]));
        assert!(have(vec![gateway(4, now, false)]), "silent for 4 s");
        assert!(have(vec![gateway(4, now + 4 * second, true)]), "draining");
    }
}
