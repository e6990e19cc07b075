//! What the machine says of itself, read from below a root folder, so that tests have machines of their own.

use std::fs;
use std::path::{Path, PathBuf};

use crate::owner::Sample;

/// Processes of our own that are counted.
const PROCESSES_MAX: usize = 4096;

/// A machine, as its `/proc` and `/sys` show it.
#[derive(Debug, Clone)]
pub struct Machine {
    root: PathBuf,
}

impl Default for Machine {
    fn default() -> Self {
        Self::below(Path::new("/"))
    }
}

impl Machine {
    /// The one whose `proc` and `sys` are in this folder.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// What it says now, where so many ticks were ours; none where it has no `/proc/stat`.
    #[must_use]
    pub fn sample(&self, ours: u64) -> Option<Sample> {
        let (busy, all) = busy_and_all(&self.read("proc/stat")?)?;
        let memory_pressure = self.read("proc/pressure/memory").and_then(|text| some_avg10(&text));
        Some(Sample { busy, all, ours, memory_pressure })
    }

    /// Whether it runs on a battery of its own. A machine without one does not.
    #[must_use]
    pub fn on_battery(&self) -> bool {
        let supplies = fs::read_dir(self.root.join("sys/class/power_supply")).into_iter().flatten().flatten();
        let mut discharging = false;
        for supply in supplies {
            let says = |what: &str| fs::read_to_string(supply.path().join(what)).unwrap_or_default().trim().to_owned();
            match says("type").as_str() {
                // A mouse's battery is not the machine's.
                "Battery" if says("scope") != "Device" => discharging |= says("status") == "Discharging",
                "Mains" | "USB" if says("online") == "1" => return false,
                _ => {}
            }
        }
        discharging
    }

    /// Ticks that a process and its descendants have used, those that have ended and were waited for included.
    #[must_use]
    pub fn ours(&self, pid: u32) -> u64 {
        let mut sum = 0_u64;
        let (mut open, mut seen) = (vec![pid], 0);
        while let Some(pid) = open.pop() {
            seen += 1;
            if seen > PROCESSES_MAX {
                break;
            }
            let stat = self.read(&format!("proc/{pid}/stat")).unwrap_or_default();
            sum = sum.saturating_add(ticks_of(&stat));
            let tasks = fs::read_dir(self.root.join(format!("proc/{pid}/task"))).into_iter().flatten().flatten();
            for task in tasks {
                let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                open.extend(children.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            }
        }
        sum
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }
}

/// The first line of `/proc/stat`: user nice system idle iowait irq softirq steal; guest times are in user's already.
fn busy_and_all(text: &str) -> Option<(u64, u64)> {
    let fields: Vec<u64> =
        text.lines().next()?.split_ascii_whitespace().skip(1).filter_map(|field| field.parse().ok()).take(8).collect();
    let all: u64 = fields.iter().sum();
    let idle: u64 = fields.iter().skip(3).take(2).sum();
    (all > 0).then_some((all - idle, all))
}

/// Of `/proc/<pid>/stat`, utime, stime, cutime and cstime. The name before them may have blanks and brackets.
fn ticks_of(text: &str) -> u64 {
    let Some((_, rest)) = text.rsplit_once(')') else { return 0 };
    rest.split_ascii_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// Of `/proc/pressure/memory`, how much of the last ten seconds some task waited, in thousandths.
fn some_avg10(text: &str) -> Option<u32> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    let percent = line.split_ascii_whitespace().find_map(|field| field.strip_prefix("avg10="))?;
    let (whole, tenths) = percent.split_once('.').unwrap_or((percent, "0"));
    let tenth = tenths.get(..1)?.parse::<u32>().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(10)?.checked_add(tenth)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_sample_counts_our_own_tree() {
        let root = tempfile::tempdir().unwrap();
        let stat = |pid: u32, times: &str| format!("{pid} (a) b) S 1 1 1 0 -1 0 0 0 0 0 {times} 20 0 1");
        write(root.path(), "proc/stat", "cpu  100 0 50 800 50 0 0 0 7 0\ncpu0 1 1 1 1\n");
        write(
            root.path(),
            "proc/pressure/memory",
            "some avg10=12.34 avg60=0.00 avg300=0.00 total=1\nfull avg10=1.00\n",
        );
        write(root.path(), "proc/7/stat", &stat(7, "10 5 2 1"));
        write(root.path(), "proc/7/task/7/children", "8 ");
        write(root.path(), "proc/8/stat", &stat(8, "20 0 0 0"));
        write(root.path(), "proc/9/stat", &stat(9, "500 0 0 0"));
        let machine = Machine::below(root.path());
        let sample = machine.sample(machine.ours(7)).unwrap();
        assert_eq!(sample, Sample { busy: 150, all: 1000, ours: 38, memory_pressure: Some(123) });
        assert_eq!(Machine::below(&root.path().join("none")).sample(0), None);
    }

    #[test]
    fn only_the_machine_s_own_battery_counts_and_only_without_mains() {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine::below(root.path());
        assert!(!machine.on_battery());
        let supply = |name: &str, what: &str, text: &str| {
            write(root.path(), &format!("sys/class/power_supply/{name}/{what}"), text);
        };
        supply("mouse", "type", "Battery\n");
        supply("mouse", "scope", "Device\n");
        supply("mouse", "status", "Discharging\n");
        assert!(!machine.on_battery());
        supply("BAT0", "type", "Battery\n");
        supply("BAT0", "status", "Discharging\n");
        assert!(machine.on_battery());
        supply("AC", "type", "Mains\n");
        supply("AC", "online", "1\n");
        assert!(!machine.on_battery());
    }
}
