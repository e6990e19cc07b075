//! The wasm lane: one engine, programs compiled once and linked ahead, and a fresh instance for each run.

pub(crate) mod egress;
pub(crate) mod engine;
mod guest;
pub(crate) mod inspect;
mod limits;
pub(crate) mod program;
pub(crate) mod start;
pub(crate) mod stdio;

pub(crate) use program::{Lane, Program};
