//! The fabric on a real nats-server, with real credentials.

#![allow(clippy::unwrap_used, reason = "tests")]

mod calls;
mod churn;
mod copies;
mod endings;
mod harness;
mod hostile;
mod restarts;
mod server;
mod streams;
