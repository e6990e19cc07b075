//! A node on a real nats-server with a lender's credentials, against a platform of a few lines.

mod days;
mod disks;
mod ground;
mod keeper;
mod runs;
mod upkeep;
