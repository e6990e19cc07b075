//! What the operating system does for machines. They run on Linux only.

mod cgroup;
mod linux;

pub use cgroup::WorkerCgroup;
pub(crate) use cgroup::{Bounds, Cgroup, Cgroups};
pub(crate) use linux::{
    confine, counter_khz, cpu_time, held, is_root, kill, memory_copy, memory_file, private_folder, private_memory,
    process_handle, reopen, seal, set_running, start_time,
};
