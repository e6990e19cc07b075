//! Where no cgroup bounds a machine, its process is stopped, and goes on, by the CPU time that it has used.
//!
//! ```text
//!            used up
//! running ------------> stopped
//!    ^                     |
//!    '---------------------'
//!       time has passed
//! ```

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::sys;

/// Between two looks at a process.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// What is not used is kept for the work of so much of a second.
const KEPT_OF_A_SECOND: i64 = 5;

/// The CPU time that a process may use.
#[derive(Debug)]
struct Allowance {
    /// In each second, in microseconds.
    cpu_us: i64,
    /// In microseconds; less than nothing where more was used.
    left_us: i64,
}

impl Allowance {
    fn new(cpu_us: u64) -> Self {
        let cpu_us = i64::try_from(cpu_us).unwrap_or(i64::MAX);
        Self { cpu_us, left_us: cpu_us / KEPT_OF_A_SECOND }
    }

    /// That much time has passed, in which the process has used that much. Whether it may run.
    fn pass(&mut self, passed: Duration, used: Duration) -> bool {
        let earned_us = self.cpu_us.saturating_mul(micros(passed)) / 1_000_000;
        let most_us = self.cpu_us / KEPT_OF_A_SECOND;
        self.left_us = self.left_us.saturating_add(earned_us).min(most_us).saturating_sub(micros(used));
        self.left_us >= 0
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Keeps one process to its CPU time. It goes with the process: it may leave it stopped.
pub(crate) struct Throttle(JoinHandle<()>);

impl Throttle {
    /// Begins with a process that nobody has waited for yet, so that its number is its own.
    pub(crate) fn begin(pid: u32, cpu_us: u64) -> io::Result<Self> {
        let process = sys::process_handle(pid)?;
        Ok(Self(tokio::spawn(watch(pid, process, Allowance::new(cpu_us)))))
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn watch(pid: u32, process: OwnedFd, mut allowance: Allowance) {
    let Some(mut used_before) = sys::cpu_time(pid) else { return };
    let (mut looked_at, mut runs) = (Instant::now(), true);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(used) = sys::cpu_time(pid) else { return };
        let now = Instant::now();
        let may_run = allowance.pass(now - looked_at, used.saturating_sub(used_before));
        (looked_at, used_before) = (now, used);
        if may_run != runs {
            if let Err(error) = sys::set_running(&process, may_run) {
                return tracing::debug!(%error, pid, "a machine's process has gone");
            }
            runs = may_run;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Looks come late, and processes use several cores until one comes.
        #[test]
        fn in_the_long_run_no_more_is_used_than_is_allowed(
            cpu_us in 10_000_u64..4_000_000,
            looks in proptest::collection::vec((1_u64..200, 0_u64..8), 50..200),
        ) {
            let mut allowance = Allowance::new(cpu_us);
            let (mut passed, mut used, mut most_at_once, mut runs) = (0, 0, 0, true);
            for (passed_ms, cores) in looks {
                let now_used = if runs { passed_ms * cores * 1000 } else { 0 };
                runs = allowance.pass(Duration::from_millis(passed_ms), Duration::from_micros(now_used));
                passed += passed_ms * 1000;
                used += now_used;
                most_at_once = most_at_once.max(now_used);
            }
            let kept = cpu_us / KEPT_OF_A_SECOND.unsigned_abs();
            prop_assert!(used <= passed * cpu_us / 1_000_000 + kept + most_at_once, "{used} us in {passed} us");
        }
    }

    #[test]
    fn a_process_that_keeps_to_it_is_never_stopped() {
        let mut allowance = Allowance::new(500_000);
        let look = Duration::from_millis(20);
        assert!((0..1000).all(|_| allowance.pass(look, look / 2)));
        // Nor for a moment of more, after which it must wait.
        assert!((0..5).all(|_| allowance.pass(look, look)));
        assert!(!allowance.pass(look, look * 10));
        assert!(allowance.pass(Duration::from_secs(1), Duration::ZERO));
    }

    struct Busy(Child);

    impl Drop for Busy {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    /// What a process uses in a second, from a moment on at which what was kept is used up.
    async fn used_in_a_second(pid: u32) -> Duration {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (before, began) = (sys::cpu_time(pid).unwrap(), Instant::now());
        tokio::time::sleep(Duration::from_secs(1)).await;
        (sys::cpu_time(pid).unwrap() - before).div_f64(began.elapsed().as_secs_f64())
    }

    #[tokio::test]
    async fn a_process_that_computes_without_end_gets_its_share() {
        let busy = Busy(Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap());
        let throttle = Throttle::begin(busy.0.id(), 200_000).unwrap();
        let used = used_in_a_second(busy.0.id()).await;
        assert!(used > Duration::from_millis(50) && used < Duration::from_millis(300), "{used:?}");
        // A stopped one can be killed.
        drop((throttle, busy));
    }
}
