//! Nodes: how they join and leave, what they report, what the platform knows of them, how far it trusts them, and which one
//! is fit.

pub(crate) mod calibration;
mod copies;
pub(crate) mod details;
pub(crate) mod disks;
pub(crate) mod hello;
pub(crate) mod joining;
pub(crate) mod records;
pub(crate) mod registry;
pub(crate) mod standing;
pub(crate) mod tokens;
pub(crate) mod trust;
pub(crate) mod wishes;

pub(crate) use calibration::Calibration;
pub(crate) use joining::Joining;
pub(crate) use registry::{Known, Nodes, Wanted};
