//! The portal in a real browser, on a real platform: what its users click, and what a hostile page tries.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod analytics;
mod dashboard;
mod isolation;
mod jobs;
mod journeys;
mod lending;
mod looks;
mod native;
mod open_pages;
mod passwords;
mod speed;
mod strange_data;
mod windows;

use tests::browser;
