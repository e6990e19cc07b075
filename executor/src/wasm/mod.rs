//! The wasm lane: one engine, programs compiled once and linked ahead, and a fresh instance for each run.

mod egress;
pub(crate) mod engine;
mod entry;
pub(crate) mod inspect;
mod lane;

pub(crate) use wasm_host::{Format, Program, Surroundings};

pub(crate) use self::lane::Lane;
