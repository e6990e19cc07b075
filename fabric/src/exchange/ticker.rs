//! One task for all exchanges of a connection: heartbeats, lost peers, deadlines that nobody waits for. Exchanges
//! that are done within a second never meet it.

use std::sync::Weak;
use std::time::{Duration, Instant};

use super::window::Failure;
use super::{Link, Shared};
use crate::frame::Frame;

const TICK: Duration = Duration::from_millis(500);
/// Heartbeats, and the age at which they begin.
const HEARTBEAT_EVERY_TICKS: u64 = 2;
const QUIET_MS: u64 = 500;
const SHRINK_EVERY_TICKS: u64 = 64;
/// Three ticks: a tick that comes later says that this process itself stood still.
const STALLED_AFTER_MS: u64 = 1_500;
/// Three heartbeats missed.
const LOST_AFTER_MS: u64 = 3_500;

pub(crate) async fn run(shared: Weak<Shared>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut count: u64 = 0;
    let mut last_ms = 0;
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        count += 1;
        let now_ms = shared.now_ms();
        // If this process itself was stopped, the peers' heartbeats have had no chance to be read.
        let stalled = now_ms.saturating_sub(last_ms) > STALLED_AFTER_MS;
        last_ms = now_ms;
        if count.is_multiple_of(SHRINK_EVERY_TICKS) {
            shared.table.shrink();
        }
        if shared.table.len() == 0 {
            continue;
        }
        let old = shared.table.collect(|link| now_ms.saturating_sub(link.born_ms) >= QUIET_MS);
        let now = Instant::now();
        let beat = count.is_multiple_of(HEARTBEAT_EVERY_TICKS);
        for link in old {
            if link.reap_cancelled(now) {
                continue;
            }
            if !stalled && link.is_lost(now_ms) {
                link.fail(Failure::Lost);
                continue;
            }
            link.check_deadline(now);
            if beat {
                link.beat();
            }
        }
    }
}

impl Link {
    /// A caller that still waits for `accepted` has a limit of its own for that.
    fn is_lost(&self, now_ms: u64) -> bool {
        self.silent_ms(now_ms) > LOST_AFTER_MS && (!self.key.caller || self.state.lock().started)
    }

    /// Ends what is past its deadline though nobody polls for it.
    fn check_deadline(self: &std::sync::Arc<Self>, now: Instant) {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            if self.key.caller {
                self.cancel(true);
            } else {
                self.on_cancel(true);
            }
        }
    }

    /// Says that we are there, and how much we have sent.
    fn beat(&self) {
        let Some(peer) = self.peer.get() else { return };
        let sent = self.state.lock().outflow.published();
        let bytes = self.message(sent, Frame::Heartbeat);
        self.shared.wire.try_publish(peer, &bytes.parts());
    }
}
