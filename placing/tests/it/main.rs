//! Attempts on a real nats-server, over real connections; only the nodes are small stand-ins mounted on the fabric, so
//! that each test can make them fail as it needs.

#![allow(clippy::unwrap_used, reason = "tests")]

mod done;
mod harness;
mod lost;
mod refused;
mod words;
