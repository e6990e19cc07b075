//! Where a run goes: the placement filter, the policies, what they learn, and the explanation of each placement.
//!
//! Pure: nothing here does I/O, reads a clock or takes a lock. Time and randomness come in as arguments, so the
//! gateway, the dispatcher and the simulator run the very same code. (Only `simulator`, which no service carries, reads
//! a trace's files.)
//!
//! ```text
//! records, reports, starts, ends --> NodeTable --> [NodeView] --+
//!                                                               +--> Policy::rank --> Placement
//!                          route --> RunRequest --> WaitingRoom-+          ^
//!                                                                          |
//! ends --> Finished --> Policy::observe (History) ---- Prediction ---------+
//!              |                                           ^
//!              +--> Snapshot::train --> store --> Policy::adopt
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod distance;
mod features;
mod filter;
mod finished;
mod forest;
mod history;
mod lane;
mod policy;
mod queue;
mod request;
#[cfg(feature = "simulator")]
pub mod simulator;
mod snapshot;
mod table;
mod view;

#[cfg(test)]
mod tests;

pub use distance::Distance;
pub use filter::{SILENT_AFTER, distrusts, lacks, part_of_slots, refuse};
pub use finished::Finished;
pub use history::{History, NodeClass, NodeSpeed, VersionHistory};
pub use lane::lane_of;
pub use policy::{
    Binding, BoundedHash, COLD_PENALTY, Knowledge, Learned, LeastLoaded, Memo, NEAR_EQUAL, Policy, PowerOfTwo,
    RANKED_MAX, Random, RoundRobin, ShortestMean, Standing, Tuning, WarmFirst,
};
pub use protocol::placement::{Candidate, LaneReason, Placement, Refusal, Refused, Warmth};
pub use queue::{Waiting, WaitingRoom};
pub use request::RunRequest;
pub use snapshot::{DecodeError, Prediction, SHARES, Snapshot, TrainError};
pub use table::{LastWord, NodeTable};
pub use view::{Artifacts, NodeView};
