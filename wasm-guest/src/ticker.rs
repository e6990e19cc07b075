//! The clock of guests that compute. It stands while nothing runs: a machine that waits costs its host nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

use wasmtime::Engine;

/// As in the wasm lane.
const TICK: Duration = Duration::from_millis(10);

pub(crate) struct Ticker {
    runs: Arc<AtomicUsize>,
    thread: Thread,
}

impl Ticker {
    pub(crate) fn new(engine: Engine) -> std::io::Result<Self> {
        let runs = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&runs);
        let thread = std::thread::Builder::new().name("epoch".to_owned()).spawn(move || {
            loop {
                while seen.load(Ordering::Acquire) > 0 {
                    engine.increment_epoch();
                    std::thread::sleep(TICK);
                }
                std::thread::park();
            }
        })?;
        Ok(Self { runs, thread: thread.thread().clone() })
    }

    /// It goes until this is dropped.
    pub(crate) fn go(&self) -> Going {
        self.runs.fetch_add(1, Ordering::Release);
        self.thread.unpark();
        Going(Arc::clone(&self.runs))
    }
}

pub(crate) struct Going(Arc<AtomicUsize>);

impl Drop for Going {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}
