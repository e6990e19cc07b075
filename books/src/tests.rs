//! Tests of the whole crate, and what they share.

mod blocks;
mod chain;
mod damage;
mod download;
mod figures;
mod golden;
mod newest;
mod purity;
mod sample;
