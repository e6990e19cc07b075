//! What a host and the agent inside its guest say to each other. The program beside this library is the agent.
//!
//! The host trusts nothing that comes out of a guest: every length is checked against a bound before it is believed.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

pub mod wire;
