//! The lane: a host of guests, and the threads of guests that compute, where accounts take turns: of two that compute each
//! has half of the threads, however many guests it has there.

use std::sync::{Arc, mpsc};

use fabric::shares::Shares;
use parking_lot::Mutex;
use protocol::AccountId;
use wasm_host::{Apart, Host, PoolConfig, Turn, running_engine};

use crate::sys;

/// Guests that compute yield to the agent's own threads by this much.
const GUEST_NICE: i32 = 5;

/// See the module.
pub(crate) struct Lane {
    pub(crate) host: Host,
    guests: Option<tokio::runtime::Runtime>,
    /// How many threads they have.
    threads: usize,
    /// Those that stand still, as fewer cores are lent than there are threads. Each goes on when its sender is dropped.
    resting: Mutex<Vec<mpsc::Sender<()>>>,
    turns: Shares<AccountId>,
}

impl Lane {
    /// Reserves the pool and starts the guests' threads, one for each core lent; there are as many turns on them.
    pub(crate) fn new(pool: PoolConfig, cores: usize, turns: Shares<AccountId>) -> wasmtime::Result<Self> {
        let host = Host::new(running_engine(pool)?)?;
        let guests = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(cores.max(1))
            .thread_name("guest")
            // A guest's turn lasts up to a tick: timers and sockets are looked at after each.
            .event_interval(1)
            .on_thread_start(|| sys::lower_this_thread(GUEST_NICE))
            .enable_all()
            .build()?;
        Ok(Self { host, guests: Some(guests), threads: cores.max(1), resting: Mutex::default(), turns })
    }

    /// Guests compute on so many threads from now on, at least on one, and at most on those that there are. A turn that has
    /// begun is finished.
    pub(crate) fn lend(&self, cores: usize) {
        let Some(guests) = &self.guests else { return };
        let rest = self.threads.saturating_sub(cores.max(1));
        let mut resting = self.resting.lock();
        while resting.len() < rest {
            let (wake, woken) = mpsc::channel::<()>();
            // It holds the thread that takes it, on purpose: what waits there is taken by the others.
            guests.spawn(async move { woken.recv().ok() });
            resting.push(wake);
        }
        resting.truncate(rest);
    }

    /// Where a guest of this account goes on once it computes.
    pub(crate) fn apart(&self, account: AccountId) -> Option<Apart> {
        let threads = self.guests.as_ref()?.handle().clone();
        let turns = self.turns.clone();
        let turn = move || -> Turn {
            let turns = turns.clone();
            // Where too many wait, the threads' own order is left.
            Box::pin(async move { Box::new(turns.take(account).await.ok()) as Box<dyn Send> })
        };
        Some(Apart { threads, turns: Arc::new(turn) })
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if let Some(guests) = self.guests.take() {
            guests.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use fabric::shares::TenantShare;
    use protocol::ByteSize;

    use super::*;

    /// How many tasks compute at the same moment, at most.
    fn at_once(lane: &Lane) -> usize {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (ended, end) = mpsc::channel();
        for _ in 0..12 {
            let (now, most, ended) = (Arc::clone(&now), Arc::clone(&most), ended.clone());
            lane.guests.as_ref().unwrap().spawn(async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(20));
                now.fetch_sub(1, Ordering::SeqCst);
                ended.send(()).unwrap();
            });
        }
        for _ in 0..12 {
            end.recv_timeout(Duration::from_secs(20)).unwrap();
        }
        most.load(Ordering::SeqCst)
    }

    #[test]
    fn guests_compute_on_the_cores_that_are_lent() {
        let pool = PoolConfig { slots: 4, keep_resident: ByteSize(0), warm: 0 };
        let turns = Shares::with_lines(4, TenantShare::WHOLE, 4);
        let lane = Lane::new(pool, 4, turns).unwrap();
        lane.lend(1);
        // Threads come to rest once what they do is done.
        assert!((0..50).any(|_| at_once(&lane) == 1));
        assert_eq!(at_once(&lane), 1);
        lane.lend(3);
        assert!((0..50).any(|_| at_once(&lane) > 1) && at_once(&lane) <= 3);
        lane.lend(100);
        assert!(at_once(&lane) <= 4);
    }
}
