//! The fabric on a real nats-server, with real credentials.

#![allow(clippy::unwrap_used, reason = "tests")]

mod calls;
mod harness;
