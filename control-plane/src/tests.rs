//! The same suite on SQLite and on PostgreSQL, through the router; and the outbox and prepares on a real
//! nats-server.

mod audit;
mod authority;
mod errors;
mod functions;
pub(crate) mod harness;
mod idempotency;
mod identity;
mod joining;
mod kept;
mod logs;
mod nodes;
mod platform;
pub(crate) mod postgres;
mod problems;
mod purge;
mod renamed;
mod restart;
mod restored;
pub(crate) mod settlement;
mod streams;
mod strict;
pub(crate) mod tickets;
mod trust;
mod usage;
mod usage_told;
pub(crate) mod warnings;
