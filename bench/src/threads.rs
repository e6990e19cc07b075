//! The CPU time of a process's threads, and of its children's, by their names.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::memory::family;

/// Of all threads that are there now. A child's threads count under the child's name.
pub(crate) fn cpu(root: u32) -> BTreeMap<String, Duration> {
    let mut sums = BTreeMap::new();
    for process in family(root) {
        let folder = format!("/proc/{process}");
        let whole = (process != root).then(|| name(Path::new(&folder))).flatten();
        let tasks = fs::read_dir(format!("{folder}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let task = task.path();
            let Some((name, time)) = name(&task).zip(time(&task)) else { continue };
            *sums.entry(whole.clone().unwrap_or(name)).or_default() += time;
        }
    }
    sums
}

/// Of a process and its children, as a whole: also of threads that have ended, but in hundredths of a second.
pub(crate) fn whole(root: u32) -> Duration {
    /// Parts of a second, for every program on Linux (`USER_HZ`).
    const TICKS_PER_SECOND: u64 = 100;
    let ticks = |process: u32| -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // After the name, which may contain anything: the fields from the third one on. User and system time are the 14th
        // and the 15th.
        let mut times = stat.rsplit_once(") ")?.1.split(' ').skip(11);
        let (user, system): (u64, u64) = (times.next()?.parse().ok()?, times.next()?.parse().ok()?);
        Some(user + system)
    };
    let ticks: u64 = family(root).into_iter().filter_map(ticks).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

fn name(of: &Path) -> Option<String> {
    Some(fs::read_to_string(of.join("comm")).ok()?.trim_end().to_owned())
}

/// The first figure of `schedstat`: nanoseconds on a processor (the kernel's sched-stats documentation).
fn time(of: &Path) -> Option<Duration> {
    let text = fs::read_to_string(of.join("schedstat")).ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_threads_time_goes_under_its_name() {
        let busy = || {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(30) {
                std::hint::spin_loop();
            }
            cpu(std::process::id())
        };
        let found = std::thread::Builder::new().name("busy-bee".to_owned()).spawn(busy).unwrap().join().unwrap();
        assert!(found.get("busy-bee").is_some_and(|time| *time > Duration::ZERO), "{found:?}");
    }

    #[test]
    fn a_process_has_the_time_of_threads_that_have_ended() {
        let now = || whole(std::process::id());
        let before = now();
        let busy = move || {
            let began = Instant::now();
            while now() == before && began.elapsed() < Duration::from_secs(20) {}
        };
        std::thread::spawn(busy).join().unwrap();
        assert!(now() > before);
    }
}
