//! What the operating system does for machines. They run on Linux only.

mod cgroup;
mod linux;

pub(crate) use cgroup::{Cgroup, Cgroups};
pub(crate) use linux::{
    confine, counter_khz, cpu_time, held, is_root, kill, memory_copy, memory_file, private_folder, private_memory,
    reopen, seal, start_time,
};
