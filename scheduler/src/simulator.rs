//! A cluster in a box: replays a workload against a policy, event by event, with the very code that places real runs.
//!
//! ```text
//! trace folder | statistics --> Workload --+
//!                                          +--> run(policy) --> Ended runs --> Score --> Report (JSON, SVG)
//! seed --> Cluster of unequal nodes -------+
//! ```
//!
//! Deterministic: the same seed, workload and policy give the same figures. Unlike the rest of the crate it reads
//! files (the trace), so it is behind the feature `simulator`.

mod cluster;
mod engine;
mod experiment;
mod generate;
mod node;
mod plot;
mod report;
mod score;
mod seen;
mod trace;
mod workload;

#[cfg(test)]
mod tests;

pub use cluster::{Cluster, ClusterSpec, LaneCosts, NodeSpec};
pub use engine::{Ended, Learning, Outcome, run};
pub use experiment::{ENTRANTS, Entrant, Plan, Source, compare};
pub use generate::generate;
pub use plot::PlotError;
pub use report::{Goal, Report, Row, Sample, Spread};
pub use score::{Score, score};
pub use trace::{Trace, TraceError};
pub use workload::{Arrival, FunctionSpec, RUN_FLOOR, Workload};
