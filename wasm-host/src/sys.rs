//! What differs between operating systems: the clock of a thread.

use std::time::Duration;

/// The CPU time that this thread has used.
#[cfg(target_os = "linux")]
pub(crate) fn thread_cpu() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Wall time, where there is no such clock.
#[cfg(not(target_os = "linux"))]
pub(crate) fn thread_cpu() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::thread_cpu;

    #[test]
    fn a_threads_clock_counts_work_and_not_sleep() {
        let start = thread_cpu();
        std::thread::sleep(Duration::from_millis(30));
        assert!(thread_cpu() - start < Duration::from_millis(15));
        let wall = Instant::now();
        while thread_cpu() - start < Duration::from_millis(20) {
            assert!(wall.elapsed() < Duration::from_secs(10));
        }
    }
}
