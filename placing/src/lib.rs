//! What every process that places runs has: gateways for calls, the dispatcher for jobs.

pub mod learning;

pub use learning::Learning;
