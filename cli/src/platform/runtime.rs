//! The runtime and the signals of servers.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// Threads that run tasks, at most: the work is short; guests have threads of their own.
const WORKERS_MAX: usize = 8;
/// Threads for blocking calls, at most: files and the database.
const BLOCKING_MAX: usize = 64;

/// One runtime for everything in the process.
pub(crate) fn build() -> Result<tokio::runtime::Runtime, Failure> {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    one_arena_for_each_core(cores);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(cores.clamp(2, WORKERS_MAX))
        .max_blocking_threads(BLOCKING_MAX)
        .thread_keep_alive(std::time::Duration::from_secs(5))
        .build()?;
    Ok(runtime)
}

/// glibc's allocator may keep eight pools for each core, and what a burst has freed in them stays there: after load that
/// was most of an idle platform's memory.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "no safe call sets it")]
fn one_arena_for_each_core(cores: usize) {
    let arenas = i32::try_from(cores.max(2)).unwrap_or(i32::MAX);
    // SAFETY: it sets a number, before there are threads that allocate. A refusal leaves the default.
    let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
}

#[cfg(not(target_env = "gnu"))]
fn one_arena_for_each_core(_: usize) {}

/// Cancelled by the first Ctrl-C or SIGTERM; the second ends the process at once.
pub(crate) fn stop_on_signals() -> Result<CancellationToken, Failure> {
    let token = CancellationToken::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = token.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stop.is_cancelled() {
                std::process::exit(130);
            }
            stop.cancel();
        }
    });
    Ok(token)
}
