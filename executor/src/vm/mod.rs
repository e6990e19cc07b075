//! The VM lane: images, executables and scripts in microVMs, and WebAssembly that asks for more than the wasm lane has.
//!
//! ```text
//! ticket --> versions: spec, image (converted once, cached), template --> clone --> command | server --> answer
//! ```
//! Each node converts the artifact itself, from bytes that have the digest of the ticket: no node can give another a
//! poisoned image. A run starts in a private clone of a template, and is accounted for as a run of the wasm lane is.

mod cache;
mod command;
mod connection;
pub(crate) mod convert;
mod egress;
mod lane_probe;
mod notes;
mod ports;
mod server;
mod start;
#[cfg(test)]
mod tests;
mod tools;
mod verdict;
mod version;
mod versions;
mod wasm;

pub(crate) use self::lane_probe::LaneProbe;
pub(crate) use self::start::start;
pub use self::tools::{Missing, fetch, find_qemu, missing, missing_bases, missing_in, runs_wasm, unpacked_in};
#[cfg(test)]
pub(crate) use self::version::Version;
pub(crate) use self::wasm::is_wasm;
