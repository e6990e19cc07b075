//! Where a run goes: the placement filter, the policies, and the explanation of each placement.
//!
//! Pure: nothing here does I/O, reads a clock or takes a lock. Time and randomness come in as arguments, so the
//! gateway, the dispatcher and a simulator run the very same code.
//!
//! ```text
//! records, reports, starts, ends --> NodeTable --> [NodeView] --+
//!                                                               +--> Policy::rank --> Placement
//!                                           route --> RunRequest+
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod filter;
mod lane;
mod policy;
mod request;
mod table;
mod view;

#[cfg(test)]
mod tests;

pub use filter::{SILENT_AFTER, refuse};
pub use lane::lane_of;
pub use policy::{COLD_PENALTY, LeastLoaded, NEAR_EQUAL, Policy, RANKED_MAX, WarmFirst};
pub use protocol::placement::{Candidate, LaneReason, Placement, Refusal, Refused};
pub use request::RunRequest;
pub use table::NodeTable;
pub use view::{NodeView, WarmSet};
