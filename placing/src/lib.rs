//! What calls and jobs have in common on the way of a run: what was learned of earlier ones, what a failure means, and what
//! is seen of it.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

pub mod learning;
mod observation;
pub mod verdict;

pub use learning::Learning;
pub use observation::{ObservationDraft, PATH_CHARS_MAX, RunFacts};
pub use verdict::{Fate, NotTaken, Verdict};
