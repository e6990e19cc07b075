//! Committed forms, round trips, and what the words allow.

mod adding_page;
mod blob;
mod body;
mod check;
mod codes;
mod errors_page;
mod golden;
mod headers_page;
mod limits;
mod names;
mod purity;
mod route;
mod sample;
mod signatures;
mod states;
mod tickets;
mod trust_page;
mod units;
mod wire;
