//! The whole platform, booted for real: what a user does, what goes wrong, what survives.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod bad_input;
mod command_line;
mod consistency;
mod deaths;
mod faults;
mod identity;
mod job_faults;
mod jobs;
mod journeys;
mod lending;
mod lifecycle;
mod metering;
mod privacy;
mod replicas;
mod run_path;
mod shares;
mod vm;
mod vm_wasm;
