//! Committed forms, round trips, and what the words allow.

mod adding_page;
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
mod tickets;
mod units;
mod wire;
