//! The portal in a real browser, on a real platform: what its users click, and what a hostile page tries.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod analytics;
mod browser;
mod dashboard;
mod isolation;
mod jobs;
mod journeys;
mod looks;
mod native;
