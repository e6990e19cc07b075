//! The words that every part of CrowdCloud shares, with one definition each:
//! ids, names, units, error codes, API types, tickets, receipts, node reports and routes.
//!
//! Pure data: nothing here does I/O or reads a clock, and all of it compiles to wasm for the portal.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

pub mod address;
pub mod api;
pub mod batch;
pub mod blob;
pub mod body;
pub mod bounds;
pub mod command_line;
pub mod cron;
pub mod csv;
pub mod epoch;
pub mod error;
pub mod field;
mod flag;
pub mod headers;
pub mod ids;
pub mod job;
pub mod limits;
pub mod manifest;
pub mod model;
pub mod names;
pub mod node;
pub mod origin;
pub mod placement;
pub mod proxy_status;
pub mod queue;
pub mod receipt;
pub mod route;
mod secret;
pub mod signed;
pub mod source;
pub mod text;
pub mod ticket;
pub mod trigger;
pub mod units;
pub mod wire;
pub mod words;

#[cfg(test)]
mod tests;

pub use blob::{Blob, BlobId, BlobKey, Epoch};
pub use error::{Code, Problem};
pub use field::{Field, Invalid};
pub use flag::Flag;
pub use ids::*;
pub use limits::Limits;
pub use manifest::{ArtifactForm, Base, Example, Kind, Lane, LaneChoice, Manifest, PlacementClass};
pub use names::{Name, Reference};
pub use source::{RunPrincipal, RunSource};
pub use units::{ByteSize, Digest, MicroCredits, Micros, Millis, Timestamp, Total};
