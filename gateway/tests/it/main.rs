//! The gateway on a real nats-server, over real connections; only the control plane and the nodes are small stand-ins
//! mounted on the fabric, so that each test can make them fail as it needs.

#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod api;
mod client;
mod connections;
mod control;
mod deferred;
mod drain;
mod edge;
mod faults;
mod forms;
mod install;
mod messages;
mod models;
mod node;
mod platform;
mod refusals;
mod runs;
mod tickets;
mod tls;
mod watches;
