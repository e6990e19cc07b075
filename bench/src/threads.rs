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
}
