//! Nodes of different speeds on one machine: a process, and all that it has started, stands still for a part of each
//! short while. No rights are needed for that, and guests' machines are slowed down with their node.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

const PERIOD: Duration = Duration::from_millis(40);

/// Ends with its value.
pub(super) struct Throttle {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Throttle {
    /// Lets the process run for this part of the time.
    pub(super) fn new(pid: u32, speed: f64) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let work = move || {
            while !stop.load(Ordering::Relaxed) {
                let all = family(pid);
                send(&all, Signal::STOP);
                std::thread::sleep(PERIOD.mul_f64(1.0 - speed));
                // Those too that were started before it stood still.
                send(&family(pid), Signal::CONT);
                std::thread::sleep(PERIOD.mul_f64(speed));
            }
        };
        Self { over, thread: Some(std::thread::spawn(work)) }
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The process first, then what it has started.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(pid) = all.get(next).copied() {
        next += 1;
        for task in
            std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task")).into_iter().flatten().flatten()
        {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    all
}

fn send(pids: &[u32], signal: Signal) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
        // It may have ended meanwhile.
        let _ = kill_process(pid, signal);
    }
}
