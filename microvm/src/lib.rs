//! MicroVMs: heavy or foreign code runs in a QEMU guest of its own.
//!
//! Read in this order: [`Host`] (what a machine needs and can), [`Template`] (a guest booted once and saved), the
//! pool, then [`Run`] (a workload in a clone). A machine's life is drawn in `life.rs`.
//!
//! - Every run is a private copy-on-write clone of a template, and is killed when it is over: nothing is reused.
//! - No guest has a network card. Its way out, where its workload has one, is a proxy that the host is.
//! - Nothing that comes out of a guest is trusted: its lengths are bounded, and breaking the protocol ends it.
//! - No QEMU process outlives this one.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod accelerator;
mod command_line;
mod config;
mod disk;
mod egress;
mod error;
pub mod fetch;
mod host;
mod initramfs;
mod kernel;
mod life;
mod link;
mod machine;
mod monitor;
mod pool;
mod process;
mod qemu;
mod rehearsal;
mod run;
mod sys;
mod template;
mod throttle;

pub use accelerator::{Accelerator, Speed};
pub use config::{Config, Shape};
pub use disk::Disk;
pub use egress::{Egress, PORT as EGRESS_PORT};
pub use error::Error;
pub use guest_agent::wire::{Contract, HOSTNAME, Usage};
pub use host::{Host, Limits};
pub use link::GuestStream;
pub use monitor::MachineEvent;
pub use pool::{Pool, PoolConfig};
pub use run::{End, Ended, Run, Workload};
pub use sys::WorkerCgroup;
pub use template::{Paused, Template};
