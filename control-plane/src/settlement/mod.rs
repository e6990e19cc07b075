//! Settlement: a run's two halves, the node's receipt and the gateway's observation, come in either order, late,
//! twice, or not at all; each run is settled once.
//!
//! ```text
//!            receipt            observation
//! (nothing) ---------> open ------------------> settled --> in a block --> in the block alone --> forgotten
//!      \  observation        receipt          ^    |
//!       `-----------> open -------------------'    | the gateway's half comes after all: it can only
//!                      |  its time is over         | lower the bill, and the flag stays
//!                      `--> settled and flagged ---'
//! ```
//! Several nodes may claim an open run, because its gateway has asked one after the other: which of them it was the
//! observation says, and the claims of the others are void.
//! A receipt that comes after its run was settled changes nothing. Neither does any half of a run that has no row any more,
//! because a block has it or it is forgotten. Settled runs go from rows into [`blocks`], which are the history.
//! Halves come in numbered batches, the receipts in checkpoints and the observations in those of [`sources`]: each number is
//! committed once, in order, and what cannot be read is void but has its number.
//! One control plane takes them ([`term`]); they wait in its memory for each other, and are committed in cuts ([`cut`]).
//! Everything of a cut is written in one transaction, under one lock. What it goes by was read under it, or before while
//! nobody else had it: it cannot change before the commit, and the answers come after it.

mod batch;
mod blocks;
mod checkpoints;
mod cut;
mod filter;
mod join;
mod retention;
pub(crate) mod runs;
mod sources;
mod sweep;
mod term;
mod windows;

pub(crate) use batch::{observe, observed, observed_batch};
pub(crate) use blocks::{History, Looked, ReceiptsQuery, Sample, SettleError, download as receipts};
pub(crate) use checkpoints::{Sent as SentCheckpoint, checkpoint};
pub(crate) use cut::Cuts;
pub(crate) use retention::erase;
pub(crate) use sweep::run as sweep;
pub(crate) use term::run as lead;
pub(crate) use windows::first_id_at;

#[cfg(test)]
pub(crate) use retention::{forget, prune};
#[cfg(test)]
pub(crate) use sources::prune as prune_sources;
#[cfg(test)]
pub(crate) use sweep::once as sweep_once;
#[cfg(test)]
pub(crate) use term::{begin_anew, begin_until, usurp};
