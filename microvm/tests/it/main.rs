//! Real guests, from outside: what they can do, what they cannot, and what they cost.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod bases;
mod cgroups;
mod commands;
mod egress;
mod hosts;
mod isolation;
mod servers;
#[path = "../support/step.rs"]
mod step;
#[path = "../support/mod.rs"]
mod support;
