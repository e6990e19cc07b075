//! The lane: a host of guests, and the threads of guests that compute.

use wasm_host::{Host, PoolConfig, running_engine};

use crate::sys;

/// Guests that compute yield to the agent's own threads by this much.
const GUEST_NICE: i32 = 5;

/// See the module.
pub(crate) struct Lane {
    pub(crate) host: Host,
    guests: Option<tokio::runtime::Runtime>,
}

impl Lane {
    /// Reserves the pool and starts the guests' threads, one for each core lent.
    pub(crate) fn new(pool: PoolConfig, cores: usize) -> wasmtime::Result<Self> {
        let host = Host::new(running_engine(pool)?)?;
        let guests = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(cores.max(1))
            .thread_name("guest")
            // A guest's turn lasts up to a tick: timers and sockets are looked at after each.
            .event_interval(1)
            .on_thread_start(|| sys::lower_this_thread(GUEST_NICE))
            .enable_all()
            .build()?;
        Ok(Self { host, guests: Some(guests) })
    }

    /// Where a guest that computes goes on.
    pub(crate) fn guests(&self) -> Option<&tokio::runtime::Handle> {
        self.guests.as_ref().map(tokio::runtime::Runtime::handle)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if let Some(guests) = self.guests.take() {
            guests.shutdown_background();
        }
    }
}
