//! Settlement: a run's two halves, the node's receipt and the gateway's observation, come in either order, late,
//! twice, or not at all; each run is settled once.
//!
//! ```text
//!            receipt            observation
//! (nothing) ---------> open ------------------> settled --> in a segment
//!      \  observation        receipt          ^    |
//!       `-----------> open -------------------'    | the gateway's half comes after all: it can only
//!                      |  its time is over         | lower the bill, and the flag stays
//!                      `--> settled and flagged ---'
//! ```
//! A receipt that comes after its run was settled changes nothing. Neither does any half of a run whose row is forgotten.
//! Everything of one batch happens in one transaction, under one lock: what was read cannot change before the
//! commit, and the answer comes after it.

mod checkpoints;
mod join;
mod ledger;
pub(crate) mod runs;
mod segments;
mod sweep;

pub(crate) use checkpoints::checkpoint;
pub(crate) use ledger::{observe, observed};
pub(crate) use sweep::{first_id_at, run as sweep};

#[cfg(test)]
pub(crate) use segments::unpack;
#[cfg(test)]
pub(crate) use sweep::{forget, once as sweep_once};
