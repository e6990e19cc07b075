//! Nodes: what they report, what the platform knows of them, and which one is fit.

pub(crate) mod hello;
pub(crate) mod live;
pub(crate) mod records;

pub(crate) use live::{Known, Nodes, Wanted};
