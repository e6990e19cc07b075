//! What a call costs, by part: each thread's CPU time goes to the part that it works for now.
//!
//! A part within a part takes its time from the outer one, so that the parts' sum is what they cost together. Off (the
//! default), a part costs one relaxed load; on, two readings of the thread's clock. `CROWDCLOUD_PROFILE=parts` turns it
//! on for a process; the sums are `crowdcloud_part_cpu_nanoseconds_total` in its `/metrics`.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use metrics::Counter;

/// The variable that turns it on.
pub const VARIABLE: &str = "CROWDCLOUD_PROFILE";
/// Its value.
pub const PARTS: &str = "parts";

/// The name of the sums.
pub const TOTAL: &str = crate::metric_names::PART_CPU_NANOSECONDS;

static ON: AtomicBool = AtomicBool::new(false);
static SUMS: LazyLock<[Counter; Part::ALL.len()]> =
    LazyLock::new(|| Part::ALL.map(|part| metrics::counter!(TOTAL, "part" => part.name())));

thread_local! {
    /// What this thread works for, and its clock when that began.
    static NOW: Cell<(Option<Part>, u64)> = const { Cell::new((None, 0)) };
    /// It carries no calls: what it does is of no part.
    static APART: Cell<bool> = const { Cell::new(false) };
}

/// What this thread does is of no part of a call: it serves something else with the same code.
pub fn leave_this_thread_out() {
    APART.set(true);
}

/// A part of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Reading requests and writing responses at the gateway.
    Http,
    /// Who asks, which version, may it run.
    Routing,
    /// Ranking nodes.
    Placement,
    /// Making and checking tickets.
    Ticket,
    /// Frames, exchanges, and the connection to NATS, of both ends.
    Fabric,
    /// The node's decision and what a run needs before it starts.
    Admission,
    /// The function itself, and its instance.
    Guest,
    /// A function's response as its caller shall see it.
    Response,
    /// Observations, receipts, and what is learned from them.
    Bookkeeping,
}

impl Part {
    /// All of them, in the order of a call.
    pub const ALL: [Self; 9] = [
        Self::Http,
        Self::Routing,
        Self::Placement,
        Self::Ticket,
        Self::Fabric,
        Self::Admission,
        Self::Guest,
        Self::Response,
        Self::Bookkeeping,
    ];

    /// As in the figures.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Routing => "routing",
            Self::Placement => "placement",
            Self::Ticket => "ticket",
            Self::Fabric => "fabric",
            Self::Admission => "admission",
            Self::Guest => "guest",
            Self::Response => "response",
            Self::Bookkeeping => "bookkeeping",
        }
    }

    fn sum(self) -> Option<&'static Counter> {
        let place = Self::ALL.iter().position(|part| *part == self)?;
        SUMS.get(place)
    }
}

/// Turns it on where the environment says so. Once, before threads work.
pub fn from_environment() {
    if std::env::var(VARIABLE).is_ok_and(|value| value == PARTS) {
        ON.store(true, Ordering::Relaxed);
    }
}

/// Does it; the thread's time until then is of this part.
pub fn within<T>(part: Part, work: impl FnOnce() -> T) -> T {
    let _entered = Entered::new(part);
    work()
}

/// A future whose turns are of this part.
pub fn around<F: Future>(part: Part, future: F) -> Around<F> {
    Around { part, future }
}

pin_project_lite::pin_project! {
    /// See [`around`].
    pub struct Around<F> {
        part: Part,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Around<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = Entered::new(*this.part);
        this.future.poll(cx)
    }
}

/// This thread works for a part until it is dropped.
struct Entered {
    /// What it worked for before; nothing is measured where that is missing.
    before: Option<Option<Part>>,
}

impl Entered {
    fn new(part: Part) -> Self {
        if !ON.load(Ordering::Relaxed) || APART.get() {
            return Self { before: None };
        }
        Self { before: Some(switch(Some(part))) }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            switch(before);
        }
    }
}

/// From now on the thread works for this; returns for what it did until now.
fn switch(to: Option<Part>) -> Option<Part> {
    let now = thread_cpu_ns();
    let (before, since) = NOW.replace((to, now));
    if let Some(sum) = before.and_then(Part::sum) {
        sum.increment(now.saturating_sub(since));
    }
    before
}

#[cfg(target_os = "linux")]
fn thread_cpu_ns() -> u64 {
    use rustix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}

/// Nothing is measured where threads have no such clock.
#[cfg(not(target_os = "linux"))]
fn thread_cpu_ns() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn work(time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn a_part_within_a_part_takes_its_time_from_it() {
        let entered = Entered { before: Some(switch(Some(Part::Fabric))) };
        let (outer, began) = NOW.get();
        assert_eq!(outer, Some(Part::Fabric));
        work(Duration::from_millis(2));
        {
            let inner = Entered { before: Some(switch(Some(Part::Ticket))) };
            let (part, since) = NOW.get();
            assert_eq!(part, Some(Part::Ticket));
            assert!(since > began, "the inner part's time begins with it");
            drop(inner);
        }
        assert_eq!(NOW.get().0, Some(Part::Fabric), "the outer part goes on");
        drop(entered);
        assert_eq!(NOW.get().0, None);
    }

    #[test]
    fn off_nothing_is_measured() {
        within(Part::Guest, || assert_eq!(NOW.get(), (None, 0)));
    }
}
