//! A mounted service: its admission, its counters and its switch.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::serve::{Admit, ServeOptions};
use crate::wire::Subscription;

/// Exchanges at once of one calling node, so that no lender takes all places.
const NODE_SHARE: usize = 64;
const CONCURRENCY_DEFAULT: usize = 4096;

/// A mounted service's counters and its switch.
pub(crate) struct Mounted {
    pub(crate) admit: Option<Admit>,
    concurrency: usize,
    live: AtomicUsize,
    /// Of each calling node.
    of_node: parking_lot::Mutex<HashMap<u128, usize>>,
    idle: Notify,
    draining: AtomicBool,
    /// What still runs is cut.
    pub(super) stopped: CancellationToken,
    pub(crate) subscription: parking_lot::Mutex<Option<Subscription>>,
}

impl Mounted {
    pub(crate) fn new(options: ServeOptions) -> Arc<Self> {
        Arc::new(Self {
            admit: options.admit,
            concurrency: options.concurrency.unwrap_or(CONCURRENCY_DEFAULT),
            live: AtomicUsize::new(0),
            of_node: parking_lot::Mutex::default(),
            idle: Notify::new(),
            draining: AtomicBool::new(false),
            stopped: CancellationToken::new(),
            subscription: parking_lot::Mutex::new(None),
        })
    }

    pub(crate) fn stop(&self) {
        let subscription = self.subscription.lock().take();
        drop(subscription);
        self.draining.store(true, Ordering::Relaxed);
        self.stopped.cancel();
    }

    pub(crate) async fn drain(&self, grace: Duration) {
        // Who still asks is told, until the server sends no more.
        self.draining.store(true, Ordering::Relaxed);
        let subscription = self.subscription.lock().take();
        let idle = async {
            // A server that is out of reach does not say that it sends no more.
            if let Some(subscription) = subscription {
                subscription.end().await;
            }
            loop {
                let notified = self.idle.notified();
                if self.live.load(Ordering::Acquire) == 0 {
                    return;
                }
                notified.await;
            }
        };
        drop(tokio::time::timeout(grace, idle).await);
        self.stopped.cancel();
    }

    /// A place among the running ones.
    pub(super) fn enter(self: &Arc<Self>, node: u128) -> Result<Slot, &'static str> {
        if self.draining.load(Ordering::Relaxed) {
            return Err("draining");
        }
        if node != 0 {
            let mut of_node = self.of_node.lock();
            let live = of_node.entry(node).or_default();
            if *live >= NODE_SHARE {
                return Err("too many exchanges of this node at once");
            }
            *live += 1;
        }
        let slot = Slot { mounted: self.clone(), node };
        if self.live.fetch_add(1, Ordering::AcqRel) >= self.concurrency {
            return Err("too many exchanges at once");
        }
        Ok(slot)
    }
}

/// One running exchange of a mounted service.
pub(super) struct Slot {
    pub(super) mounted: Arc<Mounted>,
    node: u128,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.node != 0 {
            let mut of_node = self.mounted.of_node.lock();
            if let Some(live) = of_node.get_mut(&self.node) {
                *live -= 1;
                if *live == 0 {
                    of_node.remove(&self.node);
                }
            }
        }
        if self.mounted.live.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.mounted.idle.notify_waiters();
        }
    }
}
