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
mod egress;
mod error;
pub mod finite;
mod journal;
mod keys;
mod run;
mod sys;
#[cfg(test)]
mod testing;
mod tickets;
mod vm;
mod wasm;

pub use agent::serve;
pub use config::Config;
pub use error::Error;
pub use vm::{
    Missing as VmMissing, fetch as fetch_vm_tools, missing as vm_lane_missing, missing_bases as vm_bases_missing,
    missing_in as vm_tools_missing, runs_wasm as vm_runs_wasm,
};
pub use wasm_host::{is_about_a_guest, remark};
