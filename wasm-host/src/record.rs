//! The record of one run: what it may use, what it has used, how it ended. Shared by all that works on the run;
//! when the last of them lets go, the record settles itself: exactly once, also when a caller has vanished.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::receipt::{Outcome, Usage};
use protocol::{ByteSize, Code, Limits};
use tokio_util::sync::CancellationToken;

use crate::log::RunLogBook;
use crate::verdict::Verdict;

/// What becomes of a run once nobody works on it any more.
pub type Settle = Box<dyn FnOnce(Verdict, Usage) + Send + Sync>;

/// One run.
pub struct Record {
    /// What it may use.
    pub limits: Limits,
    /// When it must have ended.
    pub deadline: Instant,
    /// Stops the guest, from wherever.
    pub stop: CancellationToken,
    /// Its log.
    pub log: RunLogBook,
    started: Instant,
    verdict: Mutex<Option<Verdict>>,
    answered: AtomicBool,
    memory_refused: AtomicBool,
    ticks: AtomicU32,
    cpu_ns: AtomicU64,
    memory_peak: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    egress_bytes: AtomicU64,
    settle: Option<Settle>,
}

impl Record {
    /// A run that starts now and must have ended at `deadline`.
    pub fn new(limits: Limits, deadline: Instant, stop: CancellationToken, log: RunLogBook, settle: Settle) -> Self {
        Self {
            limits,
            deadline,
            stop,
            log,
            started: Instant::now(),
            verdict: Mutex::new(None),
            answered: AtomicBool::new(false),
            memory_refused: AtomicBool::new(false),
            ticks: AtomicU32::new(0),
            cpu_ns: AtomicU64::new(0),
            memory_peak: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            egress_bytes: AtomicU64::new(0),
            settle: Some(settle),
        }
    }

    /// How the run ended. The first failure stands; a success stands only while its answer gets through.
    pub fn conclude(&self, verdict: Verdict) {
        let mut stands = self.verdict.lock();
        let open = stands.as_ref().is_none_or(|earlier| earlier.outcome == Outcome::Succeeded);
        if !open {
            return;
        }
        if let Some(line) = verdict.line() {
            self.log.platform(&line);
        }
        *stands = Some(verdict);
    }

    /// The caller has gone, or the deadline has passed: both stop the guest.
    pub fn interrupt(&self) {
        let late = Instant::now() >= self.deadline;
        self.conclude(if late { self.timed_out() } else { Verdict::cancelled() });
        self.stop.cancel();
    }

    /// The node takes its room back: the run may be done elsewhere.
    pub fn give_back(&self, why: &dyn std::fmt::Display) {
        self.conclude(Verdict::given_back(why));
        self.stop.cancel();
    }

    /// The function did something that its answer cannot survive.
    pub fn fail(&self, code: Code, detail: impl Into<String>) {
        self.conclude(Verdict::failed(code, detail));
        self.stop.cancel();
    }

    /// The request's body broke off: the guest is stopped, since what has come of it is no whole request. A run that has
    /// ended needs no more of it.
    pub fn starve(&self, why: &dyn std::fmt::Display) {
        if self.verdict().is_some() {
            return;
        }
        if Instant::now() < self.deadline {
            self.conclude(Verdict::incomplete(why));
        }
        self.interrupt();
    }

    fn timed_out(&self) -> Verdict {
        let detail = format!("the function did not finish within {}", self.limits.timeout);
        Verdict { outcome: Outcome::TimedOut, code: Some(Code::TimedOut), detail }
    }

    /// How it ended, where it has.
    pub fn verdict(&self) -> Option<Verdict> {
        self.verdict.lock().clone()
    }

    /// It has ended, and not well.
    pub fn has_failed(&self) -> bool {
        self.verdict.lock().as_ref().is_some_and(|verdict| verdict.outcome != Outcome::Succeeded)
    }

    /// The guest has set its response.
    pub fn answer(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    pub fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// The guest has computed for one tick of the epoch.
    pub fn tick(&self) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
    }

    /// It computes rather than waits: it belongs on the guests' own threads.
    pub fn is_heavy(&self) -> bool {
        self.ticks.load(Ordering::Relaxed) > 0
    }

    pub fn refuse_memory(&self) {
        self.memory_refused.store(true, Ordering::Relaxed);
    }

    pub fn memory_was_refused(&self) -> bool {
        self.memory_refused.load(Ordering::Relaxed)
    }

    pub fn hold_memory(&self, bytes: usize) {
        self.memory_peak.fetch_max(widen(bytes), Ordering::Relaxed);
    }

    pub fn add_cpu(&self, time: Duration) {
        self.cpu_ns.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts bytes of the request; the sum.
    pub fn add_in(&self, bytes: usize) -> u64 {
        self.bytes_in.fetch_add(widen(bytes), Ordering::Relaxed) + widen(bytes)
    }

    /// Counts bytes of the answer; the sum.
    pub fn add_out(&self, bytes: usize) -> u64 {
        self.bytes_out.fetch_add(widen(bytes), Ordering::Relaxed) + widen(bytes)
    }

    /// Counts bytes that its own connections to other hosts carry, both ways; the sum.
    pub fn add_egress(&self, bytes: usize) -> u64 {
        self.egress_bytes.fetch_add(widen(bytes), Ordering::Relaxed) + widen(bytes)
    }

    /// What it has used so far. What passes between the deadline and the guest's end is the platform's, not the run's.
    pub fn usage(&self) -> Usage {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let wall = self.started.elapsed().min(self.deadline.saturating_duration_since(self.started));
        Usage {
            wall_us: micros(wall.min(self.limits.timeout.duration())),
            cpu_us: self.cpu_ns.load(Ordering::Relaxed) / 1000,
            fuel: None,
            memory_peak: ByteSize(self.memory_peak.load(Ordering::Relaxed)),
            bytes_in: ByteSize(self.bytes_in.load(Ordering::Relaxed)),
            bytes_out: ByteSize(self.bytes_out.load(Ordering::Relaxed)),
            egress_bytes: ByteSize(self.egress_bytes.load(Ordering::Relaxed)),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.log.close();
        let usage = self.usage();
        let verdict = self.verdict.get_mut().take().unwrap_or_else(Verdict::abandoned);
        if let Some(settle) = self.settle.take() {
            settle(verdict, usage);
        }
    }
}

fn widen(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
