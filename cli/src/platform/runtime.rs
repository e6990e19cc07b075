//! The runtime and the signals of servers.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::context::TokioContext;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// Threads that run tasks, at most: the work is short; guests have threads of their own.
const WORKERS_MAX: usize = 8;
/// Threads for blocking calls, at most: files and the database.
const BLOCKING_MAX: usize = 64;

/// By how much the control plane's threads yield to the run path: what somebody asks the API slows nobody's call. Guests
/// that compute yield to both.
const CONTROL_PLANE_NICE: i32 = 3;
/// How long a turn on a core the control plane's threads ask for: whatever carries a call takes the core from them at once.
#[cfg(target_os = "linux")]
const CONTROL_PLANE_SLICE: std::time::Duration = std::time::Duration::from_millis(20);

/// What the threads of a runtime do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// Carry runs, and whatever else is short.
    RunPath,
    /// Serve the control plane.
    ControlPlane,
}

/// A runtime for everything in the process that these threads do.
pub(crate) fn build(threads: Threads) -> Result<tokio::runtime::Runtime, Failure> {
    fabric::profile::from_environment();
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    few_pools_of_the_c_library();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name(match threads {
            Threads::RunPath => "run-path",
            Threads::ControlPlane => "control-plane",
        })
        .worker_threads(cores.clamp(2, WORKERS_MAX))
        .max_blocking_threads(BLOCKING_MAX)
        .thread_keep_alive(std::time::Duration::from_secs(5))
        .on_thread_start(move || {
            if threads == Threads::ControlPlane {
                fabric::profile::leave_this_thread_out();
                lower_this_thread(CONTROL_PLANE_NICE);
            }
        })
        .build()?;
    Ok(runtime)
}

/// A runtime beside the one that starts it: dropped there, it waits for nothing.
pub(crate) struct Beside {
    handle: tokio::runtime::Handle,
    /// Until it is dropped.
    runtime: Option<tokio::runtime::Runtime>,
}

impl Beside {
    pub(crate) fn start(threads: Threads) -> Result<Self, Failure> {
        let runtime = build(threads)?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// A future whose tasks go there.
    pub(crate) fn within<F: Future>(&self, future: F) -> TokioContext<F> {
        TokioContext::new(future, self.handle.clone())
    }

    /// Where its tasks go.
    pub(crate) fn handle(&self) -> &tokio::runtime::Handle {
        &self.handle
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Only Linux has a priority for each thread.
#[cfg(target_os = "linux")]
fn lower_this_thread(by: i32) {
    use rustix::process::{getpriority_process, setpriority_process};
    let lowered = getpriority_process(None).and_then(|nice| {
        let nice = (nice + by).min(19);
        setpriority_process(None, nice)?;
        lengthen_the_slice(nice, CONTROL_PLANE_SLICE)
    });
    if let Err(error) = lowered {
        tracing::debug!(%error, "cannot lower a thread's priority");
    }
}

/// Asks for longer turns on a core. From Linux 6.12 on, a thread that wakes up and asks for shorter ones, as all do that ask
/// for nothing, need not wait for the end of such a turn; before, the kernel takes no notice. See sched(7), `sched_runtime`.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "no safe call sets it")]
fn lengthen_the_slice(nice: i32, slice: std::time::Duration) -> rustix::io::Result<()> {
    let attributes = libc::sched_attr {
        size: u32::try_from(size_of::<libc::sched_attr>()).unwrap_or_default(),
        sched_policy: libc::SCHED_OTHER.cast_unsigned(),
        sched_flags: 0,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX),
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: it reads the structure, whose size is in it, and changes this thread's scheduling alone.
    match unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) } {
        0 => Ok(()),
        _ => {
            Err(rustix::io::Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(rustix::io::Errno::INVAL))
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn lower_this_thread(_: i32) {}

/// SQLite and zstd take their memory from glibc, which may keep eight pools for each core: what a burst has freed in them
/// stays there, and was a quarter of what an idle platform held after load.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "no safe call sets it")]
fn few_pools_of_the_c_library() {
    const POOLS: i32 = 2;
    // SAFETY: it sets a number. A refusal leaves the default.
    let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, POOLS) };
}

#[cfg(not(target_env = "gnu"))]
fn few_pools_of_the_c_library() {}

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
