//! The node agent: takes runs that hold a ticket, runs them in a sandbox, and accounts for them.
//!
//! The path of a run: `agent::service` (fabric, ticket, admission) → `artifacts` (fetch, compile, cache) → `run` (the
//! story of a run) → `wasm` or `vm` (the lanes) → `journal` (receipts). The executor never sees the database, and runs
//! nothing without a ticket.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod admission;
mod agent;
mod artifacts;
pub mod compile;
mod config;
pub mod confined;
mod egress;
mod error;
pub mod finite;
mod given;
mod join;
mod journal;
mod keeper;
mod keys;
mod machine;
mod run;
mod sys;
#[cfg(test)]
mod testing;
mod tickets;
mod vm;
mod wasm;

pub use agent::serve;
pub use config::{Config, machine_cores, machine_memory};
pub use error::Error;
pub use given::{CpuTicks, Given, ReceiptKey, SignDigest, Told};
pub use join::{look, probe};
pub use keeper::{agreed as agreed_caps, bind_control};
pub use keys::NodeKeys;
pub use machine::{fingerprint, machine};
pub use vm::{
    Missing as VmMissing, fetch as fetch_vm_tools, find_qemu, missing as vm_lane_missing,
    missing_bases as vm_bases_missing, missing_in as vm_tools_missing, runs_wasm as vm_runs_wasm, unpacked_in,
};
pub use wasm_host::{is_about_a_guest, remark};
