//! The same suite on SQLite and on PostgreSQL, through the router; and the outbox and prepares on a real
//! nats-server.

mod authority;
mod errors;
mod functions;
pub(crate) mod harness;
mod idempotency;
mod identity;
mod logs;
mod platform;
pub(crate) mod postgres;
mod problems;
mod purge;
mod restart;
mod restored;
pub(crate) mod settlement;
mod streams;
mod strict;
mod tickets;
mod usage;
mod usage_told;
