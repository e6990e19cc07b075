//! What differs between operating systems, behind one set of names: the machine's load and
//! memory, limits of a process.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;

#[cfg(target_os = "linux")]
pub(crate) use linux::{
    BusyTime, busy_time, limit_this_process, lower_this_process_after, lower_this_thread, memory_total,
};
#[cfg(not(target_os = "linux"))]
pub(crate) use other::{
    BusyTime, busy_time, limit_this_process, lower_this_process_after, lower_this_thread, memory_total,
};

/// The machine's load between two samples: busy time over all time, 0 to 1.
pub(crate) fn load_between(earlier: BusyTime, later: BusyTime) -> f32 {
    let all = later.all.saturating_sub(earlier.all);
    let busy = later.busy.saturating_sub(earlier.busy).min(all);
    if all == 0 {
        return 0.0;
    }
    let permille = u16::try_from(busy.saturating_mul(1000) / all).unwrap_or(1000);
    f32::from(permille) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::{BusyTime, busy_time, load_between, memory_total};

    #[test]
    fn load_is_a_share() {
        let sample = |busy, all| BusyTime { busy, all };
        assert!((load_between(sample(10, 100), sample(60, 200)) - 0.5).abs() < 0.001);
        assert!(load_between(sample(10, 100), sample(10, 100)).abs() < 0.001);
        assert!((load_between(sample(0, 0), sample(500, 100)) - 1.0).abs() < 0.001);
        let now = busy_time();
        assert!(now.all >= now.busy && memory_total() > 1 << 26);
    }
}
